"""Shards that others made are indexed where they lie: every row leads to the bytes that webdataset gives."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_iterator

from fes.errors import InputError
from shards.build.alone import alone_in
from shards.foreign import indexing as foreign
from shards.foreign import tar as foreign_tar
from shards.foreign.indexing import index_shards
from shards.index import ShardIndex
from shards.schema import INDEX_NAME, PLACES_NAME, REPORT_NAME
from shards.turning import ORIENTATION
from tests.shards.foreign.tars import found, labels, picture, samples_of, write_tar

LONG = "a/very/long/folder/" + "and/a/name/" * 12


@pytest.mark.parametrize("form", ["USTAR_FORMAT", "PAX_FORMAT", "GNU_FORMAT"])
def test_every_row_leads_to_what_webdataset_reads(tmp_path: Path, form: str) -> None:
    folder = "short/" if form == "USTAR_FORMAT" else LONG
    samples = [
        {
            "__key__": f"{folder}caf\u00e9{n}",
            "png": picture(n),
            "cls": str(n % 7),
            "json": {"n": n},
            "txt": "?",
        }
        for n in range(20)
    ]
    tar = write_tar(tmp_path / "shards/a.tar", samples, format=form)
    index_shards([tar], tmp_path / "index")
    with open(tar, "rb") as file:
        members = [{**member, "__url__": tar.name} for member in tar_file_iterator(file)]
    theirs = [(sample["png"], sample["json"], int(sample["cls"])) for sample in group_by_keys(members)]
    assert samples_of(ShardIndex.load(tmp_path / "index").split("train")) == theirs
    assert len(theirs) == 20


def test_the_pictures_are_read_through_the_index_wherever_both_are_moved(tmp_path: Path) -> None:
    write_tar(tmp_path / "here/data/a.tar", [{"png": picture(n, width=16), "cls": "3"} for n in range(3)])
    index_shards([tmp_path / "here/data"], tmp_path / "here/index")
    shutil.move(tmp_path / "here", tmp_path / "there")
    index = ShardIndex.load(tmp_path / "there/index")
    assert [shard.name for shard in index.catalogue.shards] == ["../data/a.tar"]
    with Image.open(io.BytesIO(picture(1, width=16))) as image:
        assert np.array_equal(index.split("train").image(1), np.asarray(image).transpose(2, 0, 1))


def test_the_folder_that_img2dataset_writes_is_indexed(tmp_path: Path) -> None:
    folder = tmp_path / "laion"
    for shard in range(2):
        write_tar(
            folder / f"{shard:05d}.tar",
            [
                {
                    "__key__": f"{shard * 10_000 + number:09d}",
                    "jpg": picture(4 * shard + number, "JPEG", 32, 32),
                    "txt": "a happy face",
                    "json": {"caption": "a happy face", "key": "0", "exif": "{}", "emotion": "happiness"},
                }
                for number in range(4)
            ],
        )
        (folder / f"{shard:05d}.parquet").write_bytes(b"PAR1")
        (folder / f"{shard:05d}_stats.json").write_text('{"count": 5, "successes": 4}')
    index_shards([folder], folder, label_field="emotion")
    index = ShardIndex.load(folder)
    assert [(shard.name, shard.samples) for shard in index.catalogue.shards] == [
        ("00000.tar", 4),
        ("00001.tar", 4),
    ]
    assert (index.source, index.resolution, index.channels) == ("webdataset", 32, 3)
    assert labels(folder) == [3] * 8
    assert index.split("train").details(5)["caption"] == "a happy face"
    assert found(folder) == {}


def test_our_own_shards_are_indexed_like_we_did(drawn_folder: Path, tmp_path: Path) -> None:
    index_shards([drawn_folder], tmp_path / "index", identity_field="identity")
    ours, theirs = ShardIndex.load(drawn_folder), ShardIndex.load(tmp_path / "index")
    assert (theirs.resolution, theirs.channels) == (ours.resolution, ours.channels)
    for split in ours.splits:
        assert theirs.counts(split) == ours.counts(split)
        assert samples_of(theirs.split(split)) == samples_of(ours.split(split))


def test_the_index_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    for shard in range(5):
        broken = [{"png": b"broken"}] if shard % 2 else []
        write_tar(tmp_path / f"{shard}.tar", [{"png": picture(shard), "cls": "1"}, *broken])
    for workers in (1, 3):
        index_shards([tmp_path], tmp_path / f"index{workers}", workers=workers)
    for name in (INDEX_NAME, PLACES_NAME, REPORT_NAME):
        assert (tmp_path / "index1" / name).read_bytes() == (tmp_path / "index3" / name).read_bytes()


@pytest.mark.parametrize("ending", ["png", "PNG", "face.png", "jpg", "jpeg", "webp", "bmp", "gif", "tiff"])
def test_pictures_of_many_kinds_are_found_by_their_ending(tmp_path: Path, ending: str) -> None:
    kind = {"jpg": "JPEG", "face.png": "PNG"}.get(ending, ending)
    tar = write_tar(tmp_path / "a.tar", [{ending: picture(1, kind)}])
    index_shards([tar], tmp_path)
    assert ShardIndex.load(tmp_path).split("train").read(0, "image") == picture(1, kind)


def test_a_jpeg_that_tells_late_that_it_was_turned_is_read_upright_through_the_index(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture(1, width=16))) as image:
        image.save(buffer, "JPEG", exif=turned, quality=95)
    resource = b"\xff\xed" + (652).to_bytes(2) + bytes(650)
    data = buffer.getvalue()[:2] + resource + buffer.getvalue()[2:]
    index_shards([write_tar(tmp_path / "a.tar", [{"jpg": data, "cls": "3"}])], tmp_path)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        lying = np.asarray(image)
    read = ShardIndex.load(tmp_path).split("train").image(0)
    assert np.array_equal(read, np.rot90(lying, -1).transpose(2, 0, 1))


def test_samples_that_lack_something_are_told_and_cost_no_other(tmp_path: Path) -> None:
    samples = [
        {"png": picture(0)},
        {"json": {"caption": "no picture"}},
        {"jpg": picture(2, "JPEG"), "png": picture(3)},
        {"png": b"no picture"},
        {"png": picture(5)[:-40]},
        {"png": b""},
        {"png": picture(7), "json": "{"},
        {"png": picture(8), "json": [1]},
        {"png": picture(9), "json": "[" * 100_000},
    ]
    index_shards([write_tar(tmp_path / "a.tar", samples)], tmp_path)
    split = ShardIndex.load(tmp_path).split("train")
    read = [split.read(at, "image") for at in range(split.samples)]
    assert read == [picture(0), picture(2, "JPEG"), picture(7), picture(8), picture(9)]
    assert [split.details(at) for at in range(split.samples)] == [{}] * 5
    unreadable = "no readable picture ({})"
    assert found(tmp_path) == {
        foreign_tar.NO_PICTURE: ["a.tar: 000000001"],
        foreign_tar.SEVERAL: ["a.tar: 000000002"],
        unreadable.format("of no known kind"): ["a.tar: 000000003.png", "a.tar: 000000005.png"],
        unreadable.format("cut short or damaged"): ["a.tar: 000000004.png"],
        foreign_tar.NO_OBJECT: [f"a.tar: {number:09d}.json" for number in (6, 7, 8)],
    }


def test_splits_are_told_by_names_and_stand_in_their_order(tmp_path: Path) -> None:
    names = ["z/faces-train-0.tar", "a/faces_val_0.tar", "test/0.tar", "b/1.tar", "train/my-test-7.tar"]
    for number, name in enumerate(names):
        write_tar(tmp_path / name, [{"png": picture(number), "cls": str(number)}])
    index_shards([tmp_path], tmp_path / "index")
    index = ShardIndex.load(tmp_path / "index")
    assert [(shard.name, shard.split) for shard in index.catalogue.shards] == [
        ("../b/1.tar", "train"),
        ("../z/faces-train-0.tar", "train"),
        ("../a/faces_val_0.tar", "valid"),
        ("../test/0.tar", "test"),
        ("../train/my-test-7.tar", "test"),
    ]
    assert {split: labels(tmp_path / "index", split) for split in index.splits} == {
        "train": [3, 0],
        "valid": [1],
        "test": [2, 4],
    }


def test_the_side_of_the_square_and_the_channels_are_those_of_the_pictures(tmp_path: Path) -> None:
    samples = [{"png": picture(n, width=40, height=30, mode="L")} for n in range(18)]
    samples += [{"png": picture(n, width=8, height=50, mode="L")} for n in range(2)]
    index_shards([write_tar(tmp_path / "grey.tar", samples)], tmp_path)
    index = ShardIndex.load(tmp_path)
    assert (index.resolution, index.channels) == (30, 1)
    samples += [{"png": picture(n, width=8, height=50)} for n in range(2)]
    index_shards([write_tar(tmp_path / "mixed.tar", samples)], tmp_path / "index")
    index = ShardIndex.load(tmp_path / "index")
    assert (index.resolution, index.channels) == (8, 3)


def test_a_broken_tar_among_good_ones_is_told(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [{"png": picture(1), "cls": "2"}])
    write_tar(tmp_path / "b.tar", [{"png": b"broken"}])
    (tmp_path / "c.tar").write_bytes(b"no tar" * 1000)
    (tmp_path / "d.tar.gz").write_bytes(b"")
    index_shards([tmp_path], tmp_path)
    assert labels(tmp_path) == [2]
    assert found(tmp_path) == {
        foreign_tar.GAP: ["c.tar: byte 0, to the end"],
        foreign.PACKED: [str(tmp_path / "d.tar.gz")],
        foreign.EMPTY: ["b.tar", "c.tar"],
        "no readable picture (of no known kind)": ["b.tar: 000000000.png"],
    }


@pytest.mark.parametrize("name", ["a\n.tar", "b\x07/a.tar", "\udcff.tar", "a\u200b.tar"])
def test_a_tar_that_no_index_can_name_is_told_before_any_is_read(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "0.tar", [{"png": picture(1), "cls": "2"}])
    bad = write_tar(tmp_path / "1.tar", [{"png": picture(2), "cls": "2"}])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    bad.rename(tmp_path / name)
    calls = []
    with pytest.raises(InputError, match="characters that cannot be printed") as refused:
        index_shards([tmp_path], tmp_path / "index", progress=lambda *done: calls.append(done))
    assert str(refused.value).isprintable()
    assert (calls, (tmp_path / "index").exists()) == ([], False)


def test_where_no_sample_can_be_used_the_reasons_are_told_in_a_sentence(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [{"txt": "no picture"}, {"png": b"broken"}])
    with pytest.raises(InputError, match=r"no sample of the 1 tars can be used: .*without a picture: 1"):
        index_shards([tar], tmp_path / "index")
    assert not (tmp_path / "index" / INDEX_NAME).exists()


def test_an_index_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [{"png": picture(1), "cls": "2"}])
    index_shards([tar], tmp_path)
    before = (tmp_path / INDEX_NAME).read_bytes()
    with pytest.raises(InputError, match="--overwrite"):
        index_shards([tar], tmp_path)
    assert (tmp_path / INDEX_NAME).read_bytes() == before
    write_tar(tar, [{"png": picture(1), "cls": "5"}])
    index_shards([tar], tmp_path, overwrite=True)
    assert labels(tmp_path) == [5]


def test_an_index_is_not_written_where_another_writes(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [{"png": picture(1), "cls": "2"}])
    with alone_in(tmp_path), pytest.raises(InputError, match=r"is writing to .* or choose another --out"):
        index_shards([tar], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    index_shards([tar], tmp_path)


def test_progress_counts_the_bytes_of_the_tars(tmp_path: Path) -> None:
    tars = [write_tar(tmp_path / f"{n}.tar", [{"png": picture(n)}]) for n in range(3)]
    calls = []
    index_shards(tars, tmp_path, workers=1, progress=lambda done, total: calls.append((done, total)))
    sizes = [tar.stat().st_size for tar in tars]
    assert calls == [(sum(sizes[: n + 1]), sum(sizes)) for n in range(3)]


@pytest.mark.parametrize(
    ("options", "counts"),
    [({}, [4, 2]), ({"dedup": "exact"}, [1, 2]), ({"no_leak": True}, [2, 2])],
)
def test_copies_are_told_and_left_out_as_asked(tmp_path: Path, options: dict, counts: list[int]) -> None:
    write_tar(tmp_path / "train.tar", [{"png": picture(number)} for number in (1, 2, 2, 7)])
    write_tar(tmp_path / "test.tar", [{"png": picture(1)}, {"png": picture(7)}])
    index_shards([tmp_path], tmp_path, **options)
    index = ShardIndex.load(tmp_path)
    assert [index.split(name).samples for name in ("train", "test")] == counts
    copies = found(tmp_path)["exact copies of a picture, constant ones too"]
    assert [len(group) for group in copies] == [2, 2, 2]
    assert ["train.tar: 000000000", "test.tar: 000000000"] in [
        sorted(group, reverse=True) for group in copies
    ]
    assert len(found(tmp_path)["test sample whose exact picture stands in train"]) == 2


def test_constant_pictures_are_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (20, 20), 7).save(buffer, "PNG")
    write_tar(tmp_path / "a.tar", [{"png": buffer.getvalue()}, {"png": picture(1)}])
    index_shards([tmp_path], tmp_path)
    assert ShardIndex.load(tmp_path).split("train").samples == 1
    assert found(tmp_path)["constant picture (every pixel the same)"] == ["a.tar: 000000000"]

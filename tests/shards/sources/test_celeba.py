"""CelebA in each of the layouts that people have, made of a few small pictures."""

import os
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from fes.errors import InputError
from fes.expressions import UNLABELLED
from shards.schema import Crop, Unreadable
from shards.sources import files_in
from shards.sources.celeba import read_celeba
from tests.shards.sources.celeba_layouts import (
    EXPECTED,
    LAYOUTS,
    PICTURES,
    contents,
    hugging_face,
    jpeg,
    kaggle,
    kaggle_zip,
    official,
    put,
    put_lists,
    put_pictures,
    put_pictures_beside_lists,
    put_zip,
    told,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put_pictures_beside_lists(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_samples_and_the_bytes_of_the_files(
    layout: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    for path in layout(tmp_path / "root"):
        source = read_celeba(path)
        assert told(source) == EXPECTED, path
        assert contents(source) == PICTURES
        assert source.findings == []
        assert source.facts == {"picture_files": 9, "people": 6}
        assert source.unit == "files"


def test_a_sample_has_no_label_and_keeps_its_file_person_and_attributes(folder: Path) -> None:
    source = read_celeba(folder)
    assert {sample.label for sample in source.samples} == {UNLABELLED}
    details = {"file": "000003.jpg", "identity": 8692, "attributes": ["5_o_Clock_Shadow", "Male"]}
    assert source.samples[2].details == details
    assert [sample.origin for sample in source.samples] == [*PICTURES]
    assert source.name == "celeba"


def test_png_copies_are_found_in_the_lists_of_the_jpegs(tmp_path: Path) -> None:
    for name in PICTURES:
        put(tmp_path / "img_align_celeba_png" / name.replace("jpg", "png"), jpeg(int(name[:6]), "PNG"))
    put_lists(tmp_path)
    source = read_celeba(tmp_path)
    assert told(source) == [(name.replace("jpg", "png"), *rest) for name, *rest in EXPECTED]
    assert source.findings == []


@pytest.mark.parametrize(
    ("centre", "crop"),
    [
        (None, Crop(178, 218, 25, 57, 128)),
        (178, Crop(178, 218, 0, 20, 178)),
        (108, Crop(178, 218, 35, 55, 108)),
        (1, Crop(178, 218, 88, 108, 1)),
    ],
)
def test_the_crop_is_the_face_or_a_central_square(centre: int | None, crop: Crop, folder: Path) -> None:
    assert read_celeba(folder, centre=centre).crop == crop


@pytest.mark.parametrize("centre", [0, -3, 179])
def test_a_square_that_does_not_fit_is_refused(centre: int, folder: Path) -> None:
    with pytest.raises(InputError, match="--centre is 1 to 178"):
        read_celeba(folder, centre=centre)


def test_pictures_of_equal_names_are_all_kept(tmp_path: Path) -> None:
    put_zip(
        tmp_path / "img_align_celeba.zip", "a/", {f"b/{name}": content for name, content in PICTURES.items()}
    )
    put_lists(tmp_path)
    source = read_celeba(tmp_path)
    assert [sample.origin for sample in source.samples] == [
        f"{part}/{name}" for part in "ab" for name in PICTURES
    ]
    assert source.samples[0].identity == source.samples[9].identity == 2880
    assert source.findings == []


def test_several_places_of_pictures_are_told(tmp_path: Path) -> None:
    put_pictures(tmp_path / "img_align_celeba")
    put_pictures(tmp_path / "img_align_celeba_png")
    with pytest.raises(InputError, match=r"\(img_align_celeba, img_align_celeba_png\): give one of them"):
        read_celeba(tmp_path)


def test_the_aligned_pictures_are_taken_from_beside_others(tmp_path: Path) -> None:
    put_pictures(tmp_path / "img_align_celeba")
    put(tmp_path / "overview.png", jpeg(3))
    put(tmp_path / "img_celeba/000001.jpg", jpeg(4))
    put_lists(tmp_path)
    assert told(read_celeba(tmp_path)) == EXPECTED


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_celeba(tmp_path / "img_align_celeba.zip")
    with pytest.raises(InputError, match="holds no pictures: give img_align_celeba"):
        read_celeba(tmp_path)
    put_lists(tmp_path)
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        read_celeba(tmp_path / "identity_CelebA.txt")


def test_a_zip_that_is_cut_short_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "img_align_celeba.zip"
    put_zip(path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=str(path)):
            read_celeba(path)


def test_a_damaged_picture_in_a_zip_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "img_align_celeba.zip"
    put_zip(path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(PICTURES["000004.jpg"]) + 900] ^= 255
    path.write_bytes(whole)
    read = contents(read_celeba(path))
    assert read == PICTURES | {"000004.jpg": files_in.DAMAGED}


def test_a_picture_that_goes_costs_no_other(folder: Path) -> None:
    source = read_celeba(folder)
    (folder / "000005.jpg").unlink()
    read = contents(source)
    assert isinstance(read.pop("000005.jpg"), Unreadable)
    assert read == {name: content for name, content in PICTURES.items() if name != "000005.jpg"}


@pytest.mark.parametrize("layout", [kaggle_zip, hugging_face])
def test_a_damaged_file_never_gives_another_error(
    layout: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    [first, *_] = layout(tmp_path)
    path = first if first.is_file() else next(first.rglob("train-00000*"))
    whole, draw = path.read_bytes(), random.Random(0)
    refused = []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 4, 64])):
            place = draw.randrange(draw.choice([100, 1500, len(damaged)]))
            damaged[draw.choice([place, -1 - place])] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            contents(read_celeba(first))
        except InputError as error:
            refused.append(str(error))
    assert refused
    assert "".join(refused).isprintable()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("layout", [official, kaggle, hugging_face])
def test_other_processes_read_the_same_pictures_at_the_same_time(
    layout: Callable[[Path], list[Path]], method: str, tmp_path: Path
) -> None:
    source = read_celeba(layout(tmp_path)[0])
    assert contents(source) == PICTURES
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        there = list(pool.map(source.read, [[at] * 20 for at in range(9)]))
    assert there == [[content] * 20 for content in source.read(range(9))]


@pytest.mark.parametrize("layout", [official, kaggle, hugging_face])
def test_a_source_travels_without_pictures(layout: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    source = read_celeba(layout(tmp_path)[0])
    sent = pickle.dumps(source)
    assert len(sent) < sum(map(len, PICTURES.values())) / 4
    assert contents(pickle.loads(sent)) == PICTURES


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (official, "Img/img_align_celeba.zip"),
        (official, "Anno/list_attr_celeba.txt"),
        (official, "Eval/list_eval_partition.txt"),
        (kaggle, "img_align_celeba/img_align_celeba/000003.jpg"),
        (kaggle, "identity_CelebA.txt"),
        (hugging_face, "img_align+identity+attr/test-00000-of-00002.parquet"),
    ],
)
def test_the_stamp_is_that_of_all_files_read(
    layout: Callable[[Path], list[Path]], name: str, tmp_path: Path
) -> None:
    [root, *_] = layout(tmp_path / "root")
    stamp = read_celeba(root).stamp
    assert read_celeba(root).stamp == stamp
    os.utime(root / name, ns=(1, 1))
    assert read_celeba(root).stamp != stamp


@pytest.mark.parametrize(
    ("layout", "told"), [(kaggle, [(9, 9)]), (hugging_face, [(n, 4) for n in (1, 2, 3, 4)])]
)
def test_listing_tells_how_far_it_is(
    layout: Callable[[Path], list[Path]], told: list[tuple[int, int]], tmp_path: Path
) -> None:
    progress = []
    read_celeba(layout(tmp_path)[0], progress=lambda done, total: progress.append((done, total)))
    assert progress == told

"""CelebA in each of the layouts that people have, made of a few small pictures."""

import io
import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fes.errors import InputError
from fes.expressions import UNLABELLED
from shards.schema import Crop, Unreadable
from shards.sources import celeba, files_in, parquet
from shards.sources.celeba import CelebaSource, read_celeba
from tests.shards.scarcity import no_more_files

ATTRIBUTES = ("5_o_Clock_Shadow", "Male", "Mouth_Slightly_Open", "Smiling", "Young")
SPLITS = ("train", "valid", "test")


def jpeg(number: int, kind: str = "JPEG") -> bytes:
    small = np.random.default_rng(number).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((178, 218)).save(buffer, kind)
    return buffer.getvalue()


PICTURES = {f"{number:06d}.jpg": jpeg(number) for number in range(1, 10)}
PEOPLE = dict(zip(PICTURES, (2880, 2937, 8692, 2880, 8692, 17, 10177, 1, 17), strict=True))
PARTS = dict(zip(PICTURES, (0, 0, 0, 0, 1, 1, 2, 2, 2), strict=True))
FLAGS = {name: [bool(int(name[:6]) & 1 << at) for at in range(5)] for name in PICTURES}
HELD = {
    name: [word for word, holds in zip(ATTRIBUTES, FLAGS[name], strict=True) if holds] for name in PICTURES
}
EXPECTED = [
    ("000001.jpg", "train", 2880, ["5_o_Clock_Shadow"]),
    ("000002.jpg", "train", 2937, ["Male"]),
    ("000003.jpg", "train", 8692, ["5_o_Clock_Shadow", "Male"]),
    ("000004.jpg", "train", 2880, ["Mouth_Slightly_Open"]),
    ("000005.jpg", "valid", 8692, ["5_o_Clock_Shadow", "Mouth_Slightly_Open"]),
    ("000006.jpg", "valid", 17, ["Male", "Mouth_Slightly_Open"]),
    ("000007.jpg", "test", 10177, ["5_o_Clock_Shadow", "Male", "Mouth_Slightly_Open"]),
    ("000008.jpg", "test", 1, ["Smiling"]),
    ("000009.jpg", "test", 17, ["5_o_Clock_Shadow", "Smiling"]),
]


def attributes_txt() -> str:
    """As in the release: the count, then the names with a blank behind, -1 and 1 with one blank or two."""
    rows = [f"{name} {' '.join(f'{1 if flag else -1:2d}' for flag in FLAGS[name])}" for name in PICTURES]
    return "\r\n".join([str(len(rows)), " ".join(ATTRIBUTES) + " ", *rows, ""])


def attributes_csv() -> str:
    rows = [",".join([name, *("1" if flag else "-1" for flag in FLAGS[name])]) for name in PICTURES]
    return "\n".join([f"image_id,{','.join(ATTRIBUTES)}", *rows, ""])


def identities_txt() -> str:
    return "".join(f"{name} {who}\n" for name, who in PEOPLE.items())


def partition_txt() -> str:
    return "".join(f"{name} {part}\n" for name, part in PARTS.items())


def partition_csv() -> str:
    return "image_id,partition\n" + "".join(f"{name},{part}\n" for name, part in PARTS.items())


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def put_pictures(folder: Path) -> None:
    for name, content in PICTURES.items():
        put(folder / name, content)


def put_zip(path: Path, inside: str = "img_align_celeba/", others: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(inside), b"")
        for name, content in PICTURES.items():
            archive.writestr(inside + name, content)
        for name, content in (others or {}).items():
            archive.writestr(name, content)


def put_lists(folder: Path, annotations: str = "", partition: str = "") -> None:
    put(folder / annotations / "list_attr_celeba.txt", attributes_txt())
    put(folder / annotations / "identity_CelebA.txt", identities_txt())
    put(folder / partition / "list_eval_partition.txt", partition_txt())


def put_parquet(folder: Path, file_of: Callable[[str, int], str], numbers: bool = False) -> None:
    """One file for each split but train, which has two; rows in groups of two."""
    for number, split in enumerate(SPLITS):
        names = [name for name in PICTURES if PARTS[name] == number]
        halves = [names[:2], names[2:]] if split == "train" else [names]
        for part, half in enumerate(halves):
            columns = {
                "image": pa.array([{"bytes": PICTURES[name], "path": name} for name in half]),
                "celeb_id": pa.array([PEOPLE[name] for name in half], pa.int64()),
            }
            for at, word in enumerate(ATTRIBUTES):
                flags = [FLAGS[name][at] for name in half]
                columns[word] = pa.array([1 if flag else -1 for flag in flags] if numbers else flags)
            path = folder / file_of(split, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), path, row_group_size=2)


def official(root: Path) -> list[Path]:
    put_zip(root / "Img/img_align_celeba.zip")
    put_lists(root, "Anno", "Eval")
    put(root / "README.txt", "CelebA")
    return [root, root / "Img", root / "Img/img_align_celeba.zip"]


def official_unpacked(root: Path) -> list[Path]:
    put_pictures(root / "Img/img_align_celeba")
    put_zip(root / "Img/img_align_celeba.zip")
    put_lists(root, "Anno", "Eval")
    return [root, root / "Img", root / "Img/img_align_celeba"]


def torchvision(root: Path) -> list[Path]:
    put_pictures(root / "celeba/img_align_celeba")
    put_zip(root / "celeba/img_align_celeba.zip")
    put_lists(root / "celeba")
    return [root, root / "celeba", root / "celeba/img_align_celeba"]


def kaggle_lists() -> dict[str, str]:
    return {
        "list_attr_celeba.csv": attributes_csv(),
        "list_eval_partition.csv": partition_csv(),
        "list_bbox_celeba.csv": "image_id,x_1\n000001.jpg,95\n",
        "identity_CelebA.txt": identities_txt(),
    }


def kaggle(root: Path) -> list[Path]:
    put_pictures(root / "img_align_celeba/img_align_celeba")
    for name, content in kaggle_lists().items():
        put(root / name, content)
    return [root, root / "img_align_celeba", root / "img_align_celeba/img_align_celeba"]


def kaggle_zip(root: Path) -> list[Path]:
    put_zip(root / "archive.zip", "img_align_celeba/img_align_celeba/", kaggle_lists())
    return [root / "archive.zip", root]


def renamed_folder(root: Path) -> list[Path]:
    put_pictures(root / "faces")
    put(root / "faces/.hidden.jpg", b"")
    put(root / "__MACOSX/faces/._000001.jpg", b"")
    put_lists(root)
    return [root, root / "faces"]


def link_to_folder(root: Path) -> list[Path]:
    put_pictures(root / "elsewhere/pictures")
    put_lists(root / "here")
    (root / "here/img_align_celeba").symlink_to(root / "elsewhere/pictures")
    return [root / "here", root / "here/img_align_celeba"]


def zip_with_clutter(root: Path) -> list[Path]:
    clutter = (
        "__MACOSX/img_align_celeba/._000001.jpg",
        "img_align_celeba/.DS_Store",
        "img_align_celeba/a.txt",
    )
    put_zip(root / "img_align_celeba.zip", others=dict.fromkeys(clutter, "x"))
    put_lists(root)
    return [root / "img_align_celeba.zip"]


def hugging_face(root: Path) -> list[Path]:
    put_parquet(root / "img_align+identity+attr", lambda split, part: f"{split}-0000{part}-of-00002.parquet")
    put(root / "README.md", "---")
    return [root, root / "img_align+identity+attr"]


def hugging_face_data(root: Path) -> list[Path]:
    put_parquet(root, lambda split, part: f"data/{split}-0000{part}-of-00002.parquet")
    return [root, root / "data"]


def hugging_face_converted(root: Path) -> list[Path]:
    put_parquet(root, lambda split, part: f"{split}/000{part}.parquet", numbers=True)
    return [root]


LAYOUTS = (
    official,
    official_unpacked,
    torchvision,
    kaggle,
    kaggle_zip,
    renamed_folder,
    link_to_folder,
    zip_with_clutter,
    hugging_face,
    hugging_face_data,
    hugging_face_converted,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The pictures in a folder, with all lists beside it."""
    put_pictures(tmp_path / "img_align_celeba")
    put_lists(tmp_path)
    return tmp_path / "img_align_celeba"


def told(source: CelebaSource) -> list[tuple]:
    return sorted(
        (sample.origin, sample.split, sample.identity, sample.details.get("attributes"))
        for sample in source.samples
    )


def contents(source: CelebaSource) -> dict[str, bytes]:
    read = source.read(range(len(source.samples)))
    return {sample.origin: content for sample, content in zip(source.samples, read, strict=True)}


def found(source: CelebaSource) -> dict[str, tuple[str, list]]:
    return {finding.reason: (finding.action, finding.origins) for finding in source.findings}


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


def test_lists_may_lie_anywhere_when_they_are_given(tmp_path: Path) -> None:
    put_zip(tmp_path / "a/img_align_celeba.zip")
    put_parquet(tmp_path / "b", lambda split, part: f"{split}-{part}.parquet")
    for name, content in (("at", attributes_txt()), ("id", identities_txt()), ("part", partition_txt())):
        put(tmp_path / "lists" / name, content.replace("2880", "5"))
    lists = {
        "attributes": tmp_path / "lists/at",
        "identities": tmp_path / "lists/id",
        "partition": tmp_path / "lists/part",
    }
    for path in (tmp_path / "a", tmp_path / "b"):
        people = [(name, split, 5 if who == 2880 else who, held) for name, split, who, held in EXPECTED]
        assert told(read_celeba(path, **lists)) == people


@pytest.mark.parametrize(
    "content",
    [
        attributes_txt(),
        attributes_txt().replace("\r\n", "\n"),
        attributes_txt().replace("9\r\n", "202599\r\n", 1),
        attributes_txt().removeprefix("9\r\n"),
        "\ufeff" + attributes_txt().replace(" ", "   ").replace("\r\n", " \r\n\r\n"),
        attributes_txt().replace(ATTRIBUTES[0], f"image_id {ATTRIBUTES[0]}"),
        attributes_txt().replace("-1", "0"),
        attributes_csv(),
        attributes_csv().replace("image_id", "").replace("\n", "\r\n"),
        "\n".join(f"{'' if at < 0 else at},{line}" for at, line in enumerate(attributes_csv().split(), -1)),
        attributes_csv().replace(",1", ", True").replace(",-1", ", False"),
        attributes_csv().replace("1,", "1.0,").replace("\n", ",\n"),
    ],
)
def test_every_form_of_the_attributes_says_the_same(content: str, folder: Path) -> None:
    put(folder.parent / "list_attr_celeba.txt", content)
    source = read_celeba(folder)
    assert told(source) == EXPECTED
    assert source.findings == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("identity_CelebA.txt", "image identity\r\n" + identities_txt().replace("\n", "\r\n")),
        ("identity_CelebA.txt", "9\n" + identities_txt().replace(" ", "\t ")),
        ("list_eval_partition.txt", partition_csv()),
        ("list_eval_partition.txt", partition_txt().replace("\n", " \n\n")),
    ],
)
def test_every_form_of_the_other_lists_says_the_same(name: str, content: str, folder: Path) -> None:
    put(folder.parent / name, content)
    source = read_celeba(folder)
    assert (told(source), source.findings) == (EXPECTED, [])


def test_pictures_and_rows_that_do_not_match_are_kept_and_told(folder: Path) -> None:
    put(folder / "000010.jpg", jpeg(10))
    (folder / "000002.jpg").unlink()
    (folder / "000008.jpg").unlink()
    source = read_celeba(folder)
    assert [sample.origin for sample in source.samples][-1] == "000010.jpg"
    last = source.samples[-1]
    assert (last.split, last.identity, last.details) == ("train", -1, {"file": "000010.jpg"})
    assert found(source) == {
        celeba.ABSENT: ("passed over", ["000002.jpg", "000008.jpg"]),
        "picture without attributes": ("kept without", ["000010.jpg"]),
        "picture without an identity": ("kept, as of an unknown person", ["000010.jpg"]),
        "picture without a split": ("kept in train", ["000010.jpg"]),
    }


def test_lists_that_are_not_there_are_told_once(tmp_path: Path) -> None:
    put_zip(tmp_path / "img_align_celeba.zip")
    source = read_celeba(tmp_path)
    assert told(source) == [(name, "train", -1, None) for name in PICTURES]
    assert source.samples[0].details == {"file": "000001.jpg"}
    assert [(finding.reason, finding.action, finding.origins) for finding in source.findings] == [
        (celeba.NO_LIST, "all kept without", ["list_attr_celeba.txt"]),
        (celeba.NO_LIST, "all kept, as of an unknown person", ["identity_CelebA.txt"]),
        (celeba.NO_LIST, "all kept in train", ["list_eval_partition.txt"]),
    ]


def test_a_row_that_cannot_be_read_costs_no_other(folder: Path) -> None:
    lines = attributes_txt().split("\r\n")
    lines[2 + 1] = "000002.jpg -1 1"
    lines[2 + 3] = lines[2 + 3].replace("-1", "-7")
    lines[2 + 5] = "torn"
    put(folder.parent / "list_attr_celeba.txt", "\n".join([*lines, lines[2]]))
    put(folder.parent / "identity_CelebA.txt", identities_txt().replace("10177", "1e4") + "000001.jpg 2880\n")
    put(folder.parent / "list_eval_partition.txt", partition_txt().replace("000009.jpg 2", "000009.jpg 3"))
    source = read_celeba(folder)
    expected = [list(row) for row in EXPECTED]
    for at in (1, 3, 5):
        expected[at][3] = None
    expected[6][2], expected[8][1] = -1, "train"
    assert told(source) == [tuple(row) for row in expected]
    rows = [f"list_attr_celeba.txt row {row}" for row in (2, 4, 6)]
    rows += ["identity_CelebA.txt row 7", "list_eval_partition.txt row 9"]
    assert found(source) == {
        celeba.BAD_ROW: ("passed over", rows),
        celeba.AGAIN: ("passed over", ["list_attr_celeba.txt row 10", "identity_CelebA.txt row 10"]),
        "picture without attributes": ("kept without", ["000002.jpg", "000004.jpg", "000006.jpg"]),
        "picture without an identity": ("kept, as of an unknown person", ["000007.jpg"]),
        "picture without a split": ("kept in train", ["000009.jpg"]),
    }


@pytest.mark.parametrize("content", ["", "202599\n", "a,b\n1,2\n", "\0\xff" * 500, "x" * 3000])
def test_a_list_without_a_usable_row_is_refused(content: str, folder: Path) -> None:
    path = folder.parent / "other.txt"
    put(path, content.encode("latin-1"))
    with pytest.raises(InputError, match=r"other\.txt has no row that tells the identities"):
        read_celeba(folder, identities=path)


def test_a_given_list_that_does_not_exist_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt does not exist"):
        read_celeba(folder, partition=folder / "nowhere.txt")


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


def test_a_damaged_list_in_a_zip_is_told(tmp_path: Path) -> None:
    [path, _] = kaggle_zip(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(identities_txt().encode()) + 20] ^= 255
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"cannot read identity_CelebA\.txt in .*archive\.zip"):
        read_celeba(path)


def test_rows_without_names_or_bytes_are_told_by_their_number(tmp_path: Path) -> None:
    files = [{"bytes": PICTURES["000001.jpg"], "path": None}, None, {"bytes": None, "path": "a/x.jpg"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {"IMG": pa.array(files, kind), "Celeb-ID": [3, None, -4], "Smiling": [True, None, False]}
    )
    pq.write_table(table, tmp_path / "celeba.parquet")
    source = read_celeba(tmp_path / "celeba.parquet")
    rows = [f"celeba.parquet row {row}" for row in (1, 2)]
    assert told(source) == [
        (rows[0], "train", 3, ["Smiling"]),
        (rows[1], "train", -1, []),
        ("x.jpg", "train", -1, []),
    ]
    assert source.read([0, 1, 2]) == [PICTURES["000001.jpg"], parquet.NO_BYTES, parquet.NO_BYTES]
    assert found(source)[celeba.NO_LIST] == ("all kept in train", ["list_eval_partition.txt"])


def test_pictures_may_stand_in_a_column_of_bytes_with_names_beside(tmp_path: Path) -> None:
    columns = {"image": [*PICTURES.values()], "image_id": [*PICTURES], "celeb_id": [*PEOPLE.values()]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    source = read_celeba(tmp_path)
    assert told(source) == [(name, "train", PEOPLE[name], None) for name in PICTURES]
    assert contents(source) == PICTURES


def test_a_parquet_file_without_pictures_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"], "label": [1]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="no column with the bytes of pictures"):
        read_celeba(tmp_path)


def test_a_parquet_file_that_is_cut_short_is_one_sentence(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    path = tmp_path / "img_align+identity+attr/valid-00000-of-00002.parquet"
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:100],
        whole[: len(whole) // 2],
        b"version https://git-lfs.github.com/spec/v1\n",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"cannot read {path.parent}.*valid-00000".replace("+", r"\+")):
            read_celeba(tmp_path)


def test_damage_in_a_parquet_file_costs_no_more_than_its_group_of_rows(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    path = tmp_path / "img_align+identity+attr/train-00000-of-00002.parquet"
    whole = bytearray(path.read_bytes())
    whole[4:40] = bytes(36)
    path.write_bytes(whole)
    read = contents(read_celeba(tmp_path))
    damaged = dict.fromkeys(("000001.jpg", "000002.jpg"), parquet.DAMAGED)
    assert read == PICTURES | damaged


def test_where_no_parquet_file_can_be_opened_no_picture_is_given_up(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    source = read_celeba(tmp_path)
    told_so = pytest.raises(
        InputError, match=r"cannot read .*\.parquet \(Too many open files\): run the same"
    )
    with no_more_files(), told_so:
        contents(source)
    assert contents(source) == PICTURES
    [path, *_] = tmp_path.rglob("*.parquet")
    with no_more_files(), told_so:
        parquet.read_told(path, 0)


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


def test_a_missing_library_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [root, *_] = hugging_face(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install pyarrow"):
        read_celeba(root)


@pytest.mark.parametrize(
    ("layout", "told"), [(kaggle, [(9, 9)]), (hugging_face, [(n, 4) for n in (1, 2, 3, 4)])]
)
def test_listing_tells_how_far_it_is(
    layout: Callable[[Path], list[Path]], told: list[tuple[int, int]], tmp_path: Path
) -> None:
    progress = []
    read_celeba(layout(tmp_path)[0], progress=lambda done, total: progress.append((done, total)))
    assert progress == told

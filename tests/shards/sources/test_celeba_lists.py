"""The lists of CelebA: attributes, people and splits in every form, and what of them cannot be used."""

from pathlib import Path

import pytest

from fes.errors import InputError
from shards.sources import celeba
from shards.sources.celeba import read_celeba
from tests.shards.sources.celeba_layouts import (
    ATTRIBUTES,
    EXPECTED,
    PICTURES,
    attributes_csv,
    attributes_txt,
    found,
    identities_txt,
    jpeg,
    kaggle_zip,
    partition_csv,
    partition_txt,
    put,
    put_parquet,
    put_pictures_beside_lists,
    put_zip,
    told,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put_pictures_beside_lists(tmp_path)


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


@pytest.mark.parametrize("content", ["", "202599\n", "a,b\n1,2\n", "\xff" * 500, "x" * 3000])
def test_a_list_without_a_usable_row_is_refused(content: str, folder: Path) -> None:
    path = folder.parent / "other.txt"
    put(path, content.encode("latin-1"))
    with pytest.raises(InputError, match=r"other\.txt has no row that tells the identities"):
        read_celeba(folder, identities=path)


def test_a_list_that_is_no_text_is_refused(folder: Path) -> None:
    path = folder.parent / "other.txt"
    path.write_bytes(b"\0\xff" * 500)
    with pytest.raises(InputError, match=r"other\.txt is a binary file, no list: check the path"):
        read_celeba(folder, identities=path)


def test_a_given_list_that_does_not_exist_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt does not exist"):
        read_celeba(folder, partition=folder / "nowhere.txt")


def test_a_damaged_list_in_a_zip_is_told(tmp_path: Path) -> None:
    [path, _] = kaggle_zip(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(identities_txt().encode()) + 20] ^= 255
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"cannot read identity_CelebA\.txt in .*archive\.zip"):
        read_celeba(path)

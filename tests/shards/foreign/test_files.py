"""Which tars the user means, and which split each is."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.foreign.files import find_tars, splits_of


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_a_folder_stands_for_all_tars_below_it(tmp_path: Path) -> None:
    touch(tmp_path, ["b.tar", "a/c.TAR", "a/d.tar.gz", "e.txt", "._b.tar", "f.tgz"])
    (tmp_path / "g.tar").mkdir()
    files = find_tars([tmp_path])
    assert files.tars == (tmp_path / "a/c.TAR", tmp_path / "b.tar")
    assert files.packed == (str(tmp_path / "a/d.tar.gz"), str(tmp_path / "f.tgz"))


def test_braces_stand_for_many_names(tmp_path: Path) -> None:
    touch(tmp_path, [f"{part}-{n:03d}.tar" for part in ("train", "val") for n in range(12)])
    assert len(find_tars([f"{tmp_path}/{{train,val}}-{{000..011}}.tar"]).tars) == 24
    with pytest.raises(InputError, match=r"train-012\.tar is no file"):
        find_tars([f"{tmp_path}/train-{{000..012}}.tar"])
    with pytest.raises(InputError, match="braces without a partner"):
        find_tars([f"{tmp_path}/train-{{000..011.tar"])


def test_a_name_that_has_braces_of_its_own_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path, ["a-{0..1}.tar"])
    assert find_tars([tmp_path / "a-{0..1}.tar"]).tars == (tmp_path / "a-{0..1}.tar",)


def test_a_tar_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    touch(tmp_path, ["a/b.tar"])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert find_tars([tmp_path / "a", tmp_path / "a/b.tar", tmp_path / "link/b.tar"]).tars == (
        tmp_path / "a/b.tar",
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nothing.tar", r"nothing\.tar is no file: check the paths"),
        ("empty", "there is no tar in .*empty: give .tar files"),
        ("packed", r"there is no tar in .*packed: unpack .*a\.tar\.gz and the like"),
    ],
)
def test_where_there_is_no_tar_the_user_is_told(tmp_path: Path, given: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path, ["packed/a.tar.gz"])
    with pytest.raises(InputError, match=sentence):
        find_tars([tmp_path / given])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("fes-train-000000.tar", "train"),
        ("imagenet_val_07.tar", "valid"),
        ("VALIDATION.tar", "valid"),
        ("mytest.tar", "train"),
        ("test/000.tar", "test"),
        ("test_data/000.tar", "train"),
        ("test/train-0.tar", "train"),
        ("00000.tar", "train"),
    ],
)
def test_the_split_is_in_the_name_of_the_file_or_of_its_folder(name: str, split: str) -> None:
    path = Path("/data") / name
    assert splits_of([path], {}) == {path: split}


def test_what_the_user_says_of_splits_wins(tmp_path: Path) -> None:
    tars = [tmp_path / "train-0.tar", tmp_path / "eval-0.tar", tmp_path / "other.tar"]
    wanted = {"eval-*.tar": "Validation", "*-0.tar": "test"}
    assert list(splits_of(tars, wanted).values()) == ["test", "valid", "train"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({}, r"tells of test and train: say which it is with --split 'train-test-0\.tar' test"),
        ({"*": "tset"}, r"--split \* cannot be 'tset'; did you mean 'test'\?"),
        ({"eval*": "test"}, r"--split eval\* fits none of the 1 tars, such as train-test-0\.tar"),
    ],
)
def test_splits_that_cannot_be_told_are_asked_for(
    tmp_path: Path, wanted: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        splits_of([tmp_path / "train-test-0.tar"], wanted)

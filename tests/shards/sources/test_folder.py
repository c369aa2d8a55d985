"""Folders of picture files become samples with their split and label, and nothing is lost unsaid."""

import os
import pickle
import sys
from pathlib import Path

import pytest

from fes.errors import InputError
from fes.expressions import UNLABELLED
from shards.schema import NOBODY, Unreadable
from shards.sources import folder
from shards.sources.folder import read_folder
from tests.shards.sources.folders import fill, found, told


def test_a_folder_per_class_is_training_and_every_file_tells_its_name(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, ["sad/b.png", "sad/a.jpg", "Happy/c.JPEG", "fear/d.webp"]))
    assert told(source) == {
        "Happy/c.JPEG": ("train", 3),
        "fear/d.webp": ("train", 2),
        "sad/a.jpg": ("train", 4),
        "sad/b.png": ("train", 4),
    }
    assert [sample.details for sample in source.samples[:2]] == [
        {"file": "Happy/c.JPEG"},
        {"file": "fear/d.webp"},
    ]
    assert {sample.identity for sample in source.samples} == {NOBODY}
    assert (source.name, source.crop, source.findings) == ("folder", None, [])


def test_the_pictures_are_the_files_bytes_in_the_order_asked_for_also_in_other_processes(
    tmp_path: Path,
) -> None:
    source = read_folder(fill(tmp_path, ["sad/a.jpg", "sad/b.png", "happy/c.gif"]))
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read([2, 0]) == [b"sad/b.png", b"happy/c.gif"]
    assert copy.read([]) == []


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("train", "val", "test"), ("Training", "validation", "TESTING"), ("trn", "Public_Test", "private-test")],
)
def test_folders_of_splits_are_known_by_many_names(tmp_path: Path, train: str, valid: str, test: str) -> None:
    source = read_folder(fill(tmp_path, [f"{train}/sad/1.jpg", f"{valid}/sad/1.jpg", f"{test}/happy/1.jpg"]))
    assert sorted(told(source).values()) == [("test", 3), ("train", 4), ("valid", 4)]


def test_folders_below_a_class_and_around_everything_are_passed_over(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, ["archive/data/train/sad/x/y/1.jpg", "archive/data/test/sad/1.jpg"]))
    assert told(source) == {
        "archive/data/train/sad/x/y/1.jpg": ("train", 4),
        "archive/data/test/sad/1.jpg": ("test", 4),
    }


@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled"])
def test_a_folder_may_say_that_its_pictures_have_no_label(tmp_path: Path, name: str) -> None:
    source = read_folder(fill(tmp_path, [f"{name}/1.jpg", "sad/2.jpg"]))
    assert {sample.label for sample in source.samples} == {UNLABELLED, 4}


def test_other_files_are_told_and_what_systems_leave_behind_is_not(tmp_path: Path) -> None:
    names = ["sad/1.jpg", "sad/notes.txt", "info.csv", "cover.jpg", "train.tar", "._x.jpg"]
    names += ["sad/.DS_Store", "sad/._1.jpg", "__MACOSX/sad/1.jpg", "sad/Thumbs.db", ".git/happy/2.jpg"]
    source = read_folder(fill(tmp_path, names))
    assert list(told(source)) == ["sad/1.jpg"]
    assert found(source) == {
        folder.NOT_A_PICTURE: ["info.csv", "sad/notes.txt", "train.tar"],
        folder.OUTSIDE: ["cover.jpg"],
    }
    assert {finding.action for finding in source.findings} == {"left out"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hapy", r"hapy is no class .* --alias 'hapy' CLASS; did you mean 'happy'\?"),
        ("surprize", r"did you mean 'surprised'\?"),
        ("3", "choose from angry, disgusted, afraid"),
    ],
)
def test_a_folder_that_is_no_class_is_told_with_the_nearest_one(
    tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        read_folder(fill(tmp_path, ["sad/1.jpg", f"{name}/2.jpg"]))


def test_a_folder_that_is_no_class_and_has_no_pictures_is_no_trouble(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, ["sad/1.jpg", "docs/readme.md"]))
    assert found(source) == {folder.NOT_A_PICTURE: ["docs/readme.md"]}


def test_contempt_is_refused_until_the_user_says_what_becomes_of_it(tmp_path: Path) -> None:
    fill(tmp_path, ["sad/1.jpg", "Contempt/2.jpg"])
    with pytest.raises(InputError, match=r"Contempt is a class that fes does not have.* --contempt drop"):
        read_folder(tmp_path)
    assert told(read_folder(tmp_path, contempt="disgust"))["Contempt/2.jpg"] == ("train", 1)
    assert told(read_folder(tmp_path, contempt="unlabelled"))["Contempt/2.jpg"] == ("train", UNLABELLED)
    dropped = read_folder(tmp_path, contempt="drop")
    assert list(told(dropped)) == ["sad/1.jpg"]
    assert found(dropped) == {folder.TO_DROP: ["Contempt/2.jpg"]}


def test_numbered_folders_get_their_classes_from_the_user(tmp_path: Path) -> None:
    fill(tmp_path, ["train/1/a.jpg", "train/2/b.jpg", "test/7/c.jpg", "test/1/d.jpg"])
    source = read_folder(tmp_path, aliases={"1": "surprised", "2": "fear", "7": "drop"})
    assert told(source) == {
        "train/1/a.jpg": ("train", 5),
        "train/2/b.jpg": ("train", 2),
        "test/1/d.jpg": ("test", 5),
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"contempt": "hapy"}, r"--contempt cannot be 'hapy'; did you mean 'happy'\?"),
        ({"aliases": {"1": "refuse"}}, "--alias 1 cannot be 'refuse'"),
        ({"identity": "("}, r"--identity '\(' is no regular expression \(missing \)"),
        ({"identity": "x(y)"}, r"matches none of the 1 files, such as '1.jpg'"),
        ({"valid_share": 1.0}, "--valid-share is a part of training, from 0 to below 1, not 1.0"),
        ({"test_share": -0.1}, "--test-share is a part of training"),
        ({"test_share": float("nan")}, "--test-share is a part of training"),
        ({"valid_share": 0.5, "test_share": 0.5}, "leave nothing to train on"),
        ({"valid_share": 1e-9}, "--valid-share 1e-09 takes no picture"),
    ],
)
def test_options_that_make_no_sense_are_told_in_a_sentence(
    tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    fill(tmp_path, ["sad/1.jpg"])
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path, **options)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["train/sad/1.jpg", "happy/1.jpg"], r"splits \(train\) and of classes \(happy\) side by side"),
        (["train/sad/1.jpg", "extra/1.jpg"], "extra holds pictures and is neither a split nor a class"),
        (["sad/train/1.jpg", "sad/test/1.jpg"], "the other way round, as test/sad"),
        (["001/happy/1.jpg", "002/happy/1.jpg"], r"001 is no class that fes knows \(the first of 2 such\)"),
        (["train/1.jpg", "test/1.jpg"], "has no picture in a folder of a class"),
        (["1.jpg"], "has no picture in a folder of a class"),
        (["sad/notes.txt"], "has no picture in a folder of a class"),
        ([], "has no picture in a folder of a class"),
    ],
)
def test_a_layout_that_means_nothing_or_two_things_is_told_in_a_sentence(
    tmp_path: Path, names: list[str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        read_folder(fill(tmp_path, names))


def test_links_to_files_are_read_and_links_to_folders_are_told_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, ["data/sad/1.jpg", "elsewhere/2.jpg"])
    (tmp_path / "data/sad/3.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    (tmp_path / "data/happy").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/sad/loop").symlink_to(tmp_path / "data")
    source = read_folder(tmp_path / "data")
    assert list(told(source)) == ["sad/1.jpg", "sad/3.jpg"]
    assert source.read([1]) == [b"elsewhere/2.jpg"]
    assert found(source) == {folder.LINK: ["happy", "sad/loop"]}


def test_files_that_are_gone_or_no_files_cost_no_other_and_never_hang(tmp_path: Path) -> None:
    fill(tmp_path, ["sad/1.jpg", "sad/2.jpg", "sad/3.jpg"])
    (tmp_path / "sad/0.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "sad/9.jpg")
    source = read_folder(tmp_path)
    (tmp_path / "sad/2.jpg").unlink()
    read = source.read(range(5))
    assert [isinstance(each, Unreadable) for each in read] == [True, False, True, False, True]
    assert (read[1], read[3]) == (b"sad/1.jpg", b"sad/3.jpg")


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_that_are_no_utf8_are_read_and_written_down_as_text(tmp_path: Path) -> None:
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"picture")
    source = read_folder(tmp_path, identity="^.+")
    assert source.samples[0].details == {"file": r"sad/caf\xe9.jpg", "identity": r"caf\xe9.jpg"}
    assert source.read([0]) == [b"picture"]


def test_the_stamp_changes_with_the_files_alone(tmp_path: Path) -> None:
    stamp = read_folder(fill(tmp_path, ["sad/1.jpg"])).stamp
    assert read_folder(tmp_path, identity="1").stamp == stamp
    (tmp_path / "sad/1.jpg").write_text("longer than before")
    changed = read_folder(tmp_path).stamp
    fill(tmp_path, ["sad/2.jpg"])
    assert len({stamp, changed, read_folder(tmp_path).stamp}) == 3


def test_progress_is_told_when_the_files_are_listed(tmp_path: Path) -> None:
    calls = []
    read_folder(
        fill(tmp_path, ["sad/1.jpg", "notes.txt"]), progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(2, 2)]

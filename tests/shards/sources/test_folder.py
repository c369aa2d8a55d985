"""Folders of picture files become samples with their split, label and person, and nothing is lost unsaid."""

import json
import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.build.writer import build
from shards.index import ShardIndex
from shards.pictures import ORIENTATION
from shards.schema import NOBODY, REPORT_NAME, Crop, Unreadable
from shards.sources import folder
from shards.sources.folder import FolderSource, read_folder

REAL_FOLDER = Path(__file__).parents[4] / "shared/data/webmorph"


def fill(root: Path, names: Iterable[str]) -> Path:
    """Files that hold their own names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def told(source: FolderSource) -> dict[object, tuple[str, int]]:
    return {sample.origin: (sample.split, sample.label) for sample in source.samples}


def found(source: FolderSource) -> dict[str, list]:
    return {finding.reason: finding.origins for finding in source.findings}


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


PEOPLE = [
    f"{name}/{person}_{shot}.jpg" for name in ("sad", "happy") for person in "abcdefghij" for shot in (1, 2)
]


def test_people_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["happy/s10/1.jpg", "sad/s10/2.jpg", "sad/s9/3.jpg", "sad/other.jpg", "unlabelled/s9/4.jpg"]
    source = read_folder(fill(tmp_path, names), identity=r"s(\d+)/")
    people = {sample.origin: (sample.identity, sample.details.get("identity")) for sample in source.samples}
    assert people == {
        "happy/s10/1.jpg": (0, "10"),
        "sad/s10/2.jpg": (0, "10"),
        "sad/s9/3.jpg": (1, "9"),
        "unlabelled/s9/4.jpg": (1, "9"),
        "sad/other.jpg": (NOBODY, None),
    }
    assert found(source) == {folder.NO_IDENTITY: ["sad/other.jpg"]}
    assert (source.facts["people"], source.unit) == (2, "files")


def test_an_expression_without_a_group_names_the_person_by_all_it_matches(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, ["sad/anna1.jpg", "sad/bert2.jpg"]), identity="[a-z]+")
    assert [sample.details["identity"] for sample in source.samples] == ["anna", "bert"]


def test_the_class_folder_is_no_part_of_what_names_the_person(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, ["data7/sad/1.jpg"]), identity=r"\d")
    assert source.samples[0].details["identity"] == "1"


def test_shares_of_known_people_leave_nobody_in_two_splits(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, PEOPLE), identity="(.)_", valid_share=0.3, test_share=0.3)
    splits: dict[int, set[str]] = {}
    for sample in source.samples:
        splits.setdefault(sample.identity, set()).add(sample.split)
    assert all(len(of_person) == 1 for of_person in splits.values())
    assert {split for of_person in splits.values() for split in of_person} == {"train", "valid", "test"}


def test_shares_of_files_have_about_the_size_that_was_asked_for_and_follow_the_seed(tmp_path: Path) -> None:
    fill(tmp_path, [f"sad/{number}.jpg" for number in range(400)])
    source = read_folder(tmp_path, valid_share=0.2, test_share=0.1)
    counts = Counter(sample.split for sample in source.samples)
    assert 56 <= counts["valid"] <= 104  # three standard deviations
    assert 22 <= counts["test"] <= 58
    assert told(read_folder(tmp_path, valid_share=0.2, test_share=0.1)) == told(source)
    assert told(read_folder(tmp_path, valid_share=0.2, test_share=0.1, seed=1)) != told(source)


def test_files_that_are_added_move_no_other_to_another_split(tmp_path: Path) -> None:
    before = told(read_folder(fill(tmp_path, PEOPLE[::2]), valid_share=0.3))
    after = told(read_folder(fill(tmp_path, PEOPLE), valid_share=0.3))
    assert {name: after[name] for name in before} == before


def test_a_share_is_taken_from_training_alone_and_not_for_a_split_that_is_there(tmp_path: Path) -> None:
    fill(tmp_path, [f"train/{name}" for name in PEOPLE] + [f"test/{name}" for name in PEOPLE])
    source = read_folder(tmp_path, valid_share=0.3)
    assert {name for name, (split, _) in told(source).items() if split == "test"} == {
        f"test/{n}" for n in PEOPLE
    }
    assert {split for split, _ in told(source).values()} == {"train", "valid", "test"}
    with pytest.raises(InputError, match="has a folder for test already: leave out --test-share"):
        read_folder(tmp_path, test_share=0.3)


def test_all_of_training_may_be_taken_for_the_test(tmp_path: Path) -> None:
    source = read_folder(fill(tmp_path, PEOPLE), identity="(.)_", test_share=1)
    assert {split for split, _ in told(source).values()} == {"test"}


def draw(path: Path, width: int, height: int, turned: int = 1) -> np.ndarray:
    """A picture of noise, with an EXIF mark that it is `turned`; returns what its file holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 256, size=(height, width), dtype=np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def test_of_pictures_framed_alike_the_square_is_read_and_the_files_are_kept(tmp_path: Path) -> None:
    pixels = draw(tmp_path / "faces/sad/1.png", 60, 50)
    source = read_folder(tmp_path / "faces", square=(20, 8, 30))
    assert source.crop == Crop(60, 50, left=20, top=8, side=30)
    build(source, tmp_path / "out")
    split = ShardIndex.load(tmp_path / "out").split("train")
    assert split.read(0, "image") == (tmp_path / "faces/sad/1.png").read_bytes()
    assert np.array_equal(split.image(0)[0], pixels[8:38, 20:50])


def test_a_picture_that_does_not_hold_the_square_is_dropped_and_named_in_the_report(tmp_path: Path) -> None:
    for name, size in {
        "sad/1": (60, 50),
        "sad/2": (60, 50),
        "happy/low": (60, 37),
        "sad/narrow": (49, 50),
    }.items():
        draw(tmp_path / f"faces/{name}.png", *size)
    source = read_folder(tmp_path / "faces", square=(20, 8, 30))
    assert list(told(source)) == ["sad/1.png", "sad/2.png"]
    build(source, tmp_path / "out")
    findings = json.loads((tmp_path / "out" / REPORT_NAME).read_bytes())["findings"]
    assert {
        "reason": "picture that does not hold the square of --crop",
        "action": "dropped",
        "unit": "files",
        "count": 2,
        "origins": ["happy/low.png", "sad/narrow.png"],
    } in findings


def test_the_square_is_that_of_the_size_that_most_pictures_have(tmp_path: Path) -> None:
    for name, size in {"1": (120, 100), "2": (60, 50), "3": (60, 50), "4": (10, 10), "5": (9, 10)}.items():
        draw(tmp_path / f"sad/{name}.png", *size)
    assert read_folder(tmp_path, square=(20, 8, 30)).crop == Crop(60, 50, 20, 8, 30)


def test_the_square_is_counted_in_the_picture_as_it_is_upright(tmp_path: Path) -> None:
    draw(tmp_path / "sad/1.jpg", 50, 60, turned=6)
    assert read_folder(tmp_path, square=(30, 0, 30)).crop == Crop(60, 50, 30, 0, 30)
    with pytest.raises(InputError, match="which is 60 pixels wide and 50 high"):
        read_folder(tmp_path, square=(0, 30, 30))


def test_what_is_no_picture_is_told_as_such_with_a_square_too(tmp_path: Path) -> None:
    draw(tmp_path / "faces/sad/1.png", 60, 50)
    fill(tmp_path / "faces", ["sad/2.png"])
    build(read_folder(tmp_path / "faces", square=(20, 8, 30)), tmp_path / "out")
    findings = json.loads((tmp_path / "out" / REPORT_NAME).read_bytes())["findings"]
    reasons = {finding["reason"]: finding["origins"] for finding in findings}
    assert reasons == {"no readable picture (of no known kind)": ["sad/2.png"]}
    (tmp_path / "faces/sad/1.png").unlink()
    with pytest.raises(InputError, match=r"no readable picture \(of no known kind\): 1 files"):
        build(read_folder(tmp_path / "faces", square=(20, 8, 30)), tmp_path / "out2")


def test_a_square_that_no_picture_holds_is_told_in_a_sentence(tmp_path: Path) -> None:
    draw(tmp_path / "sad/1.png", 60, 50)
    sentence = (
        r"30 pixels from 20, 40 on lies in no picture of .*, such as sad/1.png, which is 60 pixels wide"
    )
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path, square=(20, 40, 30))


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


@pytest.mark.skipif(not REAL_FOLDER.exists(), reason=f"there are no photographs at {REAL_FOLDER}")
def test_photographs_of_sixty_people_are_read_with_their_numbers() -> None:
    source = read_folder(REAL_FOLDER, identity=r"(\d+)")
    assert Counter(EXPRESSIONS[sample.label] for sample in source.samples) == {"neutral": 60, "happy": 60}
    assert len({sample.identity for sample in source.samples}) == 60
    assert all(data.startswith(b"\xff\xd8") for data in source.read(range(120)))
    assert found(source) == {folder.NOT_A_PICTURE: ["info.csv"]}


@pytest.mark.skipif(not REAL_FOLDER.exists(), reason=f"there are no photographs at {REAL_FOLDER}")
def test_photographs_framed_alike_all_hold_one_square_and_may_all_be_for_the_test() -> None:
    source = read_folder(REAL_FOLDER, identity=r"(\d+)", test_share=1, square=(144, 158, 224))
    assert source.crop == Crop(512, 512, 144, 158, 224)
    assert Counter(sample.split for sample in source.samples) == {"test": 120}
    assert found(source) == {folder.NOT_A_PICTURE: ["info.csv"]}

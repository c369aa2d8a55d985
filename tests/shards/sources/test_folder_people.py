"""Who is on the pictures of a folder, and shares of them that become other splits."""

from collections import Counter
from pathlib import Path

import pytest

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards.schema import NOBODY
from shards.sources import folder
from shards.sources.folder import read_folder
from tests.shards.sources.folders import REAL_FOLDER, fill, found, told

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


def test_a_share_of_files_of_unknown_people_is_warned_of(tmp_path: Path) -> None:
    fill(tmp_path, [*PEOPLE, "sad/other.jpg", "sad/another.jpg"])
    (warning,) = read_folder(tmp_path, valid_share=0.3, test_share=0.2).warnings
    assert warning.startswith("--valid-share and --test-share split 42 files of unknown people one by one: ")
    (warning,) = read_folder(tmp_path, identity="(.)_", test_share=0.3).warnings
    assert warning.startswith("--test-share split 2 files of unknown people one by one: ")


def test_where_nobody_can_be_parted_from_his_other_pictures_nothing_is_warned_of(tmp_path: Path) -> None:
    fill(tmp_path, [f"train/{name}" for name in PEOPLE] + ["valid/sad/other.jpg"])
    assert read_folder(tmp_path, identity="(.)_", test_share=0.3).warnings == []
    assert read_folder(tmp_path).warnings == []
    assert read_folder(fill(tmp_path / "whole", PEOPLE), test_share=1).warnings == []


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


@pytest.mark.skipif(not REAL_FOLDER.exists(), reason=f"there are no photographs at {REAL_FOLDER}")
def test_photographs_of_sixty_people_are_read_with_their_numbers() -> None:
    source = read_folder(REAL_FOLDER, identity=r"(\d+)")
    assert Counter(EXPRESSIONS[sample.label] for sample in source.samples) == {"neutral": 60, "happy": 60}
    assert len({sample.identity for sample in source.samples}) == 60
    assert all(data.startswith(b"\xff\xd8") for data in source.read(range(120)))
    assert found(source) == {folder.NOT_A_PICTURE: ["info.csv"]}

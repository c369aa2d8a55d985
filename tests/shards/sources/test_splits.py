"""The names of splits, and splits by shares."""

import pytest

from fes.errors import InputError
from shards.schema import SPLITS
from shards.sources.splits import SPLIT_NAMES, Shares, split_named


def test_no_name_stands_for_two_splits() -> None:
    names = [name for of_split in SPLIT_NAMES.values() for name in of_split]
    assert len(set(names)) == len(names)
    assert tuple(SPLIT_NAMES) == SPLITS


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_known_by_all_its_names_in_any_case(split: str) -> None:
    for name in SPLIT_NAMES[split]:
        assert split_named(name) == split_named(f" {name.upper()}_") == split


@pytest.mark.parametrize("name", ["", "happy", "trains", "test1", "eval"])
def test_other_names_are_no_split(name: str) -> None:
    assert split_named(name) is None


def test_shares_are_drawn_from_the_name_and_the_seed_alone() -> None:
    shares = Shares(0.3, 0.3, seed=3)
    drawn = [shares.split_of(str(number)) for number in range(20)]
    assert drawn == [shares.split_of(str(number)) for number in range(20)]
    assert set(drawn) == set(SPLITS)
    # Written down, because a later version must not move people between the splits of a data set.
    written = ["train", "test", "test", "train", "valid", "test", "train", "test"]
    assert [Shares(0.3, 0.3).split_of(name) for name in "abcdefgh"] == written


def test_no_share_takes_nothing() -> None:
    assert {Shares().split_of(str(number)) for number in range(100)} == {"train"}


def test_all_may_be_for_the_test() -> None:
    assert {Shares(0, 1).split_of(str(number)) for number in range(100)} == {"test"}


@pytest.mark.parametrize(
    "shares", [(-0.1, 0), (1, 0), (0.1, 1), (0, 1.1), (0.6, 0.4), (float("nan"), 0), (0, float("inf"))]
)
def test_shares_that_leave_nothing_or_make_no_sense_are_told(shares: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="-share"):
        Shares(*shares)

"""Labels and people of shards that others made: where they are read, what they may be, and what is told."""

from pathlib import Path

import pytest

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.foreign import tar as foreign_tar
from shards.foreign.indexing import index_shards
from shards.index import ShardIndex
from shards.schema import NOBODY
from tests.shards.foreign.tars import found, labels, picture, write_tar


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("0", 0),
        ("6\n", 6),
        ("Happiness", 3),
        ("fear", 2),
        ("-1", UNLABELLED),
        ("unlabelled", UNLABELLED),
        ("4.0", 4),
    ],
)
def test_a_cls_is_a_number_or_a_name(tmp_path: Path, value: str, label: int) -> None:
    index_shards([write_tar(tmp_path / "a.tar", [{"png": picture(1), "cls": value}])], tmp_path)
    assert labels(tmp_path) == [label]


@pytest.mark.parametrize("value", ["7", "-2", "contempt", "", "1e9", "99999999999999999999", "\u0663x"])
def test_a_sample_whose_label_is_no_class_is_left_out_and_told(tmp_path: Path, value: str) -> None:
    samples = [{"png": picture(1), "cls": value}, {"png": picture(2), "cls": "5"}]
    index_shards([write_tar(tmp_path / "a.tar", samples)], tmp_path)
    assert labels(tmp_path) == [5]
    assert found(tmp_path) == {foreign_tar.UNKNOWN_LABEL: ["a.tar: 000000000"]}


def test_a_field_of_the_details_may_be_the_label(tmp_path: Path) -> None:
    values = ["sad", 5, 2.0, "3", None, float("nan"), True, [1], "smug"]
    samples = [{"png": picture(n), "json": {"emotion": value}, "cls": "1"} for n, value in enumerate(values)]
    samples += [{"png": picture(20), "json": {"other": 1}}, {"png": picture(21)}]
    index_shards([write_tar(tmp_path / "a.tar", samples)], tmp_path, label_field="emotion")
    assert labels(tmp_path) == [4, 5, 2, 3, *[UNLABELLED] * 4]
    assert found(tmp_path) == {
        foreign_tar.UNKNOWN_LABEL: [f"a.tar: {number:09d}" for number in (6, 7, 8)],
        foreign_tar.NO_LABEL_FIELD: ["a.tar: 000000009", "a.tar: 000000010"],
    }


def test_numbers_may_stand_for_other_classes_than_in_fes(tmp_path: Path) -> None:
    alphabet = ["angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    tar = write_tar(tmp_path / "a.tar", [{"png": picture(n), "cls": str(n)} for n in range(8)])
    numbers = ["drop" if name == "contempt" else name for name in alphabet]
    index_shards([tar], tmp_path, numbers=numbers)
    assert [EXPRESSIONS[label] for label in labels(tmp_path)] == [
        *("angry", "disgusted", "afraid", "happy", "neutral", "sad", "surprised")
    ]
    with pytest.raises(InputError, match="--numbers has 'contempt', which is no class; choose from angry"):
        index_shards([tar], tmp_path / "other", numbers=alphabet)


@pytest.mark.parametrize(
    ("values", "identities"),
    [
        ([12, 3, 12, 2.0, -1, None], [12, 3, 12, 2, NOBODY, NOBODY]),
        (["10", "9", "anna", "9", "", None], [0, 1, 2, 1, NOBODY, NOBODY]),
        ([9, "9", 10**30, "b", None, None], [1, 1, 0, 2, NOBODY, NOBODY]),
    ],
)
def test_people_are_numbers_or_get_numbers_in_the_order_of_their_names(
    tmp_path: Path, values: list[object], identities: list[int]
) -> None:
    samples = [{"png": picture(n), "json": {"who": value}} for n, value in enumerate(values)]
    write_tar(tmp_path / "a.tar", samples[:3])
    write_tar(tmp_path / "b.tar", samples[3:])
    index_shards([tmp_path], tmp_path, identity_field="who")
    index = ShardIndex.load(tmp_path)
    assert index.split("train").identities.tolist() == identities
    assert index.catalogue.splits["train"]["identities"] == len({*identities} - {NOBODY})


def test_people_that_are_not_told_or_make_no_sense_are_nobody(tmp_path: Path) -> None:
    values = [{"who": "anna"}, {"who": [1]}, {"who": True}, {"who": 1.5}, {}]
    tar = write_tar(
        tmp_path / "a.tar", [{"png": picture(n), "json": value} for n, value in enumerate(values)]
    )
    index_shards([tar], tmp_path, identity_field="who")
    assert ShardIndex.load(tmp_path).split("train").identities.tolist() == [0, *[NOBODY] * 4]
    assert found(tmp_path) == {
        foreign_tar.NO_IDENTITY: [f"a.tar: {number:09d}" for number in (1, 2, 3)],
        foreign_tar.NO_IDENTITY_FIELD: ["a.tar: 000000004"],
    }


@pytest.mark.parametrize("flag", ["label_field", "identity_field"])
def test_a_field_that_no_sample_has_is_told_with_the_nearest_one(tmp_path: Path, flag: str) -> None:
    tar = write_tar(tmp_path / "a.tar", [{"png": picture(1), "json": {"emotion": 3}}])
    with pytest.raises(InputError, match=rf"--{flag[:5]}.*-field emotions; did you mean 'emotion'\?"):
        index_shards([tar], tmp_path, **{flag: "emotions"})

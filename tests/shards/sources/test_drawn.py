from dataclasses import replace

import numpy as np
import pytest

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards.drawing.faces import draw_identities, render
from shards.sources.drawn import DrawnOptions, DrawnSource, draw

OPTIONS = DrawnOptions(train_identities=5, valid_identities=3, test_identities=2)


def identities(source: DrawnSource, split: str) -> list[int]:
    return [sample.details["identity"] for sample in source.samples if sample.split == split]


def test_every_person_is_drawn_in_all_seven_expressions() -> None:
    samples = draw(OPTIONS).samples
    assert len(samples) == 10 * 7
    for first in range(0, len(samples), 7):
        person = samples[first : first + 7]
        assert [sample.label for sample in person] == list(range(7))
        assert [sample.details["expression"] for sample in person] == list(EXPRESSIONS)
        assert len({sample.details["identity"] for sample in person}) == 1


def test_no_person_is_in_two_splits() -> None:
    people = [set(identities(draw(OPTIONS), split)) for split in ("train", "valid", "test")]
    assert [len(group) for group in people] == [5, 3, 2]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]


def test_more_people_in_training_leave_the_other_splits_as_they_are() -> None:
    small, large = draw(OPTIONS), draw(replace(OPTIONS, train_identities=9))
    assert small.samples[5 * 7 :] == large.samples[9 * 7 :]
    assert small.samples[: 5 * 7] == large.samples[: 5 * 7]


def test_the_numbers_in_the_details_are_those_of_the_identity_to_the_last_bit() -> None:
    for sample in draw(OPTIONS).samples[::7]:
        exact = draw_identities(OPTIONS.seed, [sample.details["identity"]])[0]
        assert np.array_equal(np.array(sample.details["numbers"], dtype=np.float32), exact)


@pytest.mark.parametrize(("resolution", "channels"), [(48, 1), (32, 3)])
def test_pictures_are_read_in_the_order_asked_for(resolution: int, channels: int) -> None:
    source = draw(replace(OPTIONS, resolution=resolution, channels=channels))
    positions = [30, 2, 69, 2]
    for position, read in zip(positions, source.read(positions), strict=True):
        sample = source.samples[position]
        person = np.array([sample.details["numbers"]], dtype=np.float32)
        face = render(person, np.array([sample.label]), resolution, channels)[0]
        assert np.array_equal(read, face)


def test_another_seed_draws_other_people() -> None:
    assert not np.array_equal(draw(OPTIONS).identities, draw(replace(OPTIONS, seed=1)).identities)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"train_identities": -1}, "holds 0 to 1000000 identities"),
        ({"valid_identities": 10**7}, "holds 0 to 1000000 identities"),
        ({"train_identities": 0, "valid_identities": 0, "test_identities": 0}, "no identities to draw"),
        ({"channels": 2}, "--channels is 1"),
        ({"resolution": 0}, "--resolution is between"),
        ({"seed": -1}, "--seed is 0 or more"),
    ],
)
def test_options_that_allow_no_drawing_are_told_in_a_sentence(wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        draw(replace(OPTIONS, **wrong))

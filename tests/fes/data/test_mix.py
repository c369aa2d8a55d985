"""Data sets in one stream: exact shares, no sample left out, and any position by itself."""

import pickle

import numpy as np
import pytest

from fes.data.mix import BLOCK, Mix, places_of
from fes.errors import InputError

WEIGHTS = [
    ([1], [10_000]),
    ([1, 1], [5_000, 5_000]),
    ([1, 1, 1], [3_334, 3_333, 3_333]),
    ([0.5, 0.3, 0.2], [5_000, 3_000, 2_000]),
    ([5, 0, 5], [5_000, 0, 5_000]),
    ([1, 2e-5], [9_999, 1]),
    ([2e-9, 1, 3e-9], [1, 9_998, 1]),
    ([1e308, 1e308], [5_000, 5_000]),
    ([5e-324, 5e-324], [5_000, 5_000]),
]


@pytest.mark.parametrize(("weights", "places"), WEIGHTS)
def test_a_block_has_places_by_the_largest_remainder_and_one_at_least(weights, places):
    assert places_of(weights).tolist() == places


def test_places_are_within_one_of_what_weights_ask():
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = rng.exponential(size=rng.integers(1, 12)) + 0.01
        places = places_of(weights)
        assert places.sum() == BLOCK
        assert np.abs(places - weights / weights.sum() * BLOCK).max() < 1


def test_many_tiny_weights_all_get_a_place():
    places = places_of([1e-9] * 40 + [1, 1])
    assert places.tolist() == [1] * 40 + [4_980, 4_980]


@pytest.mark.parametrize("weights", [[-1, 2], [0, 0], [float("nan"), 1], [float("inf"), 1], []])
def test_weights_that_make_no_sense_are_refused_in_one_sentence(weights):
    with pytest.raises(InputError, match="the weights of the data sets are") as caught:
        Mix(0, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", [[1], [0.5, 0.3, 0.2], [1, 2e-5], [3, 0, 1]])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_samples_of_a_set_come_one_after_the_other_without_a_gap(weights, seed):
    parts, places = Mix(seed, weights)(np.arange(3 * BLOCK + 123))
    for number in range(len(weights)):
        assert places[parts == number].tolist() == list(range((parts == number).sum()))


@pytest.mark.parametrize("first", [0, 10**6 - 5, 10**9 + 9_990, 10**15])
def test_a_position_alone_is_what_it_is_among_others(first):
    positions = np.arange(first, first + 40)  # some of them across the end of a block
    parts, places = Mix(1, [2, 1, 1])(positions)
    for at in range(40):
        part, place = Mix(1, [2, 1, 1])(positions[at : at + 1])
        assert (part[0], place[0]) == (parts[at], places[at])
    backwards = Mix(1, [2, 1, 1])(positions[::-1])
    assert np.array_equal(backwards[0], parts[::-1])
    assert np.array_equal(backwards[1], places[::-1])


@pytest.mark.parametrize("block", [0, 10**5, 10**11])
def test_every_block_has_the_exact_shares(block):
    parts, places = Mix(0, [0.5, 0.3, 0.2])(np.arange(block * BLOCK, (block + 1) * BLOCK))
    counts = np.array([5_000, 3_000, 2_000])
    assert np.bincount(parts).tolist() == counts.tolist()
    assert [places[parts == number].min() for number in range(3)] == (block * counts).tolist()
    assert [places[parts == number].max() for number in range(3)] == ((block + 1) * counts - 1).tolist()


def test_shares_over_any_long_stretch_are_the_weights():
    weights = np.array([0.61803, 0.14142, 0.24055])
    parts, _ = Mix(0, weights)(np.arange(1_234, 1_234 + 100 * BLOCK))
    assert np.abs(np.bincount(parts) / len(parts) - weights / weights.sum()).max() < 1e-4


def test_data_sets_are_mixed_and_not_one_after_the_other():
    parts, _ = Mix(0, [1, 1])(np.arange(BLOCK))
    runs = (np.diff(parts) != 0).sum()
    assert 4_700 < runs < 5_300  # as a fair coin's


def test_seeds_and_blocks_are_dealt_otherwise():
    dealt = [
        Mix(seed, [1, 1])(np.arange(block * BLOCK, block * BLOCK + 64))[0].tolist()
        for seed in (0, 1)
        for block in (0, 1)
    ]
    assert len({tuple(each) for each in dealt}) == 4


def test_the_deal_of_a_seed_never_changes():
    """Else a run that goes on after an update of fes would see some samples twice and others never."""
    parts, places = Mix(3, [0.5, 0.3, 0.2])(np.arange(123_456, 123_464))
    assert parts.tolist() == [0, 1, 1, 0, 2, 2, 1, 1]
    assert places.tolist() == [61730, 37018, 37019, 61731, 24708, 24709, 37020, 37021]


def test_one_data_set_is_the_whole_stream():
    positions = np.array([3, 10**12, 5])
    parts, places = Mix(0, [0.3])(positions)
    assert parts.tolist() == [0, 0, 0]
    assert places.tolist() == positions.tolist()


def test_a_mix_travels_to_another_process():
    mix = Mix(3, [1, 2])
    for found, expected in zip(
        pickle.loads(pickle.dumps(mix))(np.arange(99)), mix(np.arange(99)), strict=True
    ):
        assert np.array_equal(found, expected)


def test_any_number_of_places_is_dealt():
    assert places_of([0.5, 0.3, 0.2], 7).tolist() == [4, 2, 1]
    assert places_of([1, 0, 1e-9], 2).tolist() == [1, 0, 1]

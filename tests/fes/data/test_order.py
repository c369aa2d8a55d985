"""The order of one data set: exact epochs, shuffled by shards and within windows, listed piece by piece."""

import pickle

import numpy as np
import pytest

from fes.data.order import Order
from tests.fes.numbered import Numbers

UNEVEN = Numbers([50, 80, 50, 70, 50]).shard_starts


@pytest.mark.parametrize("window", [1, 7, 16, 300, 1000])
def test_each_epoch_is_a_permutation_of_all_samples(window):
    epochs = Order(0, UNEVEN, window)(np.arange(900)).reshape(3, 300)
    assert (np.sort(epochs) == np.arange(300)).all()
    assert len({tuple(epoch.tolist()) for epoch in (*epochs, np.arange(300))}) == 4


@pytest.mark.parametrize("window", [1, 7, 300])
def test_a_place_alone_is_what_it_is_among_others_and_far_on(window):
    order = Order(5, UNEVEN, window)
    for first in (0, 290, 10**9, 10**15):
        places = np.arange(first, first + 30)
        together = order(places)
        assert [
            int(Order(5, UNEVEN, window)(places[at : at + 1])[0]) for at in range(30)
        ] == together.tolist()
        assert order(places[::-1]).tolist() == together[::-1].tolist()


def test_another_seed_has_another_order():
    assert not np.array_equal(Order(0, UNEVEN, 16)(np.arange(9)), Order(1, UNEVEN, 16)(np.arange(9)))


def test_the_order_of_a_seed_never_changes():
    """Else a run that goes on after an update of fes would see some samples twice and others never."""
    found = Order(3, np.array([0, 4, 7, 12]), 5)(np.arange(12, 24)).tolist()
    assert found == [7, 8, 9, 11, 10, 4, 1, 5, 6, 0, 2, 3]


def test_the_samples_of_a_window_come_from_consecutive_shards():
    order = Order(0, Numbers([40] * 10).shard_starts, window=80)
    epoch = order(np.arange(400)) // 40  # the shard of each sample, in the order of the epoch
    windows = [epoch[at : at + 80] for at in range(0, 400, 80)]
    shards = [set(window.tolist()) for window in windows]
    assert all(len(each) == 2 for each in shards)
    assert set.union(*shards) == set(range(10))
    assert all((np.diff(window) != 0).sum() > 10 for window in windows)  # mixed, not one after the other
    assert sorted(windows[0].tolist()) != sorted(order(np.arange(400, 480)) // 40)  # other shards each epoch


@pytest.mark.parametrize("window", [1, 7, 64, 300, 1000])
def test_the_shards_of_a_window_are_those_that_its_samples_lie_in(window):
    order = Order(2, UNEVEN, window)
    places = np.arange(600)
    shards = np.searchsorted(UNEVEN, order(places), side="right") - 1
    turns = np.array([order.turn(place) for place in places.tolist()])
    assert turns.tolist() == sorted(turns.tolist())
    for turn in set(turns.tolist()):
        assert sorted(order.shards(turn).tolist()) == sorted(set(shards[turns == turn].tolist()))


def test_an_order_keeps_no_more_than_a_few_windows():
    order = Order(0, Numbers([100] * 50).shard_starts, window=64)
    order(np.arange(5000))
    kept = order._listed.cache_info()
    assert kept.misses == -(-5000 // 64)  # each window is listed once
    assert kept.currsize <= 4


def test_an_order_travels_to_another_process():
    order = Order(3, Numbers([40, 41, 39]).shard_starts, window=32)
    places = np.arange(50, 300)
    assert np.array_equal(pickle.loads(pickle.dumps(order))(places), order(places))


SOME = np.array([3, 50, 51, 60, 129, 200, 201, 202, 249, 250, 299])  # none in the third shard


@pytest.mark.parametrize("window", [1, 3, 11, 40])
def test_an_order_of_some_samples_has_epochs_of_these(window):
    order = Order(0, UNEVEN, window, SOME)
    epochs = order(np.arange(33)).reshape(3, 11)
    assert (np.sort(epochs) == SOME).all()
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3
    assert order.samples == 11


@pytest.mark.parametrize("window", [1, 3, 11])
def test_no_shard_without_one_of_some_samples_is_needed_for_them(window):
    order = Order(1, UNEVEN, window, SOME)
    places = np.arange(44)
    shards = np.searchsorted(UNEVEN, order(places), side="right") - 1
    turns = np.array([order.turn(place) for place in places.tolist()])
    for turn in set(turns.tolist()):
        assert sorted(order.shards(turn).tolist()) == sorted(set(shards[turns == turn].tolist()))


def test_an_order_of_all_samples_one_by_one_is_that_of_all():
    places = np.arange(900)
    assert np.array_equal(Order(4, UNEVEN, 64, np.arange(300))(places), Order(4, UNEVEN, 64)(places))


def test_an_order_of_some_samples_travels_to_another_process():
    order, places = Order(3, UNEVEN, 4, SOME), np.arange(50)
    assert np.array_equal(pickle.loads(pickle.dumps(order))(places), order(places))

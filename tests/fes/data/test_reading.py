"""One data set of a stream: bad samples end the run or are replaced, shards are asked for ahead."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from fes.data.decoded import DecodedSplit, decode_to
from fes.data.order import Order
from fes.data.reading import MOST_IN_A_ROW, Ahead, Part, Samples
from fes.errors import InputError
from shards.index import ShardIndex
from shards.remote.shelf import CachedShards
from tests.fes.numbered import Broken, Numbers, Shelved, taken
from tests.shards.remote.unreliable_server import serving

SIZES = [20, 21, 19]


def part_of(samples: Samples, on_bad_sample: str = "skip", window: int = 32) -> Part:
    return Part(samples, Order(0, samples.shard_starts, window), on_bad_sample)


def read(part: Part, places: np.ndarray) -> tuple[list[int], list[int], dict[int, str]]:
    """The numbers, the labels and the troubles of some places."""
    room = np.zeros((len(places), 2, 1, 1), np.uint8)
    found = part.read(places, room, lambda shard: None)
    assert all(found.troubles[row].position == part.order(places[[row]])[0] for row in found.troubles)
    sentences = {row: trouble.sentence for row, trouble in found.troubles.items()}
    return taken(room), found.labels.tolist(), sentences


def replaced(part: Part, places: np.ndarray, bad: set[int]) -> list[int]:
    """What the places show where the bad samples give way to the next good ones of the order."""
    walks = (map(int, part.order(np.arange(place, place + 200))) for place in places.tolist())
    return [next(position for position in walk if position not in bad) for walk in walks]


@pytest.mark.parametrize("first", [0, 50, 10**9])
@pytest.mark.parametrize("bad", [{5}, {3, 4, 59, 20, 41}, set(range(0, 60, 2))])
def test_a_bad_sample_gives_way_to_the_next_good_one_of_the_order(bad, first):
    part = part_of(Broken(SIZES, bad))
    places = np.arange(first, first + 60)  # ends of epochs and windows among them
    numbers, labels, troubles = read(part, places)
    assert numbers == replaced(part, places, bad)
    assert labels == [number % 7 for number in numbers]
    before = part.order(places).tolist()
    assert set(troubles) == {row for row, position in enumerate(before) if position in bad}
    assert all(f"member {before[row]}.png" in trouble for row, trouble in troubles.items())


def test_a_place_shows_the_same_sample_whoever_reads_it():
    bad = {7, 8, 9, 30, 31}
    places = np.arange(60)
    together, _, _ = read(part_of(Broken(SIZES, bad)), places)
    alone = [read(part_of(Broken(SIZES, bad)), places[at : at + 1])[0][0] for at in range(60)]
    assert alone == together


def test_a_bad_sample_ends_the_run_where_none_is_to_be_skipped():
    with pytest.raises(InputError, match=r"^shard-3.tar: member 5.png is damaged: build it again$"):
        read(part_of(Broken(SIZES, [5]), "fail"), np.arange(60))


@pytest.mark.parametrize("label", [7, -2, 2**40])
def test_a_label_that_no_class_has_is_a_bad_sample(label):
    samples = Numbers(SIZES)
    samples.labels = samples.labels.copy()
    samples.labels[33] = label
    with pytest.raises(InputError, match=f"sample 33 .* has the label {label}, .* from -1 to 6") as caught:
        read(part_of(samples, "fail"), np.arange(60))
    assert "\n" not in str(caught.value)
    numbers, labels, troubles = read(part_of(samples), np.arange(60))
    assert numbers == replaced(part_of(samples), np.arange(60), {33})
    assert labels == [number % 7 for number in numbers]
    assert len(troubles) == 1


class Unreachable(Broken):
    """Samples of which the one at 33 lies in a shard that cannot be had just now."""

    def image(self, position: int) -> np.ndarray:
        if position == 33:
            raise InputError("cannot fetch shard-1.tar: the server answered 503")
        return super().image(position)


def test_a_shard_that_cannot_be_had_is_no_bad_sample_and_ends_the_run(tmp_path: Path):
    samples = Unreachable(SIZES, [])
    told = r"^cannot fetch shard-1.tar: the server answered 503$"
    with pytest.raises(InputError, match=told):
        read(part_of(samples), np.arange(60))
    with pytest.raises(InputError, match=told):
        decode_to(tmp_path / "cache", samples, (2, 1, 1), on_bad_sample="skip")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_busy_ends_a_run_that_skips_damaged_samples(drawn_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files = {each.name: each.read_bytes() for each in drawn_folder.iterdir()}
        shelf = CachedShards(server.address, tmp_path, limit_bytes=10**9, pause=0.01, outage=0.1)
        split = ShardIndex(server.address, shelf).split("train")
        server.faults[split.shards[3].name] = [503] * 1000
        room = np.zeros((split.samples, 1, 48, 48), np.uint8)
        with pytest.raises(InputError, match=r"cannot fetch .*000003\.tar: tried for .* 503 "):
            part_of(split).read(np.arange(split.samples), room, lambda shard: None)


def test_no_replacement_is_sought_where_a_shard_cannot_be_had():
    samples = Unreachable(SIZES, set(range(60)) - {33})
    with pytest.raises(InputError, match="503"):
        read(part_of(samples), np.array([0]))


def test_unlabelled_samples_are_no_bad_ones():
    samples = Numbers(SIZES, labels=np.full(60, -1))
    assert read(part_of(samples, "fail"), np.arange(60))[1] == [-1] * 60


def test_the_most_bad_samples_in_a_row_are_passed_and_one_more_ends_the_run():
    samples = Broken([1000], [])
    order = Order(0, samples.shard_starts, 32)(np.arange(1000)).tolist()
    samples.bad = set(order[10 : 10 + MOST_IN_A_ROW - 1])
    assert read(part_of(samples), np.array([10]))[0] == [order[10 + MOST_IN_A_ROW - 1]]
    samples.bad.add(order[10 + MOST_IN_A_ROW - 1])
    with pytest.raises(InputError, match=f"100 samples in a row .* first: .*member {order[10]}.png"):
        read(part_of(samples), np.array([10]))


def test_a_data_set_without_a_good_sample_ends_the_run():
    with pytest.raises(InputError, match="100 samples in a row"):
        read(part_of(Broken([5, 5], range(10))), np.array([0]))


def test_the_shard_is_told_before_it_is_read():
    events = []

    class Watched(Numbers):
        def image(self, position: int) -> np.ndarray:
            events.append(position)
            return super().image(position)

    samples = Watched(SIZES)
    part_of(samples).read(
        np.arange(60), np.zeros((60, 2, 1, 1), np.uint8), lambda shard: events.append(-shard)
    )
    told = [(-events[at - 1], position) for at, position in enumerate(events) if position > 0]
    starts = samples.shard_starts
    assert all(starts[shard] <= position < starts[shard + 1] for shard, position in told)


@pytest.mark.parametrize("window", [16, 64, 1000])
def test_every_shard_is_asked_for_while_the_window_before_is_read(tmp_path: Path, window: int):
    samples = Shelved([20] * 16, tmp_path / "log")
    part = part_of(samples, window=window)
    for place in range(960):
        numbers, _, _ = read(part, np.array([place]))
        asked = samples.shelf.told[-1][1]
        later = part.order(np.array([place + min(window, 320) - 1]))[0]
        assert {f"faces-{numbers[0] // 20}.tar", f"faces-{later // 20}.tar"} <= set(asked)
        assert len(asked) == len(set(asked)) <= 2 * (window // 20 + 2)
    assert len(samples.shelf.told) <= 960 // window + 3


def test_nothing_is_asked_for_again_while_the_shards_are_the_same(tmp_path: Path):
    samples = Shelved([20] * 3, tmp_path / "log")
    part = part_of(samples, window=60)
    for place in range(0, 600, 20):
        read(part, np.arange(place, place + 20))
    assert [sorted(asked) for _, asked in samples.shelf.told] == [
        ["faces-0.tar", "faces-1.tar", "faces-2.tar"]
    ]


def test_shards_are_asked_for_in_the_order_in_which_they_are_needed(tmp_path: Path):
    samples = Shelved([20] * 16, tmp_path / "log")
    part = part_of(samples, window=40)
    read(part, np.arange(40))
    (_, asked), places = samples.shelf.told[0], np.arange(80)
    shards = [f"faces-{position // 20}.tar" for position in part.order(places).tolist()]
    assert [set(asked[:2]), set(asked[2:])] == [set(shards[:40]), set(shards[40:])]


def test_decoded_samples_are_replaced_like_those_in_shards(tmp_path: Path):
    bad, places = {0, 3, 4, 59}, np.arange(120)
    samples = Broken(SIZES, bad)
    decode_to(tmp_path / "cache", samples, (2, 1, 1), on_bad_sample="skip")
    decoded = DecodedSplit(samples, tmp_path / "cache", (2, 1, 1))
    for size in (1, 8, 60):  # batches without a bad sample, and with some
        for at in itertools.islice(range(0, 120, size), 20):
            some = places[at : at + size]
            assert read(part_of(decoded), some) == read(part_of(samples), some)
    with pytest.raises(InputError, match=r"shard-3\.tar: member"):
        read(part_of(decoded, "fail"), places)


def test_parts_of_one_data_set_ask_for_the_shards_of_all(tmp_path):
    """Else each would take the place of what another asked for, and that would be fetched when it is read."""
    samples = Shelved([10] * 8, tmp_path / "log")
    ahead = Ahead(samples)
    halves = np.arange(0, 40), np.arange(40, 80)
    orders = [Order(seed, samples.shard_starts, 10, among) for seed, among in enumerate(halves)]
    one, other = (Part(samples, order, "fail", ahead) for order in orders)

    def wanted(order: Order, *turns: int) -> list[str]:
        return [f"faces-{shard}.tar" for turn in turns for shard in order.shards(turn)]

    def told() -> list[str]:
        return samples.shelf.told[-1][1]

    read(one, np.arange(5))
    assert told() == wanted(orders[0], 0, 1)
    read(other, np.arange(10))  # one has read the shard of its first window
    assert told() == wanted(orders[1], 0, 1) + wanted(orders[0], 1)
    read(one, np.arange(10, 20))
    assert told() == wanted(orders[0], 1, 2) + wanted(orders[1], 1)

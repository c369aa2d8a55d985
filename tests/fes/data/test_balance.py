"""Rare classes drawn more often: in exact shares, with all that a stream holds to otherwise."""

import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fes.data.balance import groups_of
from fes.data.decoded import DecodedSplit, decode_to
from fes.data.mix import BLOCK, places_of
from fes.data.stream import Stream
from fes.errors import InputError
from shards.index import ShardIndex
from tests.fes.batches import assert_equal, first, joined
from tests.fes.numbered import Broken, Heard, Numbers, Shelved, taken

COUNTS = {0: 40, 1: 4, 2: 41, 3: 72, 4: 48, 5: 32, 6: 50}
"""Hundredths of what FER2013 has of each class."""


def uneven(seed: int = 0, unlabelled: int = 0) -> np.ndarray:
    """Labels in the proportions of FER2013, shuffled, int64 [287 + unlabelled]."""
    labels = np.repeat([-1, *COUNTS], [unlabelled, *COUNTS.values()])
    return np.random.default_rng(seed).permutation(labels)


def numbers(first: int = 0, seed: int = 0, unlabelled: int = 0) -> Numbers:
    labels = uneven(seed, unlabelled)
    return Numbers([100, 100, len(labels) - 200], labels, first)


def stream(*parts, batch: int = 12, window: int = 64, class_balance: float = 1.0, **settings) -> Stream:
    return Stream(parts, seed=0, batch=batch, window=window, class_balance=class_balance, **settings)


def block_of(reading: Stream, block: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The numbers and the labels of a block's pictures; the batch of the stream is 1,000."""
    batches = [reading[step] for step in range(10 * block, 10 * block + 10)]
    pictures = np.array(list(itertools.chain.from_iterable(taken(batch.image) for batch in batches)))
    return pictures, np.concatenate([batch.label.numpy() for batch in batches])


@pytest.mark.parametrize("balance", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("block", [0, 7])
def test_every_block_has_the_shares_that_were_asked_for(balance, block):
    pictures, labels = block_of(stream(numbers(), batch=1000, class_balance=balance), block)
    evened = np.array([count ** (1 - balance) for count in COUNTS.values()])
    found = np.bincount(labels, minlength=7)
    assert found.sum() == BLOCK
    assert np.abs(found - evened / evened.sum() * BLOCK).max() < 1
    assert labels.tolist() == uneven()[pictures].tolist()
    if balance == 1:
        assert found.max() - found.min() <= 1


def test_a_balance_of_next_to_nothing_has_the_shares_of_the_data():
    _, labels = block_of(stream(numbers(), batch=1000, class_balance=1e-9))
    assert np.abs(np.bincount(labels) - np.array(list(COUNTS.values())) / 287 * BLOCK).max() < 1


def test_without_balance_the_batches_are_those_of_ever():
    plain = Stream([numbers(), numbers(1000, 1)], weights=[2, 1], seed=0, batch=12, window=64)
    for step in (0, 900):
        even = stream(numbers(), numbers(1000, 1), weights=[2, 1], class_balance=0.0)
        assert_equal(even[step], plain[step])
    groups = groups_of([numbers(), numbers(1000, 1)], [2, 1], 0.0)
    assert [(group.number, group.positions) for group in groups] == [(0, None), (1, None)]


def test_dealing_places_again_changes_none():
    rng = np.random.default_rng(0)
    for _ in range(200):
        places = places_of(rng.exponential(size=rng.integers(1, 24)) ** 3)
        assert places_of(places).tolist() == places.tolist()


def test_each_class_has_epochs_of_its_own():
    pictures, labels = block_of(stream(numbers(), batch=1000))
    for label in range(7):
        own, there = pictures[labels == label], np.flatnonzero(uneven() == label)
        for at in range(0, len(own) - len(there), len(there)):
            assert sorted(own[at : at + len(there)]) == there.tolist()


def test_a_data_set_keeps_its_weight_and_its_unlabelled_samples_their_share():
    parts = numbers(unlabelled=100), Numbers([50], np.full(50, -1), 1000), numbers(2000, seed=3)
    weights = [0.61803, 0.14142, 0.24055]
    pictures, labels = block_of(stream(*parts, weights=weights, batch=1000))
    shares = np.bincount(pictures // 1000)
    assert shares.tolist() == places_of(weights).tolist()
    assert (labels[pictures // 1000 == 1] == -1).all()
    unlabelled = (labels[pictures < 1000] == -1).sum()
    assert abs(unlabelled - shares[0] * 100 / 387) < 1
    for number, rest in ((0, shares[0] - unlabelled), (2, shares[2])):
        found = np.bincount(labels[(pictures // 1000 == number) & (labels >= 0)])
        assert abs(found - rest / 7).max() < 1


def test_a_data_set_of_weight_0_is_never_drawn_from():
    reading = stream(numbers(), numbers(1000), numbers(2000), weights=[1, 0, 1], batch=1000)
    pictures, _ = block_of(reading)
    assert set(pictures // 1000) == {0, 2}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_workers_and_the_start_change_nothing(ranks, workers):
    parts, settings = (numbers(), numbers(1000, 1, 30)), {"weights": [2, 1], "flips": True}
    whole = stream(*parts, **settings)
    readings = [stream(*parts, rank=rank, ranks=ranks, **settings) for rank in range(ranks)]
    shares = zip(*(first(reading.batches(830, workers), 8) for reading in readings), strict=True)
    for step, each in enumerate(shares, start=830):  # a block ends within step 833
        assert_equal(joined(list(each)), whole[step])


def test_the_balanced_batches_of_a_seed_never_change():
    """Else a run that goes on after an update of fes would see some samples twice and others never."""
    batch = stream(numbers())[20]
    assert taken(batch.image) == [209, 203, 153, 230, 94, 140, 114, 29, 45, 148, 102, 208]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_gives_way_to_one_of_its_class_and_is_told_by_its_data_set(workers):
    labels, bad = uneven(), [3, 50, 51, 120, 286]
    broken = Broken([100, 187], bad)
    broken.labels = labels
    reading = stream(Numbers([50], first=1000), broken, on_bad_sample="skip", weights=[1, 2])
    sound = stream(Numbers([50], first=1000), Numbers([100, 187], labels), weights=[1, 2])
    seen, count = set(), 0
    batches = reading.batches(0, workers)
    for step in range(60):
        batch, whole = next(batches), sound[step]
        assert batch.label.tolist() == whole.label.tolist()
        for number, expected, label in zip(taken(batch.image), taken(whole.image), batch.label, strict=True):
            assert number not in bad
            assert number == expected or (expected in bad and labels[number] == label)
            if expected in bad:
                seen.add((1, expected))
                count += 1
    batches.close()
    assert len(seen) > 2
    assert (reading.damaged, reading.skipped) == (seen, count)


def test_a_label_that_no_class_has_is_damage_as_ever():
    labels = uneven()
    labels[[5, 200]] = 77, -3
    samples = Numbers([100, 187], labels)
    with pytest.raises(InputError, match="has the label"):
        first(stream(samples).batches(0), 100)
    reading = stream(samples, on_bad_sample="skip")
    batches = first(reading.batches(0), 100)
    assert reading.damaged == {(0, 5), (0, 200)}
    assert {int(label) for batch in batches for label in batch.label} == set(range(7))


def test_a_weight_that_is_too_small_for_the_classes_is_told_in_one_sentence():
    small = numbers()
    small.place = "data/small"
    with pytest.raises(InputError) as caught:
        stream(numbers(), small, weights=[1, 3e-4])
    assert str(caught.value) == (
        "--data gives data/small 3 of 10,000 pictures: too few for its 7 classes; give it more weight, or "
        "take --augment.class-balance 0"
    )


@pytest.fixture(scope="module")
def lopsided(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    """Real shards of which nearly all samples are happy."""
    copy = Path(shutil.copytree(drawn_folder, tmp_path_factory.mktemp("lopsided") / "copy"))
    places = np.load(copy / "index.npy", mmap_mode="r+")
    places["label"][np.arange(len(places)) % 21 > 6] = 3
    places.flush()
    return ShardIndex.load(copy)


@pytest.mark.parametrize("workers", [0, 1])
def test_real_shards_and_their_decoded_pictures_give_the_same(lopsided, tmp_path, workers):
    train, shape = lopsided.split("train"), (1, 48, 48)
    decode_to(tmp_path / "train.uint8", train, shape)
    cached = stream(DecodedSplit(train, tmp_path / "train.uint8", shape), flips=True, batch=28)
    labels = Counter()
    for step, batch in enumerate(first(cached.batches(0, workers), 20)):
        assert_equal(batch, stream(train, flips=True, batch=28)[step])
        labels.update(batch.label.tolist())
    assert set(labels) == set(range(7))
    assert max(labels.values()) < 2 * min(labels.values())
    assert (train.labels == 3).mean() > 0.6


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_are_asked_for_before_they_are_read(tmp_path, workers):
    samples = Shelved([20] * 10, tmp_path / "log")
    asked_at_once = Counter()
    first(stream(samples, window=40).batches(0, workers), 60)
    told = samples.shelf.told
    assert len({pid for pid, _ in told}) == max(workers, 1)
    for pid, names in told:
        asked_at_once[pid] = max(asked_at_once[pid], len(names))
    for pid in asked_at_once:
        assert {name for each, names in told for name in names if each == pid} == {
            shard.name for shard in samples.shards
        }
    assert min(asked_at_once.values()) >= 4  # a class's window and the next, and what others still need


def test_a_stall_names_the_shard_of_the_data_set(tmp_path):
    slow = Shelved([50] * 4, tmp_path / "log", slow=130, seconds=0.5)
    heard = Heard()
    first(stream(Numbers([50]), slow).batches(0, patience=0.2, say=heard), 60)
    assert "rank 0: no batch for 0.2 s; it reads faces-2.tar of https://host/faces" in heard.sentences

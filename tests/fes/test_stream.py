"""Which samples a step sees: whatever the ranks, the workers, the start and the cache."""

import itertools
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fes.batch import Batch
from fes.errors import InputError
from fes.stream import DecodedSplit, Order, Stream, decode_to, share_of
from shards.index import ShardIndex

SHAPE = 1, 48, 48


class Numbers:
    """Samples whose pictures are their positions: which samples a batch holds can be read from it."""

    def __init__(self, sizes: list[int], labels: np.ndarray | None = None) -> None:
        self.shard_starts = np.cumsum([0, *sizes])
        self.samples = sum(sizes)
        self.labels = np.arange(self.samples) % 7 if labels is None else labels

    def image(self, position: int) -> np.ndarray:
        return np.array([position // 256, position % 256], np.uint8).reshape(1, 1, 2)


class Broken(Numbers):
    """Samples of which one cannot be read."""

    def image(self, position: int) -> np.ndarray:
        if position == 5:
            raise InputError("shard-3.tar is cut short: build it again")
        return super().image(position)


def stream(samples, batch: int = 8, window: int = 16, seed: int = 0, rank: int = 0, ranks: int = 1) -> Stream:
    return Stream(samples, seed=seed, batch=batch, window=window, rank=rank, ranks=ranks)


def taken(pictures: torch.Tensor) -> list[int]:
    """The positions that pictures of `Numbers` stand for."""
    return [int(high) * 256 + int(low) for high, low in pictures[:, 0, 0]]


def assert_equal(one: Batch, other: Batch) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize("window", [1, 7, 16, 300, 1000])
@pytest.mark.parametrize("batch", [8, 9])
def test_each_epoch_is_a_permutation_of_all_samples(window, batch):
    samples = Numbers([50, 80, 50, 70, 50])
    reading = stream(samples, batch, window)
    steps = -(-samples.samples * 3 // batch)
    seen = list(itertools.chain.from_iterable(taken(reading[step].image) for step in range(steps)))
    epochs = [seen[epoch * 300 : (epoch + 1) * 300] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(300)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != list(range(300))


def test_another_seed_has_another_order():
    samples = Numbers([100, 100])
    assert taken(stream(samples)[0].image) != taken(stream(samples, seed=1)[0].image)


def test_the_samples_of_a_window_come_from_consecutive_shards():
    sizes = [40] * 10
    order = Order(0, Numbers(sizes).shard_starts, window=80)
    epoch = order(np.arange(400)) // 40  # the shard of each sample, in the order of the epoch
    windows = [epoch[at : at + 80] for at in range(0, 400, 80)]
    shards = [set(window.tolist()) for window in windows]
    assert all(len(each) == 2 for each in shards)
    assert set.union(*shards) == set(range(10))
    assert all((np.diff(window) != 0).sum() > 10 for window in windows)  # mixed, not one after the other
    assert sorted(windows[0].tolist()) != sorted(order(np.arange(400, 480)) // 40)  # other shards each epoch


def test_an_order_keeps_no_more_than_a_few_windows():
    order = Order(0, Numbers([100] * 50).shard_starts, window=64)
    order(np.arange(5000))
    kept = order._within.cache_info()
    assert kept.misses == -(-5000 // 64)  # each window's permutation is made once
    assert kept.currsize <= 4


def test_an_order_travels_to_another_process():
    order = Order(3, Numbers([40, 41, 39]).shard_starts, window=32)
    positions = np.arange(50, 300)
    assert np.array_equal(pickle.loads(pickle.dumps(order))(positions), order(positions))


@pytest.mark.parametrize("ranks", [2, 4])
def test_shares_of_the_ranks_put_together_are_the_batch_of_one_process(drawn_index, ranks):
    train = drawn_index.split("train")
    for step in (0, 20, 21):  # 168 samples: an epoch ends within the batches
        whole = stream(train)[step]
        shares = [stream(train, rank=rank, ranks=ranks)[step] for rank in range(ranks)]
        assert_equal(whole, Batch(*(torch.cat(parts) for parts in zip(*shares, strict=True))))


def test_partners_are_the_batchs_own_samples_dealt_otherwise():
    samples = Numbers([30, 30])
    reading = stream(samples)
    batch = reading[0]
    assert sorted(taken(batch.partner_image)) == sorted(taken(batch.image))
    assert taken(batch.partner_image) != taken(batch.image)
    assert batch.partner_label.tolist() == [position % 7 for position in taken(batch.partner_image)]
    deals = {
        tuple(taken(each.image).index(position) for position in taken(each.partner_image))
        for each in (reading[step] for step in range(10))
    }
    assert len(deals) == 10


def test_labels_of_partners_of_a_global_batch_are_a_permutation_of_its_labels(drawn_index):
    train = drawn_index.split("train")
    shares = [stream(train, rank=rank, ranks=4)[2] for rank in range(4)]
    labels, partners = (torch.cat([getattr(s, name) for s in shares]) for name in ("label", "partner_label"))
    assert torch.equal(labels.sort().values, partners.sort().values)


def test_a_batch_holds_the_pictures_and_labels_of_its_samples(drawn_index):
    train = drawn_index.split("train")
    reading = stream(train)
    chosen = reading.order(np.arange(16, 24))
    batch = reading[2]
    assert (batch.image.dtype, batch.image.shape) == (torch.uint8, (8, *SHAPE))
    assert (batch.label.dtype, batch.label.shape) == (torch.int64, (8,))
    assert batch.label.tolist() == train.labels[chosen].tolist()
    for picture, position in zip(batch.image, chosen, strict=True):
        assert np.array_equal(picture.numpy(), train.image(int(position)))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing_and_a_start_skips_steps(drawn_index, workers):
    reading = stream(drawn_index.split("train"))
    batches = reading.batches(19, workers)
    for step in range(19, 24):
        assert_equal(next(batches), reading[step])


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_samples_are_told_in_the_same_sentence(workers):
    with pytest.raises(InputError) as caught:
        list(itertools.islice(stream(Broken([10, 10])).batches(0, workers), 4))
    assert str(caught.value) == "shard-3.tar is cut short: build it again"


def test_a_damaged_shard_is_told_in_one_sentence_from_a_worker(drawn_folder, tmp_path):
    copy = Path(shutil.copytree(drawn_folder, tmp_path / "copy"))
    shard = sorted(copy.glob("*train*.tar"))[0]
    content = bytearray(shard.read_bytes())
    content[:] = bytes(len(content))
    shard.write_bytes(content)
    reading = stream(ShardIndex.load(copy).split("train"))
    with pytest.raises(InputError, match=shard.name) as caught:
        list(itertools.islice(reading.batches(0, workers=1), 21))
    assert "\n" not in str(caught.value)


def test_unlabelled_samples_come_through():
    labels = np.full(16, -1)
    labels[3] = 2
    batches = [stream(Numbers([16], labels))[step] for step in range(2)]
    found = {}
    for batch in batches:
        found |= zip(taken(batch.image), batch.label.tolist(), strict=True)
    assert found == {position: 2 if position == 3 else -1 for position in range(16)}


def test_the_cache_of_decoded_pictures_gives_the_same_batches(drawn_index, tmp_path):
    train, path = drawn_index.split("train"), tmp_path / "new" / "train.uint8"
    decode_to(path, train, SHAPE)
    cached = stream(DecodedSplit(train, path, SHAPE))
    for workers in (0, 1):
        batches = cached.batches(0, workers)
        for step in range(3):
            assert_equal(next(batches), stream(train)[step])
    assert [each.name for each in path.parent.iterdir()] == ["train.uint8"]


def test_the_cache_is_written_once_and_again_where_it_is_cut_short(drawn_index, tmp_path):
    valid, path = drawn_index.split("valid"), tmp_path / "valid.uint8"
    decode_to(path, valid, SHAPE)
    written = path.stat().st_ino
    decode_to(path, valid, SHAPE)
    assert path.stat().st_ino == written
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    decode_to(path, valid, SHAPE)
    assert path.read_bytes() == content


def test_a_mapped_cache_travels_without_its_pixels(drawn_index, tmp_path):
    valid, path = drawn_index.split("valid"), tmp_path / "valid.uint8"
    decode_to(path, valid, SHAPE)
    split = DecodedSplit(valid, path, SHAPE)
    split.image(0)
    sent = pickle.dumps(split)
    assert len(sent) < path.stat().st_size / 4
    assert np.array_equal(pickle.loads(sent).image(5), valid.image(5))


@pytest.mark.parametrize("name", ["file/train.uint8", "x" * 300 + "/train.uint8"])
def test_a_cache_that_cannot_be_written_is_told_in_one_sentence(drawn_index, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the decoded pictures"):
        decode_to(tmp_path / name, drawn_index.split("valid"), SHAPE)


def test_shares_are_equal_and_cover_the_batch():
    rows = [list(range(12))[share_of(12, rank, 3)] for rank in range(3)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_batch_that_ranks_cannot_share_is_refused_with_what_would_fit():
    with pytest.raises(InputError, match=r"--batch is 32: .* start 2 processes or take --batch 33"):
        share_of(32, 0, 3)

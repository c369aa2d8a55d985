"""Bad samples in a stream: told in a sentence, or skipped alike by all ranks, workers and caches."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fes.data.decoded import DecodedSplit, decode_to
from fes.data.order import Order
from fes.errors import InputError
from shards.index import ShardIndex, Split
from tests.fes.batches import SHAPE, assert_equal, first, joined, stream
from tests.fes.numbered import Broken, Numbers


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_samples_are_told_in_the_same_sentence(workers):
    with pytest.raises(InputError) as caught:
        list(itertools.islice(stream(Broken([10, 10], [5])).batches(0, workers), 4))
    assert str(caught.value) == "shard-3.tar: member 5.png is damaged: build it again"


def test_a_damaged_shard_is_told_in_one_sentence_from_a_worker(drawn_folder, tmp_path):
    copy = Path(shutil.copytree(drawn_folder, tmp_path / "copy"))
    shard = sorted(copy.glob("*train*.tar"))[0]
    shard.write_bytes(bytes(shard.stat().st_size))
    reading = stream(ShardIndex.load(copy).split("train"))
    with pytest.raises(InputError, match=shard.name) as caught:
        list(itertools.islice(reading.batches(0, workers=1), 21))
    assert "\n" not in str(caught.value)


DAMAGED = {3, 40, 41, 42, 99, 167}


@pytest.fixture(scope="module")
def damaged_split(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Real shards in which the samples of `DAMAGED` lie in ruins: pictures in all but one, which has a
    label that no class has."""
    copy = Path(shutil.copytree(drawn_folder, tmp_path_factory.mktemp("damaged") / "copy"))
    split = ShardIndex.load(copy).split("train")
    *pictures, mislabelled = sorted(DAMAGED)
    for position in pictures:
        with (copy / split.shards[split.where(position)].name).open("r+b") as file:
            file.seek(int(split.places[position]["image_offset"]) + 30)
            file.write(b"rust")
    places = np.load(copy / "index.npy", mmap_mode="r+")
    places["label"][mislabelled] = 77  # the training split is the first
    places.flush()
    return ShardIndex.load(copy).split("train")


def test_skipped_samples_are_the_same_for_ranks_samples_and_partners(damaged_split):
    whole = stream(damaged_split, batch=24, on_bad_sample="skip")
    for step in range(14):  # two epochs
        batch = whole[step]
        for ranks in (2, 4):
            shares = [
                stream(damaged_split, batch=24, rank=rank, ranks=ranks, on_bad_sample="skip")[step]
                for rank in range(ranks)
            ]
            assert_equal(batch, joined(shares))
        pairs, partners = (
            sorted((image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
            for images, labels in ((batch.image, batch.label), (batch.partner_image, batch.partner_label))
        )
        assert pairs == partners


def test_a_skipped_sample_is_replaced_by_the_next_good_one_of_its_data_set(damaged_split, drawn_index):
    sound = drawn_index.split("train")
    other = Numbers([10])
    other.image = lambda position: np.zeros(SHAPE, np.uint8)
    other.channels, other.resolution = 1, 48
    reading = stream(other, damaged_split, batch=24, on_bad_sample="skip")
    order = reading.parts[1].order
    for step in range(14):
        parts, places = reading.mix(np.arange(step * 24, step * 24 + 24))
        batch = reading[step]
        for row in np.flatnonzero(parts == 1):
            walk = order(np.arange(places[row], places[row] + 50)).tolist()
            expected = next(position for position in walk if position not in DAMAGED)
            assert np.array_equal(batch.image[row], sound.image(expected))
            assert batch.label[row] == sound.labels[expected]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 4])
def test_skipped_samples_are_counted_once_with_their_batch(damaged_split, ranks, workers):
    steps = 21  # three epochs of 168 samples
    order = Order(0, damaged_split.shard_starts, 16)(np.arange(steps * 24)).reshape(steps, ranks, -1)
    bad = np.isin(order, list(DAMAGED))
    assert bad.sum() == 3 * len(DAMAGED)
    for rank in range(ranks):
        reading = stream(damaged_split, batch=24, rank=rank, ranks=ranks, on_bad_sample="skip")
        batches = reading.batches(0, workers)
        for step in range(steps):
            next(batches)
            assert reading.skipped == bad[: step + 1, rank].sum()
            seen = order[: step + 1, rank]
            assert reading.damaged == {(0, int(at)) for at in seen[np.isin(seen, list(DAMAGED))]}
            if bad[step, rank].any():
                newest = order[step, rank][bad[step, rank]][-1]
                assert damaged_split.shards[damaged_split.where(newest)].name in reading.last_skipped
        batches.close()


def test_counting_begins_anew_with_the_batches(damaged_split):
    reading = stream(damaged_split, batch=168, on_bad_sample="skip")
    assert (reading.skipped, reading.last_skipped) == (0, "")
    for _ in range(2):
        first(reading.batches(0), 2)
        assert reading.skipped == 2 * len(DAMAGED)
        assert len(reading.damaged) == len(DAMAGED)
    batches = reading.batches(0)
    assert (reading.skipped, reading.last_skipped, reading.damaged) == (0, "", set())
    batches.close()


def test_bad_samples_end_the_run_where_nothing_else_is_asked(damaged_split):
    with pytest.raises(InputError, match=r"drawn-train-\d{6}\.tar") as caught:
        list(stream(damaged_split, batch=168).batches(0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ranks", [1, 2])
def test_skipping_changes_nothing_where_all_is_well(drawn_index, ranks):
    train = drawn_index.split("train")
    for step in (0, 21):
        assert_equal(stream(train, ranks=ranks)[step], stream(train, ranks=ranks, on_bad_sample="skip")[step])


@pytest.mark.parametrize("damaged", [False, True])
def test_the_cache_of_decoded_pictures_gives_the_same_batches(drawn_index, damaged_split, tmp_path, damaged):
    train, path = damaged_split if damaged else drawn_index.split("train"), tmp_path / "new" / "train.uint8"
    decode_to(path, train, SHAPE, on_bad_sample="skip")
    cached = stream(DecodedSplit(train, path, SHAPE), on_bad_sample="skip")
    plain = stream(train, on_bad_sample="skip")
    for workers in (0, 1):
        for step, batch in enumerate(first(cached.batches(0, workers), 21)):
            assert_equal(batch, plain[step])
        assert cached.skipped == (len(DAMAGED) if damaged else 0)


def test_a_picture_that_stands_in_is_mirrored_as_the_damaged_one_would_be(damaged_split, drawn_index):
    settings = {"batch": 24, "flips": True, "on_bad_sample": "skip"}
    for step in range(7):
        batch, sound = (
            stream(damaged_split, **settings)[step],
            stream(drawn_index.split("train"), **settings)[step],
        )
        plain = stream(damaged_split, batch=24, on_bad_sample="skip")[step].image
        sound_plain = stream(drawn_index.split("train"), batch=24)[step].image
        for row in range(24):
            flipped = not torch.equal(sound.image[row], sound_plain[row])
            assert torch.equal(batch.image[row], plain[row].flip(2) if flipped else plain[row])

"""Which samples a step sees, whatever the ranks, the workers and the start; and where a stall is told."""

import itertools

import numpy as np
import pytest
import torch

from fes.data.decoded import DecodedSplit, decode_to
from fes.data.order import Order
from fes.data.stream import share_of
from fes.errors import InputError
from tests.fes.batches import SHAPE, assert_equal, first, joined, stream
from tests.fes.numbered import Heard, Numbers, Shelved, taken


@pytest.mark.parametrize("window", [1, 7, 16, 300, 1000])
@pytest.mark.parametrize("batch", [8, 9])
def test_each_epoch_is_a_permutation_of_all_samples(window, batch):
    samples = Numbers([50, 80, 50, 70, 50])
    reading = stream(samples, batch=batch, window=window)
    steps = -(-samples.samples * 3 // batch)
    seen = list(itertools.chain.from_iterable(taken(reading[step].image) for step in range(steps)))
    epochs = [seen[epoch * 300 : (epoch + 1) * 300] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(300)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != list(range(300))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("sizes", [([50, 39], [7, 8, 8]), ([1], [30, 31])])
def test_each_epoch_of_each_data_set_is_exact_whatever_ranks_and_workers(sizes, ranks, workers):
    parts = Numbers(sizes[0]), Numbers(sizes[1], first=1000)
    readings = [
        stream(*parts, batch=12, weights=[2, 1], window=20, rank=rank, ranks=ranks) for rank in range(ranks)
    ]
    shares = zip(*(first(reading.batches(0, workers), 25) for reading in readings), strict=True)
    batches = [joined(list(each)) for each in shares]
    seen = list(itertools.chain.from_iterable(taken(batch.image) for batch in batches))
    assert len(seen) == 300
    for part in parts:
        own = [number - part.first for number in seen if 0 <= number - part.first < part.samples]
        assert len(own) > part.samples
        for at in range(0, len(own) // part.samples * part.samples, part.samples):
            assert sorted(own[at : at + part.samples]) == list(range(part.samples))
    for batch in batches:
        assert sorted(taken(batch.partner_image)) == sorted(taken(batch.image))


def test_one_data_set_gives_what_its_order_says():
    samples = Numbers([30, 30])
    order = Order(5, samples.shard_starts, 16)
    for step in (0, 7, 10**6, 10**12):
        batch = stream(samples, seed=5)[step]
        assert taken(batch.image) == order(np.arange(step * 8, step * 8 + 8)).tolist()


def test_the_batches_of_a_seed_never_change():
    """Else a run that goes on after an update of fes would see some samples twice and others never."""
    batch = stream(Numbers([30, 30]), seed=1)[20]
    assert taken(batch.image) == [34, 37, 43, 32, 47, 45, 44, 46]
    assert taken(batch.partner_image) == [47, 34, 44, 45, 37, 46, 43, 32]


def test_another_seed_has_another_order():
    samples = Numbers([100, 100])
    assert taken(stream(samples)[0].image) != taken(stream(samples, seed=1)[0].image)


def test_data_sets_alike_are_shuffled_apart():
    reading = stream(Numbers([100]), Numbers([100], first=1000), batch=100)
    numbers = np.array(taken(reading[0].image))
    one, other = numbers[numbers < 1000], numbers[numbers >= 1000] - 1000
    assert one[:20].tolist() != other[:20].tolist()


def test_data_sets_come_as_often_as_their_weights_say():
    reading = stream(Numbers([60]), Numbers([900], first=1000), batch=1000, weights=[0.7, 0.3])
    for step in range(0, 30, 10):
        numbers = [number for at in range(10) for number in taken(reading[step + at].image)]
        assert sum(number < 1000 for number in numbers) == 7000


def test_without_weights_data_sets_come_equally_often():
    numbers = taken(stream(Numbers([60]), Numbers([900], first=1000), batch=10_000)[0].image)
    assert sum(number < 1000 for number in numbers) == 5000


def test_labelled_and_unlabelled_data_sets_share_a_batch():
    parts = Numbers([30, 30]), Numbers([40], labels=np.full(40, -1), first=1000)
    batch = stream(*parts, batch=64)[3]
    for pictures, labels in ((batch.image, batch.label), (batch.partner_image, batch.partner_label)):
        numbers = taken(pictures)
        assert labels.tolist() == [number % 7 if number < 1000 else -1 for number in numbers]
        assert 0 < sum(number < 1000 for number in numbers) < 64


def test_data_sets_with_pictures_of_several_shapes_are_refused():
    other = Numbers([10])
    other.channels = 1
    with pytest.raises(ValueError, match="not of one shape"):
        stream(Numbers([10]), other)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("sets", [1, 2])
def test_shares_of_the_ranks_put_together_are_the_batch_of_one_process(drawn_index, ranks, sets):
    parts = [drawn_index.split(name) for name in ("train", "valid")[:sets]]
    for step in (0, 20, 21):  # 168 samples: an epoch ends within the batches
        whole = stream(*parts)[step]
        assert_equal(whole, joined([stream(*parts, rank=rank, ranks=ranks)[step] for rank in range(ranks)]))


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
    chosen = Order(0, train.shard_starts, 16)(np.arange(16, 24))
    batch = stream(train)[2]
    assert (batch.image.dtype, batch.image.shape) == (torch.uint8, (8, *SHAPE))
    assert (batch.label.dtype, batch.label.shape) == (torch.int64, (8,))
    assert batch.label.tolist() == train.labels[chosen].tolist()
    for picture, position in zip(batch.image, chosen, strict=True):
        assert np.array_equal(picture.numpy(), train.image(int(position)))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_change_nothing_and_a_start_skips_steps(drawn_index, workers):
    reading = stream(drawn_index.split("train"), drawn_index.split("valid"))
    for step, batch in zip(range(19, 39), first(reading.batches(19, workers), 20), strict=True):
        assert_equal(batch, reading[step])


def test_unlabelled_samples_come_through():
    labels = np.full(16, -1)
    labels[3] = 2
    batches = [stream(Numbers([16], labels))[step] for step in range(2)]
    found = {}
    for batch in batches:
        found |= zip(taken(batch.image), batch.label.tolist(), strict=True)
    assert found == {position: 2 if position == 3 else -1 for position in range(16)}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_process_that_reads_asks_for_the_shards_ahead(tmp_path, workers):
    samples = Shelved([20] * 10, tmp_path / "log")
    first(stream(samples, window=40, rank=1, ranks=2).batches(0, workers), 50)
    told = samples.shelf.told
    assert len({pid for pid, _ in told}) == max(workers, 1)
    for pid in {pid for pid, _ in told}:
        assert {name for each, asked in told for name in asked if each == pid} == {
            shard.name for shard in samples.shards
        }


@pytest.mark.parametrize(("workers", "who"), [(0, "it"), (2, "worker 1")])
def test_a_stall_is_told_with_its_rank_worker_and_shard(tmp_path, workers, who):
    samples = Shelved([20] * 3, tmp_path / "log")
    order = Order(0, samples.shard_starts, 16)(np.arange(16, 32))
    samples.slow, samples.seconds = int(order[9]), 0.7  # of step 3 and rank 0
    heard = Heard()
    first(stream(samples, ranks=2, batch=8).batches(0, workers, patience=0.2, say=heard), 5)
    name = samples.shards[samples.slow // 20].name
    assert f"rank 0: no batch for 0.2 s; {who} reads {name} of https://host/faces" in heard.sentences


def test_a_stall_is_told_on_stderr_by_default(tmp_path, capsys):
    samples = Shelved([8], tmp_path / "log", slow=5, seconds=0.3)
    first(stream(samples).batches(0, patience=0.2), 1)
    assert capsys.readouterr().err == (
        "rank 0: no batch for 0.2 s; it reads faces-0.tar of https://host/faces\n"
    )


def test_a_stall_at_decoded_pictures_names_their_file(drawn_index, tmp_path):
    train, path = drawn_index.split("train"), tmp_path / "train.uint8"
    decode_to(path, train, SHAPE)
    assert stream(DecodedSplit(train, path, SHAPE)).parts[0].whereabouts(2) == str(path)
    place = train.place
    assert stream(train).parts[0].whereabouts(2) == f"drawn-train-000002.tar of {place}"


def test_shares_are_equal_and_cover_the_batch():
    rows = [list(range(12))[share_of(12, rank, 3)] for rank in range(3)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_batch_that_ranks_cannot_share_is_refused_with_what_would_fit():
    with pytest.raises(InputError, match=r"--batch is 32: .* start 2 processes or take --batch 33"):
        share_of(32, 0, 3)

"""Which samples a step sees: whatever the ranks, the workers, the start, the cache and the damage."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fes.batch import Batch
from fes.decoded import DecodedSplit, decode_to
from fes.errors import InputError
from fes.order import Order
from fes.stream import Stream, share_of
from shards.index import ShardIndex, Split
from tests.fes.numbered import Broken, Heard, Numbers, Shelved, taken

SHAPE = 1, 48, 48


def stream(*parts, batch: int = 8, window: int = 16, seed: int = 0, **settings) -> Stream:
    return Stream(parts, seed=seed, batch=batch, window=window, **settings)


def first(batches: Iterator[Batch], count: int) -> list[Batch]:
    """The first batches; the processes that read them end."""
    found = list(itertools.islice(batches, count))
    batches.close()
    return found


def joined(shares: list[Batch]) -> Batch:
    """The global batch that the ranks' shares are of."""
    return Batch(*(torch.cat(parts) for parts in zip(*shares, strict=True)))


def assert_equal(one: Batch, other: Batch) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


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


def test_unlabelled_samples_come_through():
    labels = np.full(16, -1)
    labels[3] = 2
    batches = [stream(Numbers([16], labels))[step] for step in range(2)]
    found = {}
    for batch in batches:
        found |= zip(taken(batch.image), batch.label.tolist(), strict=True)
    assert found == {position: 2 if position == 3 else -1 for position in range(16)}


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


class Wide(Numbers):
    """Samples whose pictures say their number on the left, and 0 on the right."""

    resolution = 2

    def image(self, position: int) -> np.ndarray:
        picture = np.zeros((2, 2, 2), np.uint8)
        picture[..., :1] = super().image(position)
        return picture


def sides(batch: Batch) -> list[tuple[int, bool]]:
    """The number of each picture of a batch of `Wide`, none of which is 0, and whether it is mirrored."""
    left, right = taken(batch.image), taken(batch.image.flip(3))
    assert all((one == 0) != (other == 0) for one, other in zip(left, right, strict=True))
    return [(one + other, one == 0) for one, other in zip(left, right, strict=True)]


def test_half_of_the_pictures_are_mirrored_with_their_labels_as_they_were():
    samples = Wide([40, 60], first=1)
    reading, plain = stream(samples, flips=True, batch=50), stream(samples, batch=50)
    mirrored = {number: [] for number in range(1, 101)}
    for step in range(40):  # twenty epochs
        batch, whole = reading[step], plain[step]
        assert [number for number, _ in sides(batch)] == [number for number, _ in sides(whole)]
        assert torch.equal(batch.label, whole.label)
        assert torch.equal(batch.image.sum(3), whole.image.sum(3))
        for number, flipped in sides(batch):
            mirrored[number].append(flipped)
    assert 0.45 < np.mean(list(mirrored.values())) < 0.55
    assert all(len(set(each)) == 2 for each in mirrored.values())  # not one for good


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_sample_is_mirrored_alike_for_all_ranks_and_workers_and_as_partner(ranks, workers):
    parts, settings = (Wide([50, 39], first=1), Wide([7, 9], first=1001)), {"batch": 12, "flips": True}
    whole = stream(*parts, **settings)
    readings = [stream(*parts, rank=rank, ranks=ranks, **settings) for rank in range(ranks)]
    shares = zip(*(first(reading.batches(5, workers), 6) for reading in readings), strict=True)
    for step, each in enumerate(shares, start=5):
        batch = joined(list(each))
        assert_equal(batch, whole[step])
        pictures, partners = ([picture.numpy().tobytes() for picture in images] for images in batch[::2])
        assert sorted(pictures) == sorted(partners)


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


def test_which_pictures_of_a_seed_are_mirrored_never_changes():
    batch = stream(Wide([30, 30], first=1), seed=1, flips=True)[20]
    assert [flipped for _, flipped in sides(batch)] == [True, True, False, True, True, True, True, False]

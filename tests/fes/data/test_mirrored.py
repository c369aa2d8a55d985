"""Mirrored pictures: half of them, and the same ones whatever the ranks and the workers."""

import numpy as np
import pytest
import torch

from fes.batch import Batch
from tests.fes.batches import assert_equal, first, joined, stream
from tests.fes.numbered import Numbers, taken


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


def test_which_pictures_of_a_seed_are_mirrored_never_changes():
    batch = stream(Wide([30, 30], first=1), seed=1, flips=True)[20]
    assert [flipped for _, flipped in sides(batch)] == [True, True, False, True, True, True, True, False]

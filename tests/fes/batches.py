"""Streams for tests, and their batches: the first ones, put together of shares, and compared."""

import itertools
from collections.abc import Iterator

import torch

from fes.batch import Batch
from fes.data.stream import Stream

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

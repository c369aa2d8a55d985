"""Ways to damage a file, as disks, networks and people do: the same for the same seed."""

from collections.abc import Callable

import numpy as np

Mutation = Callable[[bytearray, np.random.Generator], None]


def flip(data: bytearray, rng: np.random.Generator) -> None:
    """Some bits are other than they were."""
    for place in rng.integers(0, len(data), rng.integers(1, 20)):
        data[place] ^= 1 << int(rng.integers(8))


def cut(data: bytearray, rng: np.random.Generator) -> None:
    """The end is missing."""
    del data[int(rng.integers(0, len(data))) :]


def lose(data: bytearray, rng: np.random.Generator) -> None:
    """A piece is missing."""
    first, last = _piece(data, rng)
    del data[first:last]


def repeat(data: bytearray, rng: np.random.Generator) -> None:
    """A piece is there twice."""
    first, last = _piece(data, rng)
    data[last:last] = data[first:last]


def insert(data: bytearray, rng: np.random.Generator) -> None:
    """A piece of something else is in between."""
    place = int(rng.integers(0, len(data)))
    data[place:place] = rng.bytes(int(rng.integers(1, 2000)))


def blank(data: bytearray, rng: np.random.Generator) -> None:
    """A piece is zeros, as on a disk that was full."""
    first, last = _piece(data, rng)
    data[first:last] = bytes(last - first)


def overwrite(data: bytearray, rng: np.random.Generator) -> None:
    """A piece is something else."""
    first, last = _piece(data, rng)
    data[first:last] = rng.bytes(last - first)


def begin_otherwise(data: bytearray, rng: np.random.Generator) -> None:
    """The first bytes, which tell what a file is, are others."""
    data[: min(64, len(data))] = rng.bytes(min(64, len(data)))


MUTATIONS: tuple[Mutation, ...] = (flip, cut, lose, repeat, insert, blank, overwrite, begin_otherwise)


def damaged(data: bytes, seed: int) -> bytes:
    """The data after one mutation, or two: the seed decides."""
    rng, result = np.random.default_rng(seed), bytearray(data)
    for number in range(1 + seed % 3 // 2):
        if result:
            MUTATIONS[(seed + number) % len(MUTATIONS)](result, rng)
    return bytes(result)


def _piece(data: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    first, last = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return first, min(last, first + 5000)

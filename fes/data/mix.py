"""Several data sets in one stream: which of them a position belongs to is a function of (seed, position)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fes.draws import numpy_rng
from fes.errors import InputError

BLOCK = 10_000
"""Positions over which every data set has its exact share, so weights are kept to 1e-4."""


class Mix:
    """Position in the stream -> a data set, and the place in that set's own order.

    Every block of `BLOCK` positions deals the same number of places to each data set, shuffled; so the
    k-th sample of a set is place k of its order, without a gap, and no block depends on those before it.
    """

    def __init__(self, seed: int, weights: Sequence[float]) -> None:
        """Raises InputError where the weights make no sense. A set of weight 0 is never drawn from."""
        self.seed, self.counts = seed, places_of(weights)
        self._dealt = lru_cache(maxsize=2)(self._deal)

    def __getstate__(self) -> dict[str, object]:
        return {"seed": self.seed, "counts": self.counts}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._dealt = lru_cache(maxsize=2)(self._deal)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [n] -> the numbers of the data sets, and the places in their orders, both int64 [n]."""
        parts, places = np.zeros(len(positions), np.int64), positions.copy()
        if len(self.counts) == 1:
            return parts, places
        blocks, offsets = np.divmod(positions, BLOCK)
        for block in np.unique(blocks).tolist():
            inside = blocks == block
            dealt, within = self._dealt(block)
            parts[inside] = dealt[offsets[inside]]
            places[inside] = block * self.counts[parts[inside]] + within[offsets[inside]]
        return parts, places

    def _deal(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The data set of each position of a block, and how many of that set come before it there."""
        sorted_parts = np.repeat(np.arange(len(self.counts)), self.counts)
        dealt = numpy_rng(self.seed, "mix", block).permutation(sorted_parts)
        firsts = np.cumsum(self.counts) - self.counts
        within = np.empty(BLOCK, np.int64)
        within[np.argsort(dealt, kind="stable")] = np.arange(BLOCK) - firsts[sorted_parts]
        return dealt, within


def places_of(weights: Sequence[float], places: int = BLOCK) -> np.ndarray:
    """How many of so many places, those of a block, each weight gets, int64 [weights]: by the largest
    remainder, and at least one where the weight is above 0. There are no fewer places than weights.

    Raises InputError where a weight is below 0 or no number, or all of them are 0.
    """
    given = np.array([float(weight) for weight in weights])
    if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        shown = ", ".join(f"{weight:g}" for weight in given)
        raise InputError(f"the weights of the data sets are {shown}: give 0 or more each, and not 0 to all")
    given = given / given.max()  # the sum of numbers near the largest there is would be infinite
    quotas = given / math.fsum(given) * places
    counts = np.maximum(np.floor(quotas), given > 0).astype(np.int64)
    while counts.sum() < places:
        counts[np.argmax(quotas - counts)] += 1
    while counts.sum() > places:  # where those of tiny weights got their one place
        counts[np.argmin(np.where(counts > 1, quotas - counts, np.inf))] -= 1
    return counts

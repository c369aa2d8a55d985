"""Finds pictures that occur more than once: exact copies, and near-duplicates.

Near-duplicates are the same photograph: compressed or resized again, a little brighter, cropped by a
pixel. Another expression of the same person in the same place is none, nor is a mirrored copy, nor one
with a large mark across it.

They are looked for among the pictures whose perceptual hashes differ in at most DISTANCE of 64 bits (those
of different photographs differ in 32 on average), and confirmed by a `difference` of at most SAME. Both
were chosen by looking. Of some hundred pairs of FER2013 below SAME none shows two photographs, and up to
three times as much they are still copies, but with marks or cropped by more. It is as low as it is for
studio pictures: 60 people who change nothing but a neutral face to a smile differ by 0.20 and more, two
people by 0.47; their copies that were compressed, brightened, resized or cropped by up to 0.175.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from shards.build.fingerprint import difference

DISTANCE = 10
SAME = 0.18

CROWD = 8
"""Of more pictures that share a perceptual hash only the first ones are compared with others."""
MOST_PAIRS = 1 << 21
MOST_COMPARISONS = 1 << 31
"""Where there are more pairs of pictures with near hashes, or more hashes to compare in the search for them,
only nearer ones are looked for: in data that are made to be alike all others would take hours."""

BANDS, BAND_BITS = 4, 16
BUCKETS = 1 << BAND_BITS
SHIFTS = np.arange(BANDS, dtype=np.uint64) * np.uint64(BAND_BITS)
COMPARED_TOGETHER = 1 << 16  # hashes, then thumbnails: what fits into the cache
CONFIRMED_TOGETHER = 256


def first_copies(exact: np.ndarray) -> np.ndarray:
    """For every picture the position of the first one that is equal to it, int64 [pictures].

    exact: the field of that name of an array of FINGERPRINT.
    """
    words = np.ascontiguousarray(exact).view("<u8").reshape(-1, 2)
    order = np.lexsort(words.T)
    new = np.ones(len(words), bool)
    new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    firsts = np.empty(len(words), np.int64)
    firsts[order] = order[new][np.cumsum(new) - 1]
    return firsts


def near_pairs(fingerprints: np.ndarray) -> tuple[np.ndarray, int]:
    """The pairs of pictures that show the same photograph.

    fingerprints: of pictures that are all different and not constant, the important ones first: where
    many share a perceptual hash, the first ones stand for all.

    Returns int64 [pairs, 2], sorted, the lower position first; and in how many bits of their hashes
    pictures were allowed to differ, which is DISTANCE unless too many are alike.
    """
    hashes, cells = np.unique(fingerprints["perceptual"], return_inverse=True)
    order, sizes = np.argsort(cells, kind="stable"), np.bincount(cells, minlength=len(hashes))
    starts = np.cumsum(sizes) - sizes
    near, bits = _near_hashes(hashes, np.minimum(sizes, CROWD))
    found = [_within(order, sizes), _between(order, starts, sizes, near)]
    candidates = np.sort(np.concatenate(found), axis=1)
    candidates = candidates[np.lexsort(candidates.T[::-1])]
    thumbnails, same = fingerprints["thumbnail"], np.zeros(len(candidates), bool)
    for start in range(0, len(candidates), CONFIRMED_TOGETHER):
        part = slice(start, start + CONFIRMED_TOGETHER)
        first, second = candidates[part].T
        same[part] = difference(thumbnails[first], thumbnails[second]) <= SAME
    return candidates[same], bits


def joined(pairs: np.ndarray, count: int) -> np.ndarray:
    """Groups of the pictures that pairs join, directly or through others: for each of `count` pictures the
    lowest position of its group, int64 [count].

    Two pictures of a group may be far apart where a chain of small changes lies between them, as in a film.
    """
    lowest = list(range(count))

    def root(at: int) -> int:
        while lowest[at] != at:
            lowest[at] = at = lowest[lowest[at]]
        return at

    for first, second in pairs.tolist():
        low, high = sorted((root(first), root(second)))
        lowest[high] = low
    return np.array([root(at) for at in range(count)], dtype=np.int64)


def spare(pairs: np.ndarray) -> set[int]:
    """The pictures to drop so that no pair is left: each of them makes one with an earlier one that stays."""
    others, dropped = defaultdict(set), set()
    for first, second in pairs.tolist():
        others[first].add(second)
        others[second].add(first)
    for picture in sorted(others):
        if picture not in dropped:
            dropped |= others[picture]
    return dropped


def _within(order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Pairs of pictures that share a hash: of each of the first CROWD with all that follow."""
    ranks = _counted(sizes)[1]
    follow = np.repeat(sizes, sizes) - ranks - 1
    follow[ranks >= CROWD] = 0
    at, step = _counted(follow)
    return np.stack([order[at], order[at + 1 + step]], axis=1)


def _between(order: np.ndarray, starts: np.ndarray, sizes: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Pairs of pictures of which each has one hash of a pair; of each hash's the first CROWD."""
    (first, second), some = near.T, np.minimum(sizes, CROWD)
    pair, step = _counted(some[first] * some[second])
    across, down = np.divmod(step, some[second][pair])
    return np.stack([order[starts[first][pair] + across], order[starts[second][pair] + down]], axis=1)


def _counted(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[2, 0, 3] -> [0, 0, 2, 2, 2] and [0, 1, 0, 1, 2]."""
    of = np.repeat(np.arange(len(counts)), counts)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)


def _near_hashes(hashes: np.ndarray, crowds: np.ndarray) -> tuple[np.ndarray, int]:
    """Pairs of positions in uint64 `hashes`, all different, that differ in at most so many bits: [pairs, 2],
    and the number of bits, which is DISTANCE unless there is too much to look at.

    `crowds` are the numbers of pictures to compare that have each hash.

    This is multi-index hashing (Norouzi, Punjani & Fleet, 2012): two hashes that differ in at most DISTANCE
    bits differ in at most DISTANCE // BANDS of them in one of their bands.
    """
    bands = [_Band(hashes, number) for number in range(BANDS)]
    found, count, limit, budget = [np.zeros((0, 3), np.int64)], 0, DISTANCE, MOST_COMPARISONS
    for flips in range(DISTANCE // BANDS + 1):
        budget -= sum(band.comparisons(flips) for band in bands)
        if budget < 0:
            limit = min(limit, max(0, flips * BANDS - 1))
        if budget < 0 or limit < flips * BANDS:
            break
        for pairs in itertools.chain.from_iterable(band.near(flips, limit) for band in bands):
            found.append(pairs)
            count += _pictures_in(pairs, crowds)
            if count > MOST_PAIRS:
                found, count, limit = _nearest(found, crowds, limit)
    pairs = np.concatenate(found)
    return pairs[pairs[:, 2] <= limit, :2], limit


def _nearest(found: list[np.ndarray], crowds: np.ndarray, limit: int) -> tuple[list[np.ndarray], int, int]:
    """The nearest of pairs of hashes with their numbers of bits [pairs, 3], which make at most MOST_PAIRS of
    pictures; how many these are, and the most bits that are left."""
    pairs = np.concatenate(found)
    pairs = pairs[pairs[:, 2] <= limit]
    while (count := _pictures_in(pairs, crowds)) > MOST_PAIRS:
        limit -= 1
        pairs = pairs[pairs[:, 2] <= limit]
    return [pairs], count, limit


def _pictures_in(pairs: np.ndarray, crowds: np.ndarray) -> int:
    """How many pairs of pictures pairs of hashes make."""
    return int(crowds[pairs[:, :2]].prod(axis=1).sum())


class _Band:
    """Hashes, sorted by BAND_BITS of their bits."""

    def __init__(self, hashes: np.ndarray, number: int) -> None:
        keys = ((hashes >> np.uint64(number * BAND_BITS)) & np.uint64(BUCKETS - 1)).astype(np.int64)
        self.number = number
        self.order = np.argsort(keys, kind="stable")
        self.keys, self.hashes = keys[self.order], hashes[self.order]
        self.sizes = np.bincount(keys, minlength=BUCKETS)
        self.starts = np.cumsum(self.sizes) - self.sizes

    def comparisons(self, flips: int) -> int:
        """How many pairs of hashes `near` looks at."""
        filled = np.flatnonzero(self.sizes)
        return sum(int(self.sizes[filled] @ self.sizes[filled ^ mask]) // 2 for mask in _masks(flips))

    def near(self, flips: int, limit: int) -> Iterator[np.ndarray]:
        """Pairs of hashes that differ in `flips` bits of this band, in as many or more of every other one
        (more in those before it: no pair is found in two bands), and in at most `limit` in all.

        Yields int64 [pairs, 3]: their positions, and in how many bits they differ.
        """
        for mask in _masks(flips):
            first, counts = self._partners(mask)
            ends = np.cumsum(counts)
            cuts = np.searchsorted(ends, np.arange(0, counts.sum(), COMPARED_TOGETHER), side="right")
            for start, stop in itertools.pairwise([*np.unique(cuts), len(counts)]):
                at, step = _counted(counts[start:stop])
                yield self._compared(start + at, first[start + at] + step, limit)

    def _partners(self, mask: int) -> tuple[np.ndarray, np.ndarray]:
        """For every hash the place of the first one to compare it with, and how many there are."""
        if mask == 0:
            first = np.arange(1, len(self.keys) + 1)
            return first, (self.starts + self.sizes)[self.keys] - first
        others = self.keys ^ mask
        return self.starts[others], np.where(self.keys < others, self.sizes[others], 0)

    def _compared(self, here: np.ndarray, there: np.ndarray, limit: int) -> np.ndarray:
        different = self.hashes[here] ^ self.hashes[there]
        bits = _ones(different)
        near = np.flatnonzero(bits <= limit)
        in_bands = _ones(different[near, None] >> SHIFTS & np.uint64(BUCKETS - 1))
        near = near[in_bands.argmin(axis=1) == self.number]
        return np.stack([self.order[here[near]], self.order[there[near]], bits[near]], axis=1)


def _masks(flips: int) -> list[int]:
    """All numbers of BAND_BITS bits of which so many are set."""
    return [sum(1 << bit for bit in bits) for bits in itertools.combinations(range(BAND_BITS), flips)]


def _ones(words: np.ndarray) -> np.ndarray:
    """How many bits are set in each uint64, as int64."""
    pairs, fours, eights, ones = (np.uint64(every * (2**64 // 255)) for every in (0x55, 0x33, 0x0F, 1))
    words = words - (words >> np.uint64(1) & pairs)
    words = (words & fours) + (words >> np.uint64(2) & fours)
    words = words + (words >> np.uint64(4)) & eights
    return (words * ones >> np.uint64(56)).astype(np.int64)

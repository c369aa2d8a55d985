"""What is kept of a picture to find its copies: the exact ones, and those that only look the same.

A picture's `exact` fingerprint is a hash of its pixels. Two more are made of its grey means on a grid of
32 x 32: `perceptual`, the DCT hash of Zauner (2010, "Implementation and benchmarking of perceptual image
hash functions", as in the program pHash), which is quick to search for; and `thumbnail`, which
`difference` compares closely. They come of whole numbers alone, so that every machine makes the same.
"""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

GRID = 32
THUMBNAIL = 26
FINGERPRINT = np.dtype(
    [
        ("exact", "V16"),
        ("perceptual", "<u8"),
        ("thumbnail", "u1", (THUMBNAIL, THUMBNAIL)),
        ("constant", "?"),
    ]
)
"""A picture: a hash of its shape and pixels; 64 bits that similar pictures have mostly in common; its grey,
small and blurred; whether all its pixels are the same."""

BATCH_BYTES = 1 << 20
LONGEST = 1 << 14
STEP = 256  # grey means are whole numbers of this part of a grey level
LUMA = (77, 150, 29)  # ITU-R 601, of 256

FREQUENCIES, PRECISION = 8, 4096
COSINES = np.round(
    PRECISION * np.cos(np.pi / GRID * np.outer(np.arange(1, FREQUENCIES + 1), np.arange(GRID) + 0.5))
)
"""The eight lowest frequencies of the DCT but for the mean, [FREQUENCIES, GRID] of whole numbers."""

BINOMIAL = (1, 6, 15, 20, 15, 6, 1)
BLUR = sum(weight * np.eye(THUMBNAIL, GRID, shift) for shift, weight in enumerate(BINOMIAL))
"""Takes GRID means in a row to THUMBNAIL blurred ones, 64 times as large."""


def fingerprints(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The fingerprints of pictures, each uint8 [height, width, 1 (grey) or 3 (RGB)]: an array of FINGERPRINT.

    A grey picture and its RGB copy differ in `exact` alone.
    """
    found = np.zeros(len(pictures), FINGERPRINT)
    digests = b"".join(map(_digest, pictures))
    found["exact"] = np.frombuffer(digests, "V16")
    for places in _batches(pictures):
        batch = np.stack([pictures[place] for place in places])
        means = _grid_means(_grey(batch))
        found["perceptual"][places] = _dct_hashes(means)
        found["thumbnail"][places] = _thumbnails(means)
        found["constant"][places] = _constant(batch, means)
    return found


def _constant(batch: np.ndarray, means: np.ndarray) -> np.ndarray:
    # Few pictures have equal means, so few are looked at pixel by pixel.
    constant = np.ptp(means, axis=(1, 2)) == 0
    constant[constant] = [(picture == picture[0, 0]).all() for picture in batch[constant]]
    return constant


def _digest(picture: np.ndarray) -> bytes:
    hashed = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    hashed.update(np.ascontiguousarray(picture))
    return hashed.digest()


def _batches(pictures: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """The places of all pictures, in lists of some that have the same shape."""
    places = defaultdict(list)
    for place, picture in enumerate(pictures):
        places[picture.shape].append(place)
    for shape, alike in places.items():
        size = max(1, BATCH_BYTES // int(np.prod(shape)))
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _grey(batch: np.ndarray) -> np.ndarray:
    """uint8 [pictures, height, width, 1 or 3] -> the same in grey, [pictures, height, width]."""
    if batch.shape[3] == 1:
        return batch[..., 0]
    red, green, blue = (batch[..., channel].astype(np.uint16) * LUMA[channel] for channel in range(3))
    return ((red + green + blue + 128) >> 8).astype(np.uint8)


def _grid_means(grey: np.ndarray) -> np.ndarray:
    """uint8 [pictures, height, width] -> means over a grid of GRID x GRID, in 1/STEP of a grey level.

    Returns float64 of whole numbers.
    """
    # The weights of a line of a million pixels would fill the memory; no face is that long.
    grey = grey[:, :: -(-grey.shape[1] // LONGEST), :: -(-grey.shape[2] // LONGEST)]
    count, height, width = grey.shape
    area = height * width
    # The sums are whole numbers of at most 255 * area, which the chosen type holds exactly.
    exact = np.float32 if 255 * area < 1 << 24 else np.float64
    rows = grey.reshape(count * height, width).astype(exact) @ _overlaps(width).T.astype(exact)
    sums = _overlaps(height).astype(exact) @ rows.reshape(count, height, GRID)
    return ((sums.astype(np.int64) * STEP + area // 2) // area).astype(np.float64)


@functools.lru_cache(maxsize=64)
def _overlaps(size: int) -> np.ndarray:
    """How much of each of `size` pixels lies in each of GRID equal parts: [GRID, size], in 1/GRID pixel."""
    ends, pixels = np.arange(GRID + 1)[:, None] * size, np.arange(size) * GRID
    return np.diff(np.clip(ends - pixels, 0, GRID), axis=0)


def _dct_hashes(means: np.ndarray) -> np.ndarray:
    """A bit per frequency, set where its coefficient is above the median: uint64 [pictures]."""
    coefficients = (COSINES @ means @ COSINES.T).reshape(len(means), -1)
    middle = FREQUENCIES * FREQUENCIES // 2
    ordered = np.partition(coefficients, (middle - 1, middle), axis=1)
    twice_median = ordered[:, middle - 1] + ordered[:, middle]
    return np.packbits(2 * coefficients > twice_median[:, None], axis=1).view("<u8")[:, 0]


def _thumbnails(means: np.ndarray) -> np.ndarray:
    whole = STEP * sum(BINOMIAL) ** 2
    sums = (BLUR @ means @ BLUR.T).astype(np.int64)
    return ((sums + whole // 2) // whole).astype(np.uint8)


SIDE = THUMBNAIL // 2 - 1
WINDOW = 4
FLAT = 0.1
ACROSS = np.tile(np.linspace(-1, 1, SIDE), SIDE)
DOWN = np.repeat(np.linspace(-1, 1, SIDE), SIDE)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How unlike pictures are that show almost the same: 0 for the same photograph, about 1 for others.

    It is the tangent distance of Simard, LeCun & Denker (1993): from the difference of two thumbnails,
    all is taken away that a small shift, stretch, or change of brightness, contrast and tone explains. What
    is left is told where it is largest, in relation to the detail there, so that a mouth that opens counts
    as much as another face. The same both ways.

    first, second: thumbnails, uint8 [pairs, THUMBNAIL, THUMBNAIL]. Returns float64 [pairs].
    """
    (values, across, down), change = _mean_and_change(first, second)
    values -= values.mean(axis=1, keepdims=True)
    contrast = np.sqrt((values * values).mean(axis=1, keepdims=True)).clip(min=1)
    values, across, down, change = (part / contrast for part in (values, across, down, change))
    tone = np.ones_like(values), values, values * values
    tangents = np.stack([*tone, across, down, across * ACROSS, down * DOWN], axis=1)
    left = change - _explained(change, tangents)
    detail = _windows(across * across + down * down) + FLAT * FLAT
    return np.sqrt((_windows(left * left) / detail).max(axis=1))


def _mean_and_change(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of two thumbnails' grey levels, every second one: the mean of them and of their slopes across and
    down, float64 [3, pairs, SIDE * SIDE], and what the second one has more, [pairs, SIDE * SIDE]."""
    here, right, left = slice(1, -1, 2), slice(2, None, 2), slice(None, -2, 2)
    mean = (first.astype(np.float64) + second) / 2
    across = (mean[:, here, right] - mean[:, here, left]) / 2
    down = (mean[:, right, here] - mean[:, left, here]) / 2
    change = second[:, here, here].astype(np.float64) - first[:, here, here]
    parts = np.stack([mean[:, here, here], across, down])
    return parts.reshape(3, len(first), -1), change.reshape(len(first), -1)


def _explained(change: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """The part of `change` [pairs, points] that sums of its `tangents` [pairs, n, points] can make."""
    products = tangents @ tangents.transpose(0, 2, 1)
    # Where tangents are alike, as in a picture without any detail, any of their solutions will do.
    products += 1e-6 * np.eye(tangents.shape[1])
    weights = np.linalg.solve(products, tangents @ change[:, :, None])
    return (weights.transpose(0, 2, 1) @ tangents)[:, 0]


def _windows(values: np.ndarray) -> np.ndarray:
    """[pairs, SIDE * SIDE] -> the means of all squares of WINDOW x WINDOW, [pairs, windows]."""
    sums = np.zeros((len(values), SIDE + 1, SIDE + 1))
    sums[:, 1:, 1:] = values.reshape(-1, SIDE, SIDE).cumsum(axis=1).cumsum(axis=2)
    sums = sums[:, WINDOW:] - sums[:, :-WINDOW]
    sums = sums[:, :, WINDOW:] - sums[:, :, :-WINDOW]
    return sums.reshape(len(values), -1).clip(min=0) / WINDOW**2

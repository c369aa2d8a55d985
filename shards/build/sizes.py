"""What is said of a data set whose pictures are of many sizes."""

from collections.abc import Sequence

import numpy as np

from shards.schema import Crop, Finding, central_square

OTHER_SIZE = "picture of another size than {}x{}"
SAME_PART = "kept; the same part of it is read"
SMALLER = "picture of less than {0}x{0} after the crop"
ENLARGED = "kept; enlarged where a run asks for more than it has"


def common_side(widths: np.ndarray, heights: np.ndarray, crop: Crop | None) -> int:
    """The side of the square that nine of ten pictures have or exceed, after the crop; in whole pixels."""
    sides = sides_of(widths, heights, crop)
    return int(np.sort(sides)[len(sides) // 10])


def sides_of(widths: np.ndarray, heights: np.ndarray, crop: Crop | None) -> np.ndarray:
    """The side of the square that is read of each picture, in whole pixels: int64 [pictures]."""
    sizes, which = np.unique(np.stack([widths, heights], axis=1), axis=0, return_inverse=True)
    boxes = [crop.box(*size) if crop else central_square(*size) for size in sizes.tolist()]
    sides = [int(min(right - left, bottom - top)) for left, top, right, bottom in boxes]
    return np.array(sides, dtype=np.int64)[which.reshape(-1)]


def size_findings(
    records: np.ndarray, origins: Sequence[int | str], crop: Crop | None, side: int
) -> list[Finding]:
    """The pictures that are not of the size that the crop is for, and those that have less than `side`.

    `records` are the gathered ones of the samples with these origins.
    """
    sides = sides_of(records["width"], records["height"], crop)
    found = [(SMALLER.format(side), ENLARGED, sides < side)]
    if crop:
        other = (records["width"] != crop.width) | (records["height"] != crop.height)
        found.insert(0, (OTHER_SIZE.format(crop.width, crop.height), SAME_PART, other))
    return [
        Finding(reason, action, [origins[at] for at in np.flatnonzero(those).tolist()], "pictures")
        for reason, action, those in found
        if those.any()
    ]

"""Turns the pixel texts of a csv into arrays, a few hundred rows at a time."""

import warnings
from collections.abc import Sequence

import numpy as np

WRONG_COUNT = "pixel count other than {}"
NOT_NUMBERS = "pixels that are no whole numbers"
OUT_OF_RANGE = "pixel value outside 0..255"


def parse_pixels(texts: Sequence[bytes], count: int) -> tuple[np.ndarray, dict[int, str]]:
    """The numbers in `texts`, `count` in each and parted by blanks, as uint8 [texts, count].

    The dict names the trouble of every text that is not `count` whole numbers in 0..255, by its place;
    such rows of the array are zeros.
    """
    if not texts:
        return np.zeros((0, count), dtype=np.uint8), {}
    together = _parse_together(texts, count)
    if together is not None:
        return together, {}
    pixels, troubles = np.zeros((len(texts), count), dtype=np.uint8), {}
    for place, text in enumerate(texts):
        values = _parse_alone(text, count)
        if isinstance(values, str):
            troubles[place] = values
        else:
            pixels[place] = values
    return pixels, troubles


def _parse_together(texts: Sequence[bytes], count: int) -> np.ndarray | None:
    """All texts in one call, or None where any of them is not as it should be."""
    # A -1 behind every text: where a text is of the wrong length, one of them stands in a pixel's place.
    joined = b" -1 ".join(texts) + b" -1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # older numpy warns of what newer ones refuse
        try:
            values = np.fromstring(joined, dtype=np.int64, sep=" ")
        except ValueError:
            return None
    if values.size != len(texts) * (count + 1):
        return None
    pixels = values.reshape(len(texts), count + 1)[:, :count]
    if pixels.min() < 0 or pixels.max() > 255:
        return None
    return pixels.astype(np.uint8)


def _parse_alone(text: bytes, count: int) -> list[float] | str:
    tokens = text.split()
    if len(tokens) != count:
        return WRONG_COUNT.format(count)
    if not all(token.removeprefix(b"-").isdigit() for token in tokens):
        return NOT_NUMBERS
    values = [float(token) for token in tokens]  # int refuses numbers of very many digits
    return values if all(0 <= value <= 255 for value in values) else OUT_OF_RANGE

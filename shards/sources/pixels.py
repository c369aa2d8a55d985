"""Turns the pixel texts of a csv into arrays, many rows at once."""

from collections.abc import Sequence
from functools import cache

import numpy as np

WRONG_COUNT = "pixel count other than {}"
NOT_NUMBERS = "pixels that are no whole numbers"
OUT_OF_RANGE = "pixel value outside 0..255"


def parse_pixels(texts: Sequence[bytes], count: int) -> tuple[np.ndarray, dict[int, str]]:
    """The numbers in `texts`, `count` in each and parted by blanks, as uint8 [texts, count].

    The dict names the trouble of every text that is not `count` whole numbers in 0..255, by its place;
    such rows of the array are zeros. Some dozens of texts at a time are read the fastest.
    """
    pixels, troubles = np.zeros((len(texts), count), dtype=np.uint8), {}
    waiting = [slice(0, len(texts))]
    while waiting:
        part = waiting.pop()
        together = _parse_together(texts[part], count)
        if together is not None:
            pixels[part] = together
        elif part.stop - part.start > 1:  # so that a bad text does not make its neighbours slow
            middle = (part.start + part.stop) // 2
            waiting += [slice(middle, part.stop), slice(part.start, middle)]
        else:
            values = _parse_alone(texts[part.start], count)
            if isinstance(values, str):
                troubles[part.start] = values
            else:
                pixels[part] = values
    return pixels, troubles


def _parse_together(texts: Sequence[bytes], count: int) -> np.ndarray | None:
    """The numbers of texts that hold nothing but numbers of 1 to 3 digits and a blank between them.

    None where any text is of another form, even where its numbers can be read.
    """
    if not texts or not count:
        return np.zeros((len(texts), count), dtype=np.uint8)
    # A blank is 0 and the digits are 16..25, so that three characters fit into an index of 15 bits.
    codes = np.frombuffer(b"  " + b" ".join(texts) + b" ", dtype=np.uint8) ^ ord(" ")
    if codes.max() >= 32:
        return None
    ends = np.flatnonzero(codes[3:] == 0)  # where the three characters before a blank begin
    if ends.size != len(texts) * count:
        return None
    text_ends = np.cumsum([len(text) + 1 for text in texts]) - 2
    if (ends[count - 1 :: count] != text_ends).any() or np.diff(ends, prepend=-2).max() > 4:
        return None
    wide = codes.astype(np.uint16)
    values = _values().take(((wide[:-3] << 10) | (wide[1:-2] << 5) | wide[2:-1]).take(ends))
    return None if values.min() < 0 else values.reshape(len(texts), count)


@cache
def _values() -> np.ndarray:
    """The number that ends with three characters, int16 [2**15]; -1 where they do not end with one."""
    table = np.full((32, 32, 32), -1, dtype=np.int16)
    for value in range(256):
        for width in (1, 2, 3):
            digits = f"{value:0{width}}"
            first, second, third = (ord(character) ^ ord(" ") for character in digits.rjust(3))
            table[first if len(digits) > 1 else slice(None), second, third] = value
    return table.ravel()


def _parse_alone(text: bytes, count: int) -> list[float] | str:
    tokens = text.split()
    if len(tokens) != count:
        return WRONG_COUNT.format(count)
    if not all(token.removeprefix(b"-").isdigit() for token in tokens):
        return NOT_NUMBERS
    values = [float(token) for token in tokens]  # int refuses numbers of very many digits
    return values if all(0 <= value <= 255 for value in values) else OUT_OF_RANGE

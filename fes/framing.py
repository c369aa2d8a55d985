"""Which square of a photograph is drawn: the face that is in it, unless somebody says where it is."""

from typing import NamedTuple

import numpy as np

from fes.commandline import FOUND, MIDDLE
from shards.finding import find_faces, is_cut_out
from shards.schema import Square

_TOLD = 3
"""Most other faces that are told."""


class Frame(NamedTuple):
    """A part of a picture, and what to say of it."""

    square: Square | None
    """None: the central square."""
    told: str
    """Which part of the picture it is, as in "the central square" of it."""
    advice: str = ""
    """What follows that, where there could be a better one."""
    missed: bool = False
    """Whether a face was looked for and none found."""


def framed(pixels: np.ndarray, asked: Square | str) -> Frame:
    """The part of a picture to draw.

    Args:
        pixels: uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels, upright.
        asked: a square; or the word `MIDDLE`; or `FOUND`, the largest face, unless the picture is one itself.

    Raises:
        InputError: OpenCV is not whole.
    """
    middle = Frame(None, "the central square")
    if asked == MIDDLE:
        return middle
    if asked != FOUND:
        return Frame(asked, f"the square {_flag(asked)}")
    faces = find_faces(pixels)
    if is_cut_out(pixels, faces):
        return middle
    if not faces:
        return middle._replace(
            advice="; no face was found: --crop LEFT,TOP,SIDE tells where one is", missed=True
        )
    largest, *others = faces
    return Frame(largest, f"the face at {_flag(largest)}", _told_of(others))


def _told_of(others: list[Square]) -> str:
    if not others:
        return ""
    flags = " or ".join(f"--crop {_flag(each)}" for each in others[:_TOLD])
    return f"; it is the largest of {len(others) + 1} that were found: {flags} draws another"


def _flag(square: Square) -> str:
    return ",".join(map(str, square))

"""Which square of a photograph is drawn: the face that is in it, unless somebody says where it is."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fes.commandline import FOUND, MIDDLE
from fes.errors import InputError
from shards.finding import faces_in, is_cut_out, turn_to_a_face
from shards.schema import Square

PHOTOGRAPH = 96
"""Pixels of a picture's shorter side from which on it is a photograph, and no face of a data set."""
_TOLD = 3
"""Most other faces that are told."""
_TURNS = {90: "90 degrees clockwise", 180: "180 degrees", 270: "90 degrees counter-clockwise"}


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
    doubtful: bool = False
    """Whether a face was looked for, and none found of which there is no doubt."""


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
    faces = faces_in(pixels)
    squares = [face.square for face in faces]
    if is_cut_out(pixels, squares):
        return middle
    if not faces:
        advice = "; no face was found: --crop LEFT,TOP,SIDE tells where one is"
        return middle._replace(advice=advice, missed=True, doubtful=True)
    largest, *others = squares
    doubtful = not faces[0].is_clear
    return Frame(largest, f"the face at {_flag(largest)}", _told_of(others), doubtful=doubtful)


def check_found(frame: Frame, pixels: np.ndarray, path: Path) -> None:
    """Looks at what `framed` made of a photograph, before a wall or an upside-down chin is given a face.

    Smaller pictures pass: in few of them could a face be found, and most are a face themselves.

    Raises:
        InputError: there is no face, or a clear one as soon as the photograph is turned.
    """
    if not frame.doubtful or min(pixels.shape[:2]) < PHOTOGRAPH:
        return
    if degrees := turn_to_a_face(pixels):
        raise InputError(
            f"{path} shows a clear face when the picture is turned by {_TURNS[degrees]}: turn it upright, or "
            "say by --crop what to draw as it is"
        )
    if frame.missed:
        raise InputError(
            f"no face was found in {path}: turn the photograph upright, give the square that holds the face "
            "by --crop LEFT,TOP,SIDE, or take the central one by --crop middle"
        )


def _told_of(others: list[Square]) -> str:
    if not others:
        return ""
    flags = " or ".join(f"--crop {_flag(each)}" for each in others[:_TOLD])
    return f"; it is the largest of {len(others) + 1} that were found: {flags} draws another"


def _flag(square: Square) -> str:
    return ",".join(map(str, square))

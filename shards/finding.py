"""Where the faces of a photograph are: by a cascade of Haar features (Viola and Jones, 2001).

FER2013's faces were found by OpenCV as well (Goodfellow et al., 2013, do not say by which cascade), and the
squares that this one finds frame a face as its pictures do: from the hair to the chin.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from fes.errors import InputError
from shards.pictures import as_image
from shards.schema import Square

if TYPE_CHECKING:
    import cv2

_LOOKED_AT = 640, 1920
"""Pixels of the longer side of what is looked at: larger photographs are made smaller. Where the largest face
is small there, once more in more pixels."""
_LEAST = 48
"""Pixels of the smallest face there, which is framed roughly: from twice as many on its square is as good as
that of a larger one."""
_STEP = 1.05
"""From one size of faces to the next."""
_VOTES = 5
"""How many of the cascade's windows have to agree on a face."""
_CLEAR = 24
"""Votes from which on there is no doubt of a face: of 120 portraits (webmorph) the largest face has 28 at the
least, and what looks like a face where they are turned has 18 at the most."""
_TURNED_LOOKED_AT, _TURNED_LEAST = 320, 32
"""As `_LOOKED_AT` and `_LEAST`, where nothing but the way is asked for."""
_ROOM = 1.03
"""Sides of FER2013's pictures, in those of the squares that are found in them (the median of 600)."""
_FILLS = 0.8
"""Of the shorter side of a picture: from a face as large as this on, the whole is as good as a part."""
_NEARLY_SQUARE = 1.25
"""The longer side of a face that was cut out, in its shorter ones, at the most."""
_SMALL = 96
"""Pixels of the shorter side: so small a square is a face that was cut out, as those of data sets are."""


class Face(NamedTuple):
    """A face that was found."""

    square: Square
    votes: int
    """How many of the cascade's windows agree on it."""

    @property
    def is_clear(self) -> bool:
        """Whether there is no doubt that it is one."""
        return self.votes >= _CLEAR


@cache
def _cascade() -> "cv2.CascadeClassifier":
    import cv2  # takes a quarter of a second, which commands that look for no face are spared

    cv2.setNumThreads(0)  # a build has a process for each core already
    path = Path(cv2.__file__).parent / "data/haarcascade_frontalface_alt2.xml"
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise InputError(
            f"this OpenCV has no {path}: 'pip install opencv-python-headless' brings one that has"
        )
    return cascade


def finder() -> str:
    """Who finds faces: another version may find other ones."""
    import cv2

    return f"OpenCV {cv2.__version__}"


def find_faces(pixels: np.ndarray) -> list[Square]:
    """The squares of what `faces_in` finds."""
    return [face.square for face in faces_in(pixels)]


def faces_in(pixels: np.ndarray) -> list[Face]:
    """The faces in a photograph, the largest first: those that are upright, frontal, and wholly in it.

    Args:
        pixels: uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels.

    Raises:
        InputError: OpenCV is not whole.
    """
    grey = as_image(pixels).convert("L")
    for looked_at in _LOOKED_AT:
        shrunk = min(1.0, looked_at / max(grey.size))
        faces = _found(grey, shrunk, _LEAST)
        if shrunk == 1 or (faces and faces[0].square[2] * shrunk >= 2 * _LEAST):
            break
    return faces


def turn_to_a_face(pixels: np.ndarray) -> int | None:
    """By how many degrees, clockwise, a photograph has to be turned so that it shows a clear face: 90, 180 or
    270; None where it shows none that way.

    Args:
        pixels: uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels.

    Raises:
        InputError: OpenCV is not whole.
    """
    grey = as_image(pixels).convert("L")
    grey.thumbnail((_TURNED_LOOKED_AT, _TURNED_LOOKED_AT), Image.Resampling.BOX)
    votes = {degrees: _most_votes(grey.rotate(-degrees, expand=True)) for degrees in (180, 90, 270)}
    best = max(votes, key=votes.__getitem__)
    return best if votes[best] >= _CLEAR else None


def _most_votes(grey: Image.Image) -> int:
    return max((face.votes for face in _found(grey, 1.0, _TURNED_LEAST)), default=0)


def _found(grey: Image.Image, shrunk: float, least: int) -> list[Face]:
    width, height = (max(1, round(edge * shrunk)) for edge in grey.size)
    small = np.asarray(grey.resize((width, height), Image.Resampling.BOX))
    found = zip(*_cascade().detectMultiScale2(small, _STEP, _VOTES, minSize=(least, least)), strict=True)
    faces = [
        Face(_square(*(int(edge) / shrunk for edge in box[:3]), *grey.size), int(votes))
        for box, votes in found
    ]
    return sorted(faces, key=lambda face: (-face.square[2], face.square))


def is_cut_out(pixels: np.ndarray, faces: Sequence[Square]) -> bool:
    """Whether a picture in which `find_faces` found these is a face itself, which needs no cutting out."""
    shorter, longer = sorted(pixels.shape[:2])
    fills = bool(faces) and faces[0][2] >= _FILLS * shorter
    return longer <= _NEARLY_SQUARE * shorter and (shorter < _SMALL or fills)


def _square(left: float, top: float, side: float, width: int, height: int) -> Square:
    """The square that frames a face as FER2013 does, moved and cut so that it lies in the picture."""
    whole = min(round(side * _ROOM), width, height)
    left, top = (round(edge - (whole - side) / 2) for edge in (left, top))
    return min(max(left, 0), width - whole), min(max(top, 0), height - whole), whole

"""Where the faces of a photograph are: found by what FER2013's faces were cut out with.

That data set was collected by OpenCV's cascade of Haar features (Viola and Jones, 2001; Goodfellow et al.,
2013), so the squares that this one finds frame a face as its pictures do: from the hair to the chin.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image

from shards.pictures import as_image
from shards.schema import Square

_LOOKED_AT = 640
"""Pixels of the longer side of what is looked at: larger photographs are made smaller."""
_LEAST = 48
"""Pixels of the smallest face there."""
_STEP = 1.05
"""From one size of faces to the next."""
_VOTES = 5
"""How many of the cascade's windows have to agree on a face."""
_ROOM = 1.03
"""Sides of FER2013's pictures, in those of the squares that are found in them (the median of 600)."""
_FILLS = 0.7
"""Of the shorter side of a picture: a face as large as this was cut out already."""
_SMALL = 96
"""Pixels of the shorter side: so small a picture is a face that was cut out, as those of data sets are."""


@cache
def _cascade() -> cv2.CascadeClassifier:
    cv2.setNumThreads(0)  # processes that are forked later would wait for its threads for ever
    return cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")


def find_faces(pixels: np.ndarray) -> list[Square]:
    """The faces in a photograph, the largest first: those that are upright, frontal, and wholly in it.

    Args:
        pixels: uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels.
    """
    height, width = pixels.shape[:2]
    grey, shrunk = as_image(pixels).convert("L"), min(1.0, _LOOKED_AT / max(height, width))
    if shrunk < 1:
        size = (max(1, round(edge * shrunk)) for edge in (width, height))
        grey = grey.resize(tuple(size), Image.Resampling.BOX)
    boxes = _cascade().detectMultiScale(np.asarray(grey), _STEP, _VOTES, minSize=(_LEAST, _LEAST))
    squares = [_square(*(int(edge) / shrunk for edge in box[:3]), width, height) for box in boxes]
    return sorted(squares, key=lambda square: (-square[2], square))


def is_cut_out(pixels: np.ndarray, faces: Sequence[Square]) -> bool:
    """Whether a picture in which these faces were found is one itself, which needs no cutting out."""
    shorter = min(pixels.shape[:2])
    return shorter < _SMALL or any(side >= _FILLS * shorter for *_, side in faces)


def _square(left: float, top: float, side: float, width: int, height: int) -> Square:
    """The square that frames a face as FER2013 does, moved and cut so that it lies in the picture."""
    whole = min(round(side * _ROOM), width, height)
    left, top = (round(edge - (whole - side) / 2) for edge in (left, top))
    return min(max(left, 0), width - whole), min(max(top, 0), height - whole), whole

"""A photograph one of whose faces is changed in its own pixels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from fes.pictures import as_image, read_picture
from shards.schema import Square

_FADES = 0.08
"""Share of a face's side over which a change fades, at each border beyond which the photograph goes on."""


class Fine(NamedTuple):
    """A face in its photograph's own pixels."""

    picture: np.ndarray
    """uint8 [channels, side, side], with 1 (grey) or 3 (RGB) channels."""
    share: Tensor | None = None
    """float32 [side, side], how much of a change arrives where, from 0 to 1; None: all of it."""


class Photograph:
    """A photograph, and the square of a face in it."""

    def __init__(self, path: Path, pixels: np.ndarray, square: Square | None) -> None:
        """
        Args:
            pixels: what is in the file, upright, uint8 [height, width, channels].
            square: None: the central one.
        """
        height, width, _ = pixels.shape
        side = min(height, width)
        self.path, self.pixels = path, pixels
        self.square = square or ((width - side) // 2, (height - side) // 2, side)

    @property
    def side(self) -> int:
        """Height and width of the face, in pixels."""
        return self.square[2]

    def face(self, most: int) -> Fine:
        """The face alone, made smaller where it has more than `most` pixels a side.

        Raises:
            InputError: the square does not lie in the photograph.
        """
        return Fine(read_picture(self.path, min(self.side, most), self.pixels.shape[2], self.square))

    def place(self) -> Fine:
        """The face with all its pixels; at borders of its square at which the photograph goes on, what
        changes it fades."""
        left, top, side = self.square
        square = self.pixels[top : top + side, left : left + side]
        return Fine(rearrange(square, "h w c -> c h w").copy(), self._share())

    def changed(self, face: np.ndarray) -> Image.Image:
        """The whole photograph, with another face, uint8 [channels, side, side], in that place."""
        left, top, side = self.square
        pixels = self.pixels.copy()
        pixels[top : top + side, left : left + side] = rearrange(face, "c h w -> h w c")
        return as_image(rearrange(pixels, "h w c -> c h w"))

    def _share(self) -> Tensor:
        left, top, side = self.square
        height, width, _ = self.pixels.shape
        down = _rising(side, top > 0, top + side < height)
        return torch.outer(down, _rising(side, left > 0, left + side < width))


def _rising(side: int, at_first: bool, at_last: bool) -> Tensor:
    """float32 [side], from 0 to 1 within a share of the way from a border that fades, smoothly."""
    depth = (torch.arange(side) / (side * _FADES)).clamp_max(1)
    smooth = depth.square() * (3 - 2 * depth)
    ones = torch.ones(side)
    return (smooth if at_first else ones) * (smooth.flip(0) if at_last else ones)

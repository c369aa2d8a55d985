"""A photograph one of whose faces is changed in its own pixels."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from fes.errors import InputError
from fes.photographs.metadata import frames_of, metadata_of
from fes.pictures import told_by_name
from shards.pictures import as_image, on_white, opened, square_of
from shards.schema import Square
from shards.turning import upright

_FADES = 0.08
"""Share of a face's side over which a change fades, at each border beyond which the photograph goes on."""


class Fine(NamedTuple):
    """A face in its photograph's own pixels."""

    picture: np.ndarray
    """uint8 [channels, side, side], with 1 (grey) or 3 (RGB) channels."""
    share: Tensor | None = None
    """float32 [side, side], how much of a change arrives where, from 0 to 1; None: all of it."""


class Photograph:
    """A picture file, which is read once, and the square of a face in it."""

    def __init__(
        self,
        path: Path,
        pixels: np.ndarray,
        square: Square | None = None,
        rgba: np.ndarray | None = None,
        metadata: dict[str, object] | None = None,
        frames: int = 1,
    ) -> None:
        """
        Args:
            pixels: what is seen in the file, upright, on white, uint8 [height, width, channels].
            square: None: the central one.
            rgba: where there is transparency, the same as it is in the file, uint8 [height, width, 4].
            metadata: what else the file tells and a changed one is to tell, as Pillow calls it:
                `icc_profile`, `exif`, `dpi`.
            frames: how many pictures the file holds, the first of which this is.

        Raises:
            InputError: the square does not lie in the photograph.
        """
        height, width, _ = pixels.shape
        side = min(height, width)
        self.path, self.pixels = path, pixels
        self.square = left, top, side = square or ((width - side) // 2, (height - side) // 2, side)
        self._rgba, self._metadata, self._frames = rgba, metadata or {}, frames
        if left < 0 or top < 0 or side < 1 or left + side > width or top + side > height:
            raise InputError(
                f"the square of {side} pixels from {left}, {top} on does not lie in {path}, "
                f"which is {width} pixels wide and {height} high"
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """A picture file and its central square; raises `InputError` where there is no such picture."""
        with told_by_name(path), opened(path.read_bytes()) as image:
            turned = upright(image)
            pixels = on_white(turned)
            # Of 16 bits Pillow makes no colours.
            clear = turned.has_transparency_data and not turned.mode.startswith("I")
            rgba = np.asarray(turned.convert("RGBA")) if clear else None
            metadata = metadata_of(image, pixels.shape[2], turned=image.size != turned.size)
            frames = frames_of(image)
        return cls(path, pixels, None, rgba, metadata, frames)

    def around(self, square: Square | None) -> Self:
        """The same photograph with another square; raises `InputError` as the constructor does."""
        return type(self)(self.path, self.pixels, square, self._rgba, self._metadata, self._frames)

    @property
    def told(self) -> str:
        """Which picture of which file it is, for people."""
        return str(self.path) + (f" (the first of its {self._frames} pictures)" if self._frames > 1 else "")

    def face(self, resolution: int, channels: int) -> np.ndarray:
        """The face as networks take it, uint8 [channels, resolution, resolution]."""
        return square_of(self.pixels, self.square, resolution, channels)

    def fine(self, most: int) -> Fine:
        """The face alone, in its own colours, made smaller where it has more than `most` pixels a side."""
        return Fine(self.face(min(self.square[2], most), self.pixels.shape[2]))

    def place(self) -> Fine:
        """The face with all its pixels, and a share that falls to 0 at those borders of its square beyond
        which the photograph goes on."""
        return Fine(self.fine(self.square[2]).picture, self._share())

    def changed(self, face: np.ndarray) -> Image.Image:
        """The whole photograph, with another face, uint8 [channels, side, side], in that place.

        It has the file's colour profile, resolution and transparency, and of its EXIF what is true still: who
        took it of what, when, where and how.
        """
        left, top, side = self.square
        place = slice(top, top + side), slice(left, left + side)
        face = rearrange(face, "c h w -> h w c")
        if self._rgba is None:
            pixels = self.pixels.copy()
            pixels[place] = face
        else:
            pixels = self._rgba.copy()
            pixels[place] = _uncomposited(face, self.pixels[place], self._rgba[place])
        image = as_image(pixels)
        image.info.update(self._metadata)
        return image

    @property
    def profile(self) -> dict[str, object]:
        """{"icc_profile": bytes} for what is made of its pixels; empty where the file has none that fits."""
        return {name: value for name, value in self._metadata.items() if name == "icc_profile"}

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


def _uncomposited(seen: np.ndarray, before: np.ndarray, rgba: np.ndarray) -> np.ndarray:
    """What is seen on white as something transparent, uint8 [height, width, 4].

    Args:
        seen: uint8 [height, width, 3].
        before: the same without the change.
        rgba: what that was of, uint8 [height, width, 4], whose transparency stays.
    """
    opaque = rgba[..., 3:].astype(np.float32) / 255
    colour = 255 - (255 - seen.astype(np.float32)) / opaque.clip(1 / 255)
    changed = (seen != before).any(2, keepdims=True) & (opaque > 0)
    colour = np.where(changed, colour.round().clip(0, 255).astype(np.uint8), rgba[..., :3])
    return np.concatenate([colour, rgba[..., 3:]], axis=2)

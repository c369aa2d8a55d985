"""A photograph one of whose faces is changed in its own pixels."""

import contextlib
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from fes.errors import InputError
from fes.pictures import as_image, told_by_name
from shards.pictures import opened, shown, square_of
from shards.schema import Square

_FADES = 0.08
"""Share of a face's side over which a change fades, at each border beyond which the photograph goes on."""
_SOFTWARE = 0x0131
"""The EXIF tag that names what made a picture."""
_SPACES = {1: b"GRAY", 3: b"RGB "}
"""What an ICC profile says, from its 17th byte on, that it is of, by channels."""


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
        clear: np.ndarray | None = None,
        kept: dict[str, object] | None = None,
    ) -> None:
        """
        Args:
            pixels: what is seen in the file, upright, on white, uint8 [height, width, channels].
            square: None: the central one.
            clear: where there is transparency, the same as it is in the file, uint8 [height, width, 4].
            kept: what else the file tells and a changed one tells too, as Pillow calls it: `icc_profile`,
                `exif`, `dpi`.

        Raises:
            InputError: the square does not lie in the photograph.
        """
        height, width, _ = pixels.shape
        side = min(height, width)
        self.path, self.pixels = path, pixels
        self.square = left, top, side = square or ((width - side) // 2, (height - side) // 2, side)
        self._clear, self._kept = clear, kept or {}
        if left < 0 or top < 0 or side < 1 or left + side > width or top + side > height:
            raise InputError(
                f"the square of {side} pixels from {left}, {top} on does not lie in {path}, "
                f"which is {width} pixels wide and {height} high"
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """A picture file and its central square; raises `InputError` where there is no such picture."""
        with told_by_name(path), opened(path.read_bytes()) as image:
            upright = ImageOps.exif_transpose(image)
            clear = np.asarray(upright.convert("RGBA")) if upright.has_transparency_data else None
            pixels = shown(upright)
            kept = _told_beside(upright, pixels.shape[2])
        return cls(path, pixels, None, clear, kept)

    def around(self, square: Square | None) -> Self:
        """The same photograph with another square; raises `InputError` as the constructor does."""
        return type(self)(self.path, self.pixels, square, self._clear, self._kept)

    def face(self, resolution: int, channels: int) -> np.ndarray:
        """The face as networks take it, uint8 [channels, resolution, resolution]."""
        return square_of(self.pixels, self.square, resolution, channels)

    def fine(self, most: int) -> Fine:
        """The face alone, in its own colours, made smaller where it has more than `most` pixels a side."""
        return Fine(self.face(min(self.square[2], most), self.pixels.shape[2]))

    def place(self) -> Fine:
        """The face with all its pixels; at borders of its square at which the photograph goes on, what
        changes it fades."""
        return Fine(self.fine(self.square[2]).picture, self._share())

    def changed(self, face: np.ndarray) -> Image.Image:
        """The whole photograph, with another face, uint8 [channels, side, side], in that place.

        It has the file's colour profile, EXIF and resolution, but for the EXIF's orientation and small
        picture, which are true no longer; and its transparency.
        """
        left, top, side = self.square
        place = slice(top, top + side), slice(left, left + side)
        face = rearrange(face, "c h w -> h w c")
        if self._clear is None:
            pixels = self.pixels.copy()
            pixels[place] = face
        else:
            pixels = self._clear.copy()
            pixels[place] = _off_white(face, self.pixels[place], self._clear[place])
        image = as_image(rearrange(pixels, "h w c -> c h w"))
        image.info.update(self._kept)
        return image

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


def _off_white(seen: np.ndarray, before: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """What is seen on white as something transparent, uint8 [height, width, 4].

    Args:
        seen: uint8 [height, width, 3].
        before: the same without the change.
        clear: what that was of, uint8 [height, width, 4], whose transparency stays.
    """
    opaque = clear[..., 3:].astype(np.float32) / 255
    colour = 255 - (255 - seen.astype(np.float32)) / opaque.clip(1 / 255)
    changed = (seen != before).any(2, keepdims=True) & (opaque > 0)
    colour = np.where(changed, colour.round().clip(0, 255).astype(np.uint8), clear[..., :3])
    return np.concatenate([colour, clear[..., 3:]], axis=2)


def _told_beside(upright: Image.Image, channels: int) -> dict[str, object]:
    """What a picture file tells beside its pixels."""
    kept = {"dpi": upright.info["dpi"]} if "dpi" in upright.info else {}
    profile = upright.info.get("icc_profile") or b""
    if profile[16:20] == _SPACES[channels]:  # that of a print's CMYK is not of the RGB which was made of it
        kept["icc_profile"] = profile
    with contextlib.suppress(Exception):  # cameras write what Pillow cannot read: it is not worth the picture
        exif = upright.getexif()
        exif[_SOFTWARE] = "fes, which changed the expression of a face"
        kept["exif"] = exif.tobytes()
    return kept

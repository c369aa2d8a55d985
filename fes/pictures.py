"""Pictures as arrays, and as files.

Pictures travel as uint8 [batch, channels, height, width] and become float in [-1, 1] on the device.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fes.errors import InputError
from shards.pictures import decode_picture, normalised
from shards.schema import Crop, Square

_QUALITY = 95
"""Of pictures in formats that lose something: Pillow's own 75 and 80 are seen in a photograph."""
_CAPTION = 18
_GAP = 4


def to_float(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 0..255 -> `dtype` in [-1, 1]."""
    return image.to(dtype).div_(127.5).sub_(1.0)


def to_uint8(x: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8 0..255, rounded; values outside are clipped."""
    return x.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def read_picture(path: Path, resolution: int, channels: int, square: Square | None = None) -> np.ndarray:
    """A picture file, of any size, grey or colour -> uint8 [channels, resolution, resolution].

    It is read as those that are trained on: upright, and cut to its central square, or to `square`.

    Raises:
        InputError: no such file, not a picture, or `square` does not lie in it.
    """
    with _told_by_its_name(path):
        kept, pixels = normalised(path.read_bytes())
        crop = _crop_of(path, pixels, square) if square else None
        return decode_picture(kept, resolution, channels, crop)


def read_pixels(path: Path) -> np.ndarray:
    """A picture file, upright -> uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels.

    Raises:
        InputError: no such file, or not a picture.
    """
    with _told_by_its_name(path):
        return normalised(path.read_bytes())[1]


@contextlib.contextmanager
def _told_by_its_name(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"no picture at {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from None


def _crop_of(path: Path, pixels: np.ndarray, square: Square) -> Crop:
    (height, width, _), (left, top, side) = pixels.shape, square
    if left < 0 or top < 0 or side < 1 or left + side > width or top + side > height:
        raise InputError(
            f"the square of {side} pixels from {left}, {top} on does not lie in {path}, "
            f"which is {width} pixels wide and {height} high"
        )
    return Crop(width, height, left, top, side)


def as_image(picture: np.ndarray) -> Image.Image:
    """uint8 [channels, height, width] with 1 or 3 channels -> the same as a Pillow image."""
    return Image.fromarray(picture[0] if len(picture) == 1 else rearrange(picture, "c h w -> h w c"))


def sheet(rows: np.ndarray, captions: Sequence[str] = (), tile: int | None = None) -> Image.Image:
    """Pictures in rows and columns, as one.

    Args:
        rows: uint8 [rows, columns, channels, height, width].
        captions: one for each column, or none.
        tile: height and width of each picture on the sheet; None: as they are.
    """
    tile = tile or rows.shape[-1]
    step, top = tile + _GAP, _CAPTION if captions else 0
    mode = "L" if rows.shape[2] == 1 else "RGB"
    size = (rows.shape[1] * step - _GAP, rows.shape[0] * step - _GAP + top)
    page = Image.new(mode, size, "white")
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            image = as_image(picture).resize((tile, tile), Image.Resampling.BICUBIC)
            page.paste(image, (c * step, top + r * step))
    draw = ImageDraw.Draw(page)
    for c, caption in enumerate(captions):
        at = (c * step + tile // 2, _CAPTION // 2)
        draw.text(at, caption, "black", ImageFont.load_default(12), anchor="mm")
    return page


def write_picture(image: Image.Image, path: Path) -> None:
    """Saves in the format that the file's ending names, making the folder if need be.

    Raises:
        InputError: the ending names no format, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=_QUALITY)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write the picture {path}: {reason}") from None

"""Pictures as arrays, and as files."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont

from fes.errors import InputError
from fes.files import make_folder, write_file
from shards.pictures import UNKNOWN, UnreadablePicture

_QUALITY = 95
"""Of pictures in formats that lose something: Pillow's own 75 and 80 are seen in a photograph."""
_FORMATS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"},
    **{".gif": "GIF", ".bmp": "BMP", ".ppm": "PPM"},
}
"""What is written, by the ending of the file's name."""
_READ = "JPEG, PNG, WebP, AVIF, JPEG 2000, TIFF, GIF, BMP, PPM"
"""What is read, which `shards.pictures.FORMATS` lists, for people."""
_CLEAR = "PNG", "WEBP", "TIFF", "GIF"
"""Formats that know transparency."""
_CAPTION = 18
_GAP = 4


@contextlib.contextmanager
def told_by_name(path: Path) -> Iterator[None]:
    """What reading a picture file raises, as an `InputError` that names the file."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path} takes more memory than there is: make the picture smaller") from None
    except FileNotFoundError:
        raise InputError(_nothing_at(path)) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name a picture in it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnreadablePicture as error:
        if error.why == UNKNOWN:
            raise InputError(f"{path} is no picture that fes reads ({_READ})") from None
        raise InputError(f"{path} cannot be read as a picture: {error.why}") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from None


def _nothing_at(path: Path) -> str:
    """What to say of a file that is not there; of an address, `Path` has left one slash of two."""
    address = re.fullmatch(r"([a-z][a-z0-9+.-]+:)/+(.+)", str(path))
    if address:
        return f"{address[1]}//{address[2]} is an address: fetch the picture first, and name its file"
    return f"no picture at {path}"


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


def check_ending(flag: str, path: Path) -> None:
    """Raises `InputError`, which names the flag, where the ending names no format that is written."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{flag} {path} names no format: let it end in {', '.join(_FORMATS)}")


def write_picture(image: Image.Image, path: Path) -> None:
    """Saves in the format that the file's ending names, making the folder if need be.

    A colour profile, EXIF and resolution that the image has (`info`) are written where the format knows them;
    transparency is, or is laid on white.

    Raises:
        InputError: the ending names no format, or the file cannot be written; one that was there is left.
    """
    check_ending("the picture", path)
    kind = _FORMATS[path.suffix.lower()]
    beside = {name: image.info[name] for name in ("icc_profile", "exif", "dpi") if name in image.info}
    if image.mode == "RGBA" and kind not in _CLEAR:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if kind == "JPEG":
        beside["subsampling"] = 0  # else colours are smeared over two pixels, also where nothing was changed
    file = io.BytesIO()
    try:
        image.save(file, kind, quality=_QUALITY, **beside)
    except (OSError, ValueError) as error:  # as WebP for pictures that are very long
        raise InputError(f"cannot write the picture {path}: {error}") from None
    make_folder(path.parent)
    write_file(path, file.getvalue())

"""Pictures as arrays and as the bytes of PNG and JPEG files."""

import contextlib
import io
import math
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from shards.schema import Crop, Square, central_square
from shards.turning import LYING, SOI, UPRIGHT, jpeg_may_be_turned, orientation, png_may_be_turned, upright

PLAIN = ("PNG", "JPEG")
# Pillow knows more kinds, some of which start other programs.
FORMATS = (*PLAIN, "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "TIFF", "PPM")
PICTURE_SUFFIXES = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "dib", "gif", "tif", "tiff", "webp", "avif", "jp2"),
        *("pgm", "ppm", "pbm", "pnm", "heic", "heif"),
    )
)
"""The endings of the names of files that are taken for pictures, also of kinds that are not read."""
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What telephones' pictures that are not read are told by (ISO/IEC 23008-12): their main brand."""
_AVIF = (b"avif", b"avis")
"""The main brands of one picture and of several (AV1 Image File Format, section 9)."""
LARGEST = 2**28
"""The most bytes that a picture's file may have: memory is no place for what is larger."""
MOST_PIXELS = 80_000_000
"""Larger pictures are refused: the file of some kilobytes that unfolds to gigabytes is no face."""
UNKNOWN = "of no known kind"
UNBOUNDED = "numbers that are not of 8 or 16 bits"
TOO_LARGE = f"more than {MOST_PIXELS:,} pixels, the most that are read: make it smaller"
# What is too large is refused, and damaged EXIF is no fault of what is to be seen.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def encode_picture(picture: np.ndarray) -> bytes:
    """A PNG file of uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels, lossless."""
    buffer = io.BytesIO()
    # Z_RLE: photographs get no smaller otherwise, only slower.
    as_image(picture).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def as_image(picture: np.ndarray) -> Image.Image:
    """uint8 [height, width, channels] with 1, 3 (RGB) or 4 (RGBA) channels -> the same as a Pillow image."""
    return Image.fromarray(picture.squeeze(axis=2) if picture.shape[2] == 1 else picture)


def suffix_of(picture: bytes) -> str:
    """The ending of a file with these bytes, which are a JPEG's or a PNG's."""
    return "jpg" if picture.startswith(SOI) else "png"


def normalised(data: bytes) -> tuple[bytes, np.ndarray]:
    """A picture file of any kind -> the bytes to keep of it, and its pixels.

    A plain JPEG or PNG (8 bits a value, grey or RGB, upright) is kept byte for byte, anything else
    becomes a PNG of what it shows: turned upright as its EXIF mark says, transparency on white, 16 bits
    as their upper eight, and of several pictures the first.

    Returns the file's bytes, and uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels.
    Raises ValueError, in a few words, where the bytes are no readable picture, and MemoryError where there
    is no room for it, which is no fault of the picture.
    """
    with opened(data) as image:
        plain, pixels = _is_plain(image), shown(image)
    return (data if plain else encode_picture(pixels)), pixels


class UnreadablePicture(ValueError):
    """Bytes that are no picture which is read."""

    def __init__(self, why: str) -> None:
        """
        Args:
            why: a few words, the same for all pictures that have the same trouble.
        """
        super().__init__(f"no readable picture ({why})")
        self.why = why


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture file of any kind that is read; it is decoded where it is first asked for pixels.

    Raises:
        UnreadablePicture: also where what is done with the picture fails.
        MemoryError: there is no room for it, which is no fault of the picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_giant(*image.size)
            yield image
    except MemoryError:
        raise
    except Exception as error:  # Pillow meets damage with a dozen kinds of exception
        raise UnreadablePicture(_kind(error, data)) from error


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of what a picture file shows, upright; None where it tells none.

    Of most kinds the beginning of the file alone is looked at: that there is a size says nothing of the rest.
    Raises MemoryError as `normalised`.
    """
    with contextlib.suppress(ValueError), opened(data) as image:
        return image.size[::-1] if orientation(image) in LYING else image.size
    return None


def _kind(error: Exception, data: bytes) -> str:
    """A few words on what is wrong, the same for all pictures that have the same trouble."""
    if isinstance(error, Image.UnidentifiedImageError):
        brand = data[8:12] if data[4:8] == b"ftyp" else b""
        if brand in _HEIF:
            return "HEIC, which is not read: save it as JPEG"
        return "cut short or damaged" if brand in _AVIF else UNKNOWN
    # Pillow refuses what is far too large itself, and warns of what is nearly so.
    if isinstance(error, (_TooLarge, Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return TOO_LARGE
    if isinstance(error, _Unbounded):
        return UNBOUNDED
    return "cut short or damaged"


class _TooLarge(ValueError):
    pass


class _Unbounded(ValueError):
    pass


def _refuse_giant(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _TooLarge


def _is_plain(image: Image.Image) -> bool:
    eight_bits = image.mode in ("L", "RGB") and "transparency" not in image.info
    as_it_is = orientation(image) == UPRIGHT
    return image.format in PLAIN and eight_bits and as_it_is and getattr(image, "n_frames", 1) == 1


def shown(image: Image.Image) -> np.ndarray:
    """What a picture shows: `on_white` of it `upright`."""
    return on_white(upright(image))


def on_white(image: Image.Image) -> np.ndarray:
    """What a picture shows as it lies: uint8 [height, width, channels], grey where it knows no colours.

    Transparency is seen on white, and of 16 bits the upper eight.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) >= 2**16:
            raise _Unbounded
        deep = values.max(initial=0) > 255
        image = Image.fromarray((values >> 8 if deep else values).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def decode_picture(data: bytes, resolution: int, channels: int, crop: Crop | None = None) -> np.ndarray:
    """A picture file -> the square of it that `crop` tells, or its central one.

    A square of `resolution` pixels comes as it is in the file; another one is resized (Lanczos).
    Returns uint8 [channels, resolution, resolution], writable: 1 channel is its grey (ITU-R 601), 3 are
    RGB. Raises ValueError where the bytes are no picture, and MemoryError where there is no room for it.
    """
    try:
        pixels, size = _decoded(data, resolution, channels, crop)
    except MemoryError:
        raise
    except Exception as error:  # libraries meet damage with a dozen kinds of exception
        raise ValueError(f"is no readable picture ({_kind(error, data)})") from error
    height, width = pixels.shape[:2]
    box = crop.box(*size) if crop else central_square(*size)
    across, down = width / size[0], height / size[1]
    return _square(pixels, (box[0] * across, box[1] * down, box[2] * across, box[3] * down), resolution)


def _decoded(
    data: bytes, resolution: int, channels: int, crop: Crop | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """uint8 [height, width, channels], and the width and height of the whole, which may be larger."""
    if data.startswith(SOI) and not jpeg_may_be_turned(data):
        # It refuses what is damaged but a little, which Pillow reads.
        with contextlib.suppress(ValueError):
            return _decoded_jpeg(data, resolution, channels, crop)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _refuse_giant(*image.size)
        # Plain PNG files, the commonest of all, are spared the questions of all other kinds.
        image.load()  # some tell only behind the pixels that they are not
        ordinary = image.format == "PNG" and image.mode in ("L", "RGB") and not png_may_be_turned(image)
        if ordinary and "transparency" not in image.info:
            pixels = np.asarray(image).reshape(image.height, image.width, -1)
        else:
            pixels = shown(image)
    if pixels.shape[2] != channels:
        pixels = _with_channels(pixels, channels)
    return pixels, (pixels.shape[1], pixels.shape[0])


def _decoded_jpeg(
    data: bytes, resolution: int, channels: int, crop: Crop | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Like `_decoded`, to the same pixels as Pillow's (a test holds it to them) in half the time.

    Large pictures are decoded at a half, a quarter or an eighth, as long as what is read of them keeps
    twice the resolution that is asked for. Raises ValueError where it is not to be decoded so.
    """
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    if colours not in ("Gray", "YCbCr") or width * height > MOST_PIXELS:
        raise ValueError
    box = crop.box(width, height) if crop else central_square(width, height)
    spare = min(1.0, 2 * resolution / min(box[2] - box[0], box[3] - box[1]))
    least = math.ceil(height * spare), math.ceil(width * spare)
    kind = "GRAY" if channels == 1 else "RGB"
    pixels = simplejpeg.decode_jpeg(data, kind, min_height=least[0], min_width=least[1])
    return pixels.reshape(*pixels.shape[:2], channels), (width, height)


def square_of(pixels: np.ndarray, square: Square, resolution: int, channels: int) -> np.ndarray:
    """What `decode_picture` gives, of a picture that is decoded already; of JPEGs, of which that decodes no
    more than is needed, nearly so.

    Args:
        pixels: uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels, in which `square` lies.

    Returns:
        uint8 [channels, resolution, resolution], writable.
    """
    left, top, side = square
    if pixels.shape[2] != channels:
        pixels = _with_channels(pixels, channels)
    return _square(pixels, (left, top, left + side, top + side), resolution)


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    converted = np.asarray(as_image(pixels).convert("L" if channels == 1 else "RGB"))
    return converted.reshape(*pixels.shape[:2], channels)


def _square(pixels: np.ndarray, box: tuple[float, float, float, float], resolution: int) -> np.ndarray:
    """uint8 [height, width, channels] -> that box of it, uint8 [channels, resolution, resolution]."""
    left, top, right, bottom = (round(edge) for edge in box)
    if (left, top, right, bottom) == box and right - left == bottom - top == resolution:
        square = pixels[top:bottom, left:right]
    else:
        image = as_image(pixels).resize((resolution, resolution), Image.Resampling.LANCZOS, box)
        square = np.asarray(image).reshape(resolution, resolution, -1)
    return np.array(square.transpose(2, 0, 1), order="C")

"""Pictures as arrays and as the bytes of PNG files."""

import io
import zlib

import numpy as np
from PIL import Image


def encode_picture(picture: np.ndarray) -> bytes:
    """A PNG file of uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels, lossless."""
    buffer = io.BytesIO()
    grey = picture.shape[2] == 1
    image = Image.fromarray(picture.squeeze(axis=2) if grey else picture)
    image.save(buffer, "PNG", compress_type=zlib.Z_RLE)  # photos get no smaller otherwise, only slower
    return buffer.getvalue()


def decode_picture(data: bytes, resolution: int, channels: int) -> np.ndarray:
    """The picture in a PNG file as uint8 [channels, height, width].

    Raises ValueError where the bytes are no picture, or one of another size or kind.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            pixels = np.array(image)
    except Exception as error:  # Pillow meets damage with a dozen kinds of exception
        raise ValueError(f"is no readable PNG ({error})") from error
    if channels == 1 and pixels.ndim == 2:
        pixels = pixels[:, :, None]
    expected = (resolution, resolution, channels)
    if pixels.dtype != np.uint8 or pixels.shape != expected:
        raise ValueError(f"is {pixels.dtype} {pixels.shape}, not uint8 {expected}")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))

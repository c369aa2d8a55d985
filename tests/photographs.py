"""Photographs of people of docs/people.png, whose first column shows nine of them, and made-up pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

from fes.photographs.photograph import Photograph
from fes.pictures import write_picture

SHEET = Path(__file__).parents[1] / "docs/people.png"
TILE, TOP, STEP = 96, 22, 100


def people() -> list[Image.Image]:
    """Nine people, each cut out as FER2013's faces are: grey, 96 pixels, from the hair to the chin."""
    with Image.open(SHEET) as sheet:
        tops = range(TOP, sheet.height, STEP)
        return [sheet.crop((0, top, TILE, top + TILE)) for top in tops]


def photograph(
    size: tuple[int, int], *placed: tuple[Image.Image, tuple[int, int], int], mode: str = "L"
) -> np.ndarray:
    """A wall with faces at these places, of these sides."""
    wall = Image.new("L", size, 180)
    for face, place, side in placed:
        wall.paste(face.resize((side, side), Image.Resampling.BICUBIC), place)
    pixels = np.asarray(wall.convert(mode))
    return pixels[:, :, None] if mode == "L" else pixels


def gradient(height: int, width: int) -> np.ndarray:
    """Grey from black on the left to white on the right, uint8 [height, width]."""
    return np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))


def quarters(size: int = 64) -> Image.Image:
    """Red and green above, blue and white below."""
    pixels = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    pixels[:half, :half, 0] = pixels[:half, half:, 1] = pixels[half:, :half, 2] = 255
    pixels[half:, half:] = 255
    return Image.fromarray(pixels)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    """The same path, where the picture is now."""
    image.save(path, **options)
    return path


def written(photograph: Photograph, path: Path) -> Image.Image:
    """A photograph whose face was made its negative, as a file, read again."""
    write_picture(photograph.changed(255 - photograph.place().picture), path)
    with Image.open(path) as image:
        image.load()
        return image

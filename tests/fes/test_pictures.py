"""Pictures as arrays and as files."""

import numpy as np
import pytest
from PIL import Image

from fes.errors import InputError
from fes.pictures import sheet, write_picture
from tests.photographs import quarters


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_has_its_pictures_in_rows_and_columns(channels):
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * 40
    page = np.asarray(sheet(np.broadcast_to(rows, (2, 3, channels, 10, 10))).convert("L"))
    assert page.shape == (2 * 14 - 4, 3 * 14 - 4)
    for r in range(2):
        for c in range(3):
            assert (page[r * 14 : r * 14 + 10, c * 14 : c * 14 + 10] == (3 * r + c) * 40).all()
    assert (page[10:14] == 255).all()
    assert (page[:, 10:14] == 255).all()


def test_captions_stand_above_their_columns_and_tiles_are_enlarged():
    rows = np.zeros((1, 2, 1, 48, 48), np.uint8)
    page = np.asarray(sheet(rows, ("left", ""), tile=100))
    assert page.shape == (18 + 100, 2 * 104 - 4)
    assert (page[18:, :100] == 0).all()
    assert page[:18, :100].min() < 128  # letters
    assert page[:18, 104:].min() == 255


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_picture_is_written_in_the_format_of_its_ending_and_its_folder_made(tmp_path, ending):
    path = tmp_path / "new" / f"a.{ending}"
    write_picture(quarters(), path)
    with Image.open(path) as image:
        assert image.format == {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[ending]


def test_little_is_lost_of_a_photograph_that_is_written_as_jpeg(tmp_path):
    smooth = np.asarray(Image.radial_gradient("L"))
    pixels = np.stack([smooth, smooth.T, 255 - smooth], 2)
    write_picture(Image.fromarray(pixels), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 1.0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a", "the picture .*a names no format: let it end in .png"),
        ("a.xyz", "names no format"),
        ("file/a.png", "cannot write to the folder"),
        ("folder.png", "cannot write .*folder.png: Is a directory"),
    ],
)
def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path, name, told):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=told):
        write_picture(quarters(), tmp_path / name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_picture_that_a_format_cannot_hold_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "a.webp"
    write_picture(quarters(), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"cannot write the picture .*webp"):
        write_picture(Image.new("L", (17_000, 4)), path)
    assert path.read_bytes() == before


def test_a_jpeg_keeps_colours_that_lie_side_by_side(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, ::2], pixels[:, 1::2] = (200, 60, 60), (60, 60, 200)
    write_picture(Image.fromarray(pixels), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - pixels).max() < 30

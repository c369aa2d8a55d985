"""A photograph whose face is changed in its own pixels."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fes.errors import InputError
from fes.photographs.photograph import Photograph
from fes.pictures import as_image, write_picture
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.pictures import decode_picture
from shards.schema import Square
from shards.sources.folder import read_folder
from tests.photographs import gradient, quarters, saved, written

TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be turned by a quarter


def read_picture(path: Path, resolution: int, channels: int, square: Square | None = None) -> np.ndarray:
    """The face of a picture file, as networks take it."""
    return Photograph.read(path).around(square).face(resolution, channels)


def photographed(folder: Path, width: int = 90, height: int = 60) -> tuple[Path, np.ndarray]:
    """A photograph of noise in colour, as a file and as pixels."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / "me.png")
    return folder / "me.png", Photograph.read(folder / "me.png").pixels


def test_without_a_square_the_central_one_is_meant(tmp_path: Path) -> None:
    photograph = Photograph(*photographed(tmp_path), None)
    assert photograph.square == (15, 0, 60)
    assert photograph.place().picture.shape == (3, 60, 60)


def test_the_face_is_its_square_made_smaller_where_it_is_too_large(tmp_path: Path) -> None:
    path, pixels = photographed(tmp_path)
    photograph = Photograph(path, pixels, (10, 5, 40))
    whole = photograph.fine(most=100).picture
    assert np.array_equal(whole, pixels[5:45, 10:50].transpose(2, 0, 1))
    assert photograph.fine(most=20).picture.shape == (3, 20, 20)
    assert photograph.fine(most=20).share is None


def test_of_several_pictures_in_a_file_it_is_said_that_one_is_taken(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (60, 60), colour) for colour in ("white", "black"))
    for name in ("moving.gif", "pages.tif", "camera.mpo"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
    told = " (the first of its 2 pictures)"
    for name, more in (("moving.gif", told), ("pages.tif", told), ("camera.mpo", "")):
        photograph = Photograph.read(tmp_path / name).around((0, 0, 50))
        assert photograph.told == f"{tmp_path / name}{more}"
        assert (photograph.pixels == 255).all()


def test_a_face_comes_back_into_its_place_and_nothing_else_changes(tmp_path: Path) -> None:
    path, pixels = photographed(tmp_path)
    photograph = Photograph(path, pixels, (10, 5, 40))
    place = photograph.place()
    assert np.array_equal(np.asarray(photograph.changed(place.picture)), pixels)
    changed = np.asarray(photograph.changed(255 - place.picture))
    assert np.array_equal(changed[5:45, 10:50], 255 - pixels[5:45, 10:50])
    changed = changed.copy()
    changed[5:45, 10:50] = pixels[5:45, 10:50]
    assert np.array_equal(changed, pixels)


def test_a_change_fades_where_the_photograph_goes_on_and_not_at_its_own_borders(tmp_path: Path) -> None:
    path, pixels = photographed(tmp_path)
    inside = Photograph(path, pixels, (10, 5, 50)).place().share
    for border in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        assert torch.equal(border, torch.zeros(50))
    assert torch.equal(inside[10:40, 10:40], torch.ones(30, 30))
    assert inside.diff(dim=0)[:25].min() >= 0
    assert torch.allclose(inside[25, :5], torch.tensor([0, 0.15625, 0.5, 0.84375, 1]))  # 0.08 of 50
    left = Photograph(path, pixels, (0, 0, 60)).place().share  # as high as the photograph, and at its left
    assert torch.equal(left[:, 0], torch.ones(60))
    assert torch.equal(left[0, :50], torch.ones(50))
    assert torch.equal(left[:, -1], torch.zeros(60))
    lower = Photograph(path, pixels, (0, 5, 50)).place().share  # at its left alone
    assert torch.equal(lower[10:40, 0], torch.ones(30))
    assert torch.equal(lower[0], torch.zeros(50))


def test_a_square_beyond_the_photograph_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not lie in"):
        Photograph(*photographed(tmp_path), (60, 0, 50))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_picture_of_the_right_size_is_read_as_it_is(tmp_path, channels):
    shape = (48, 48) if channels == 1 else (48, 48, 3)
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    picture = read_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"), 48, channels)
    assert (picture.dtype, picture.shape) == (np.uint8, (channels, 48, 48))
    assert np.array_equal(np.asarray(as_image(picture)), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_every_mode_are_read_alike(tmp_path, mode, channels):
    ending = "tiff" if mode in ("CMYK", "YCbCr") else "png"
    black_and_white = Image.fromarray(np.repeat(np.repeat(np.uint8([[0, 255], [255, 0]]), 32, 0), 32, 1))
    path = saved(black_and_white.convert("RGB").convert(mode), tmp_path / f"a.{ending}")
    picture = read_picture(path, 48, channels).astype(int)
    assert picture.shape == (channels, 48, 48)
    assert picture[:, 5:15, 5:15].max() < 10
    assert picture[:, 5:15, 33:43].min() > 245


def test_a_picture_of_16_bits_keeps_its_greys(tmp_path):
    deep = (gradient(64, 64).astype(np.uint16) << 8) + 17
    for ending in ("png", "tiff"):
        path = saved(Image.fromarray(deep), tmp_path / f"a.{ending}")
        for channels in (1, 3):
            assert np.array_equal(read_picture(path, 64, channels)[-1], gradient(64, 64))


def test_colours_stay_in_their_places(tmp_path):
    picture = read_picture(saved(quarters(), tmp_path / "a.png"), 48, 3)
    corners = picture[:, [5, 5, 42, 42], [5, 42, 5, 42]].T
    assert corners.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize(("mark", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_rotation_marks_of_cameras_are_obeyed(tmp_path, mark, turns):
    marks = Image.Exif()
    marks[0x0112] = mark
    path = saved(quarters(), tmp_path / "a.png", exif=marks)
    upright = read_picture(saved(quarters(), tmp_path / "b.png"), 48, 3)
    turned = np.rot90(upright, turns, axes=(1, 2)).astype(int)
    assert np.abs(read_picture(path, 48, 3) - turned).max() <= 4  # resizing rounds along one axis first


@pytest.mark.parametrize("size", [(200, 100), (100, 200)])
def test_a_picture_that_is_not_square_is_cut_to_its_central_square(tmp_path, size):
    width, height = size
    pixels = np.full((height, width), 255, np.uint8)
    top, left = (height - 100) // 2, (width - 100) // 2
    pixels[top : top + 100, left : left + 100] = 100
    picture = read_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"), 48, 1)
    assert (picture[:, 4:44, 4:44] == 100).all()  # what was cut off shines through at the rim
    assert picture.max() < 120


def test_a_square_of_a_picture_is_read_upright(tmp_path):
    path = saved(Image.fromarray(gradient(100, 200)), tmp_path / "a.png")
    assert np.array_equal(read_picture(path, 48, 1, (30, 20, 48))[0], gradient(100, 200)[20:68, 30:78])
    turned, exif = Image.fromarray(gradient(100, 200)), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, so that it is 100 wide and 200 high
    turned.save(tmp_path / "b.png", exif=exif)
    upright = np.rot90(gradient(100, 200), -1)
    assert np.array_equal(read_picture(tmp_path / "b.png", 48, 1, (20, 130, 48))[0], upright[130:178, 20:68])


@pytest.mark.parametrize("square", [(-1, 0, 48), (0, -1, 48), (0, 0, 0), (160, 0, 48), (0, 60, 48)])
def test_a_square_beyond_a_picture_is_one_sentence(tmp_path, square):
    path = saved(Image.fromarray(gradient(100, 200)), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"does not lie in .*a\.png, which is 200 pixels wide and 100 high$"):
        read_picture(path, 48, 1, square)


def test_a_small_picture_is_enlarged(tmp_path):
    path = saved(Image.fromarray(gradient(10, 10)), tmp_path / "a.png")
    row = read_picture(path, 96, 1)[0, 50].astype(int)
    assert (np.diff(row) >= -1).all()
    assert row[0] < 10 < 245 < row[-1]


def test_a_picture_file_is_read_as_the_shards_that_hold_it_are(tmp_path):
    marks = Image.Exif()
    marks[0x0112] = 6
    folder = tmp_path / "faces" / "train" / "happy"
    folder.mkdir(parents=True)
    clear = quarters(70)
    clear.putalpha(Image.fromarray(gradient(70, 70)))
    clear.save(folder / "clear.png")
    quarters(100).crop((0, 0, 100, 60)).save(folder / "turned.jpg", exif=marks, quality=90)
    Image.fromarray(gradient(64, 80).astype(np.uint16) << 8).save(folder / "deep.png")
    quarters(90).convert("P").save(folder / "palette.png")
    quarters(66).convert("CMYK").save(folder / "printed.jpg")
    build(read_folder(tmp_path / "faces"), tmp_path / "data", BuildOptions(workers=1))
    train = ShardIndex.load(tmp_path / "data").split("train")
    assert train.samples == 5
    for channels in (1, 3):
        sized = train.sized(48, channels)
        held = {sized.image(position).tobytes() for position in range(train.samples)}
        assert {read_picture(path, 48, channels).tobytes() for path in folder.iterdir()} == held


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [60, 600])
def test_a_jpeg_is_read_nearly_as_the_shards_that_decode_it_smaller_or_its_light_alone(
    tmp_path, size, channels
):
    path = saved(quarters(size), tmp_path / "me.jpg", quality=95)
    found, shards = read_picture(path, 48, channels), decode_picture(path.read_bytes(), 48, channels)
    assert np.abs(found.astype(int) - shards).mean() < 1


def test_what_is_no_picture_is_one_sentence(tmp_path, face_png):
    (tmp_path / "note.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(face_png.read_bytes()[:-300])
    kinds = "(JPEG, PNG, WebP, AVIF, JPEG 2000, TIFF, GIF, BMP, PPM)"
    for name, why in (
        ("note.png", f"is no picture that fes reads {kinds}"),
        ("empty.png", f"is no picture that fes reads {kinds}"),
        ("half.png", "cannot be read as a picture: cut short or damaged"),
        (".", "is a folder: name a picture in it"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(f'{tmp_path / name} {why}')}$"):
            read_picture(tmp_path / name, 48, 1)
    with pytest.raises(InputError, match=r"no picture at .*none.png"):
        read_picture(tmp_path / "none.png", 48, 1)


def test_a_transparent_photograph_stays_transparent_and_changes_as_it_is_seen_on_white(tmp_path):
    clear = quarters(60)
    opacity = np.full((60, 60), 255, np.uint8)
    opacity[:20], opacity[20:30] = 0, 200
    clear.putalpha(Image.fromarray(opacity))
    path = saved(clear, tmp_path / "me.png")
    photograph = Photograph.read(path).around((10, 0, 40))
    before, image = np.asarray(clear), np.asarray(written(photograph, tmp_path / "a.png"))
    assert np.array_equal(image[..., 3], opacity)
    outside = np.ones((60, 60), bool)
    outside[:40, 10:50] = False
    assert np.array_equal(image[outside], before[outside])
    assert np.array_equal(image[:20], before[:20])  # what cannot be seen
    assert np.array_equal(image[30:40, 10:50, :3], 255 - before[30:40, 10:50, :3])
    seen = Photograph.read(tmp_path / "a.png").pixels[20:30, 10:50].astype(int)
    wanted = (255 - photograph.pixels[20:30, 10:50].astype(int)).clip(55)  # as dark as 200 of 255 can be
    assert np.abs(seen - wanted).max() <= 1


def test_what_is_half_transparent_has_the_nearest_colour_that_is_seen_so_on_white_in_each_channel(tmp_path):
    clear = Image.new("RGBA", (40, 40), (120, 130, 140, 200))
    photograph = Photograph.read(saved(clear, tmp_path / "me.png"))
    red, green, blue = photograph.pixels[0, 0].tolist()
    face = photograph.place().picture.copy()
    face[0] = np.arange(60, 100)  # the red alone, from left to right
    changed = np.asarray(photograph.changed(face))
    for column, seen in enumerate(range(60, 100)):
        wanted = [round(255 - (255 - each) * 255 / 200) for each in (seen, green, blue)]
        assert changed[5, column].tolist() == [*wanted, 200]
    assert [red, green, blue] != face[:, 0, 0].tolist()


def test_where_nothing_changes_what_is_half_transparent_stays_exact(tmp_path):
    clear = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8))
    photograph = Photograph.read(saved(clear, tmp_path / "me.png"))
    write_picture(photograph.changed(photograph.place().picture), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(clear))


def test_a_transparent_photograph_that_lies_is_turned_with_its_transparency(tmp_path):
    clear = quarters(60).crop((0, 0, 60, 40))
    opacity = np.tile(np.arange(100, 160, dtype=np.uint8), (40, 1))
    clear.putalpha(Image.fromarray(opacity))
    image = written(Photograph.read(saved(clear, tmp_path / "me.png", exif=TURNED)), tmp_path / "a.png")
    assert np.array_equal(np.asarray(image)[..., 3], np.rot90(opacity, -1))


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.ppm"])
def test_where_a_format_knows_no_transparency_it_is_white(tmp_path, name):
    clear = quarters(60)
    clear.putalpha(0)
    path = saved(clear, tmp_path / "me.png")
    image = written(Photograph.read(path), tmp_path / name)
    assert (image.mode, np.asarray(image).min()) == ("RGB", 255)


@pytest.mark.parametrize("name", ["a.webp", "a.tif", "a.gif"])
def test_other_formats_that_know_transparency_keep_it(tmp_path, name):
    clear, opacity = quarters(60), np.full((60, 60), 255, np.uint8)
    opacity[:20] = 0
    clear.putalpha(Image.fromarray(opacity))
    image = written(Photograph.read(saved(clear, tmp_path / "me.png")), tmp_path / name)
    assert np.array_equal(np.asarray(image.convert("RGBA"))[..., 3], opacity)


@pytest.mark.parametrize(
    ("name", "mode", "becomes"),
    [
        *(("me.png", mode, "RGB") for mode in ("P", "RGB")),
        *(("me.png", mode, "L") for mode in ("1", "L")),
        *(("me.png", mode, "RGBA") for mode in ("LA", "RGBA")),
        *(("me.jpg", mode, "RGB") for mode in ("CMYK", "YCbCr")),
        *((name, "RGB", "RGB") for name in ("me.gif", "me.webp", "me.bmp", "me.ppm")),
    ],
)
def test_a_photograph_of_any_kind_is_written_with_its_changed_face(tmp_path, name, mode, becomes):
    photograph = Photograph.read(saved(quarters(60).convert(mode), tmp_path / name)).around((5, 5, 30))
    image = written(photograph, tmp_path / "out.png")
    assert image.mode == becomes
    found = Photograph.read(tmp_path / "out.png").pixels
    assert np.array_equal(found[5:35, 5:35], 255 - photograph.pixels[5:35, 5:35])
    assert np.array_equal(found[35:], photograph.pixels[35:])


def test_of_16_bits_the_upper_8_are_written(tmp_path):
    path = saved(Image.fromarray(gradient(40, 60).astype(np.uint16) << 8), tmp_path / "deep.png")
    for transparent in ({}, {"transparency": 256}):  # which Pillow cannot show
        Image.fromarray(gradient(40, 60).astype(np.uint16) << 8).save(path, **transparent)
        image = written(Photograph.read(path), tmp_path / "out.png")
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image)[:, 50:], gradient(40, 60)[:, 50:])

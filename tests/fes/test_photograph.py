"""A photograph whose face is changed in its own pixels."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from fes.errors import InputError
from fes.photograph import Photograph
from fes.pictures import as_image, write_picture
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.pictures import decode_picture
from shards.schema import Square
from shards.sources.folder import read_folder
from tests.photographs import gradient, quarters


def read_picture(path: Path, resolution: int, channels: int, square: Square | None = None) -> np.ndarray:
    """The face of a picture file, as networks take it."""
    return Photograph.read(path).around(square).face(resolution, channels)


def photographed(folder: Path, width: int = 90, height: int = 60) -> tuple[Path, np.ndarray]:
    """A photograph of noise in colour, as a file and as pixels."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / "me.png")
    return folder / "me.png", Photograph.read(folder / "me.png").pixels


def saved(image: Image.Image, path, **options) -> object:
    image.save(path, **options)
    return path


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
    for name in ("note.png", "empty.png", "half.png", "."):
        with pytest.raises(InputError, match=r"cannot be read( as a picture|: Is a directory)") as caught:
            read_picture(tmp_path / name, 48, 1)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"no picture at .*none.png"):
        read_picture(tmp_path / "none.png", 48, 1)


def profile(space: bytes) -> bytes:
    """The beginning of an ICC profile of a colour space."""
    return bytes(16) + space + bytes(108)


MAKER, DATE, ORIENTATION, SOFTWARE = 0x010F, 0x0132, 0x0112, 0x0131
OF_A_FILE = {0x0100: 4000, 0x0101: 3000, 0x0106: 6, 0x0142: 16, 0x0143: 16, 0x0152: 0, 0x0153: 3}
"""Sizes, colours and tiles, which cameras write beside what a TIFF file says of its own."""


def told() -> Image.Exif:
    """EXIF of a camera that was turned by a quarter."""
    exif = Image.Exif()
    exif.update({MAKER: "Maker", DATE: "2020:01:01 00:00:00", ORIENTATION: 6})
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0xA002: 64, 0xA003: 40, 0x927C: b"MAKERNOTE"})
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 51.0, 52.0)})
    return exif


def with_a_small_picture() -> bytes:
    """EXIF that says 'made by Maker', with a small picture as cameras add it."""
    first = struct.pack("<HHHIIHHIII", 2, MAKER, 2, 6, 38, ORIENTATION, 3, 1, 6, 44)
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 74, 0x0202, 4, 1, 9, 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + b"Maker\0" + second + b"\xff\xd8SMALL\xff\xd9"


def written(photograph: Photograph, path: Path) -> Image.Image:
    """A photograph whose face was made its negative, as a file, read again."""
    write_picture(photograph.changed(255 - photograph.place().picture), path)
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_changed_photograph_has_its_colour_profile_and_what_is_still_true_of_its_exif(
    tmp_path, source, ending
):
    path, exif = tmp_path / f"me.{source}", told()
    if source != "tif":  # of which they are its own
        exif.update(OF_A_FILE)
    lying = quarters(64).crop((0, 0, 64, 40))
    saved(lying, path, exif=exif.tobytes(), icc_profile=profile(b"RGB "))
    photograph = Photograph.read(path).around((0, 24, 40))
    image = written(photograph, tmp_path / f"changed.{ending}")
    assert image.size == (40, 64)
    assert np.abs(np.asarray(image)[:16].astype(int) - photograph.pixels[:16]).mean() < 3
    assert image.info["icc_profile"] == profile(b"RGB ")
    exif = image.getexif()
    assert (exif[MAKER], exif[DATE], exif.get(ORIENTATION, 1)) == ("Maker", "2020:01:01 00:00:00", 1)
    assert exif[SOFTWARE].startswith("fes")
    assert dict(exif.get_ifd(0x8769)) == {0x829A: pytest.approx(0.01)}
    assert dict(exif.get_ifd(0x8825)) == {1: "N", 2: (50.0, 51.0, 52.0)}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_the_small_picture_in_exif_which_shows_the_face_as_it_was_is_left_out(tmp_path, ending):
    path = saved(quarters(64), tmp_path / "me.jpg", exif=with_a_small_picture())
    assert b"SMALL" in path.read_bytes()
    assert written(Photograph.read(path), tmp_path / f"changed.{ending}").getexif()[MAKER] == "Maker"
    assert b"SMALL" not in (tmp_path / f"changed.{ending}").read_bytes()


@pytest.mark.parametrize(("exif", "wanted"), [(Image.Exif(), (300, 150)), (told(), (150, 300))])
def test_a_changed_photograph_has_its_resolution_turned_as_it_is(tmp_path, exif, wanted):
    path = saved(quarters().crop((0, 0, 64, 40)), tmp_path / "me.png", dpi=(300, 150), exif=exif)
    for name in ("a.png", "a.jpg"):
        found = written(Photograph.read(path), tmp_path / name).info["dpi"]
        assert found == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize(
    ("mode", "space", "kept"),
    [("RGB", b"RGB ", True), ("L", b"GRAY", True), ("CMYK", b"CMYK", False), ("L", b"RGB ", False)],
)
def test_a_colour_profile_is_kept_where_it_is_of_what_is_written(tmp_path, mode, space, kept):
    path = saved(quarters().convert(mode), tmp_path / "me.jpg", icc_profile=profile(space))
    assert ("icc_profile" in written(Photograph.read(path), tmp_path / "a.png").info) == kept


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0" + b"\xff" * 60,
        told().tobytes()[:90],
        told().tobytes().replace(b"\0\2\0\1\0\2", b"\x60\2\0\1\0\2"),
    ],
    ids=["noise", "cut short", "thousands of tags"],
)
def test_exif_that_cannot_be_read_does_not_cost_the_photograph(tmp_path, exif):
    path = saved(quarters().crop((0, 0, 64, 40)), tmp_path / "me.jpg", exif=exif)
    assert sorted(written(Photograph.read(path), tmp_path / "a.jpg").size) == [40, 64]


def test_users_see_no_warning_of_exif_that_is_damaged(tmp_path):
    path = saved(quarters(120), tmp_path / "me.jpg", exif=b"Exif\0\0II*\0" + b"\xff" * 60)
    asked = ["synthesize", path, "--out", tmp_path / "a.png"]
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from fes.cli import main; main(sys.argv[1:])", *asked],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_exif_that_is_too_long_for_a_file_does_not_cost_the_photograph(tmp_path):
    exif = told()
    exif[0x010E] = "a" * 70_000
    path = saved(quarters(), tmp_path / "me.png", exif=exif)
    exif = written(Photograph.read(path), tmp_path / "a.jpg").getexif()
    assert list(exif) == [SOFTWARE]  # that a face was changed is told all the same


def test_a_photograph_without_exif_tells_that_a_face_was_changed_and_nothing_else(tmp_path):
    path = saved(quarters(), tmp_path / "me.png")
    for name in ("a.jpg", "a.png"):
        assert list(written(Photograph.read(path), tmp_path / name).getexif()) == [SOFTWARE]


@pytest.mark.parametrize("dpi", [(0, 0), (4e9, 4e9), (300, 0), (300, IFDRational(300, 0))])
def test_a_resolution_that_makes_no_sense_does_not_cost_the_photograph(tmp_path, dpi):
    path = saved(quarters(), tmp_path / "me.tif", dpi=dpi)
    for name in ("a.png", "a.jpg", "a.bmp"):
        assert written(Photograph.read(path), tmp_path / name).size == (64, 64)


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
    image = written(Photograph.read(saved(clear, tmp_path / "me.png", exif=told())), tmp_path / "a.png")
    assert np.array_equal(np.asarray(image)[..., 3], np.rot90(opacity, -1))


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.ppm"])
def test_where_a_format_knows_no_transparency_it_is_white(tmp_path, name):
    clear = quarters(60)
    clear.putalpha(0)
    path = saved(clear, tmp_path / "me.png", icc_profile=profile(b"RGB "))
    image = written(Photograph.read(path), tmp_path / name)
    assert (image.mode, np.asarray(image).min()) == ("RGB", 255)
    assert ("icc_profile" in image.info) == (name == "a.jpg")


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

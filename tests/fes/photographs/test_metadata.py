"""What a picture file tells beside its pixels, kept where a face was changed."""

import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from fes.photographs.photograph import Photograph
from tests.photographs import quarters, saved, written


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


OF_THE_SCENE = {0x010E: "A face", 0x010F: "Maker", 0x0110: "Model", 0x0132: "2020:01:01 00:00:00"}
OF_THE_SCENE |= {0x013B: "Artist", 0x8298: "Copyright"}
OF_PIXELS = {0xA002: 64, 0xA003: 64, 0x9101: b"\1\2\3\0", 0x9102: 2.5, 0xA214: (30, 31), 0x9214: (30, 31, 8)}
OF_PIXELS |= {0xA20E: 100.5, 0xA20F: 100.5, 0x927C: b"MAKERNOTE", 0xA005: {1: "R98"}}
"""Sizes, components, bits, the place of the subject, the sensor's grid, and what points into a file."""


def test_each_tag_of_the_scene_stays_and_none_that_is_of_pixels(tmp_path):
    exif = Image.Exif()
    exif.update(OF_THE_SCENE)
    exif.get_ifd(0x8769).update({0x829A: 0.01, **OF_PIXELS})
    path = saved(quarters(), tmp_path / "me.jpg", exif=exif.tobytes())
    with Image.open(path) as image:
        assert OF_PIXELS.keys() <= image.getexif().get_ifd(0x8769).keys()  # else this shows nothing
    found = written(Photograph.read(path), tmp_path / "a.jpg").getexif()
    assert dict(found.get_ifd(0x8769)) == {0x829A: pytest.approx(0.01)}
    assert {tag: found.get(tag) for tag in OF_THE_SCENE} == OF_THE_SCENE
    assert set(found) == {*OF_THE_SCENE, SOFTWARE, 0x8769}


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
    asked = ["synthesize", path, "--crop", "middle", "--out", tmp_path / "a.png"]
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from fes.cli import main; main(sys.argv[1:])", *asked],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(("letters", "kept"), [(64_500, True), (65_500, False), (70_000, False)])
def test_exif_that_is_too_long_for_a_file_does_not_cost_the_photograph(tmp_path, letters, kept):
    exif = Image.Exif()
    exif[0x010E] = "a" * letters
    path = saved(quarters(), tmp_path / "me.png", exif=exif)
    exif = written(Photograph.read(path), tmp_path / "a.jpg").getexif()
    # That a face was changed is told all the same.
    assert sorted(exif) == ([0x010E, SOFTWARE] if kept else [SOFTWARE])


def test_a_picture_after_the_first_that_is_damaged_does_not_cost_the_photograph(tmp_path):
    path = saved(quarters(), tmp_path / "me.tif", save_all=True, append_images=[quarters()])
    data = path.read_bytes()
    at = data.rindex(struct.pack("<HHI", 0x0100, 4, 1))  # the width of the second
    path.write_bytes(data[:at] + struct.pack("<HHI", 0x0300, 4, 1) + data[at + 8 :])
    with pytest.raises(TypeError), Image.open(path) as image:
        assert image.n_frames  # else this shows nothing
    assert np.array_equal(Photograph.read(path).pixels, np.asarray(quarters()))
    assert Photograph.read(path).told == str(path)


def test_a_photograph_without_exif_tells_that_a_face_was_changed_and_nothing_else(tmp_path):
    path = saved(quarters(), tmp_path / "me.png")
    for name in ("a.jpg", "a.png"):
        assert list(written(Photograph.read(path), tmp_path / name).getexif()) == [SOFTWARE]


@pytest.mark.parametrize("dpi", [(0, 0), (4e9, 4e9), (300, 0), (300, IFDRational(300, 0))])
def test_a_resolution_that_makes_no_sense_does_not_cost_the_photograph(tmp_path, dpi):
    path = saved(quarters(), tmp_path / "me.tif", dpi=dpi)
    for name in ("a.png", "a.jpg", "a.bmp"):
        assert written(Photograph.read(path), tmp_path / name).size == (64, 64)


def test_a_resolution_that_is_no_number_does_not_cost_the_photograph(tmp_path):
    path = saved(quarters(), tmp_path / "me.tif", dpi=(300, 150))
    across = struct.pack("<HHI", 0x011A, 5, 1), struct.pack("<HHI", 0x011A, 2, 1)  # a letter instead
    assert path.read_bytes().count(across[0]) == 1
    path.write_bytes(path.read_bytes().replace(*across))
    with Image.open(path) as image:
        assert isinstance(image.info["dpi"][0], str)  # else this shows nothing
    assert written(Photograph.read(path), tmp_path / "a.png").size == (64, 64)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_transparent_photograph_has_its_colour_profile_where_it_is_laid_on_white_too(tmp_path, name):
    clear = quarters(60)
    clear.putalpha(128)
    path = saved(clear, tmp_path / "me.png", icc_profile=profile(b"RGB "))
    assert written(Photograph.read(path), tmp_path / name).info["icc_profile"] == profile(b"RGB ")

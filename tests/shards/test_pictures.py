import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from shards.pictures import decode_picture, encode_picture, normalised, size_of, suffix_of
from shards.schema import Crop

RAMP = np.add.outer(np.arange(60), np.arange(0, 160, 2)).astype(np.uint8)  # 60 high, 80 wide, 218 at most
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)
CELEBA = Crop(178, 218, 25, 57, 128)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be turned by 90 degrees, clockwise
XMP = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(height: int, width: int) -> Image.Image:
    """A colour picture that JPEG keeps well."""
    return Image.fromarray(COLOURS).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("pixels", [RAMP[:, :, None], COLOURS], ids=["grey", "colour"])
def test_a_picture_comes_back_from_its_png_as_it_was(pixels: np.ndarray) -> None:
    data, shown = normalised(encode_picture(pixels))
    assert np.array_equal(shown, pixels)
    assert suffix_of(data) == "png"


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("JPEG", "jpg")])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_plain_picture_is_kept_byte_for_byte(kind: str, suffix: str, mode: str) -> None:
    data = saved(smooth(60, 80).convert(mode), kind)
    kept, pixels = normalised(data)
    assert kept == data
    assert suffix_of(kept) == suffix
    assert pixels.shape == (60, 80, 1 if mode == "L" else 3)


DEEP = Image.fromarray(RAMP.astype(np.uint16) << 8)
SEE_THROUGH = Image.fromarray(np.dstack([COLOURS, np.full_like(RAMP, 255)]))
OTHERS = {
    "palette": (saved(Image.fromarray(COLOURS // 64 * 64).quantize(), "PNG"), COLOURS // 64 * 64),
    "opaque RGBA": (saved(SEE_THROUGH, "PNG"), COLOURS),
    "RGBA that shows nothing": (
        saved(Image.new("RGBA", (80, 60), (9, 9, 9, 0)), "PNG"),
        np.full_like(COLOURS, 255),
    ),
    "16 bits": (saved(DEEP, "PNG"), RAMP[:, :, None]),
    "black and white": (saved(Image.fromarray(RAMP > 90), "PNG"), (RAMP > 90)[:, :, None] * np.uint8(255)),
    "bmp": (saved(Image.fromarray(COLOURS), "BMP"), COLOURS),
    "tiff of 16 bits": (saved(DEEP, "TIFF"), RAMP[:, :, None]),
    "webp": (saved(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS),
    "jpeg 2000": (saved(Image.fromarray(COLOURS), "JPEG2000"), COLOURS),
    "turned png": (saved(Image.fromarray(COLOURS), "PNG", exif=TURNED), np.rot90(COLOURS, -1)),
    "two pictures": (
        saved(Image.fromarray(COLOURS), "PNG", save_all=True, append_images=[Image.fromarray(COLOURS // 2)]),
        COLOURS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_picture_becomes_a_plain_png_of_what_it_shows(kind: str) -> None:
    data, expected = OTHERS[kind]
    kept, pixels = normalised(data)
    assert kept != data
    assert np.array_equal(pixels, expected)
    assert size_of(data) == (expected.shape[1], expected.shape[0])
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB" if expected.shape[2] == 3 else "L")
        assert np.array_equal(np.asarray(image).reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "values",
    [RAMP.astype(np.float32) / 255, RAMP.astype(np.int32) * 1000, RAMP.astype(np.int32) - 1],
    ids=["fractions", "more than 16 bits", "below 0"],
)
def test_numbers_of_no_known_range_are_no_picture(values: np.ndarray) -> None:
    data = saved(Image.fromarray(values), "TIFF")
    for read in (normalised, lambda data: decode_picture(data, 48, 1)):
        with pytest.raises(ValueError, match="numbers that are not of 8 or 16 bits"):
            read(data)


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_kind_are_also_read_where_they_lie(kind: str, channels: int) -> None:
    data, expected = OTHERS[kind]
    kept, _ = normalised(data)
    side = min(expected.shape[:2])
    assert np.array_equal(decode_picture(data, side, channels), decode_picture(kept, side, channels))


def test_a_jpeg_that_was_turned_is_turned_upright() -> None:
    image = smooth(60, 80)
    data = saved(image, "JPEG", exif=TURNED, quality=95)
    upright = np.rot90(np.asarray(Image.open(io.BytesIO(data))), -1)
    assert np.array_equal(normalised(data)[1], upright)
    assert np.array_equal(decode_picture(data, 60, 3), upright[10:70].transpose(2, 0, 1))
    assert size_of(data) == (60, 80)


def late(jpeg: bytes) -> bytes:
    """A JPEG whose first segment is one of Photoshop's that holds a picture's file: its own marks come after
    byte 512."""
    resource = b"Photoshop 3.0\0" + saved(smooth(8, 8), "JPEG") + bytes(650)
    return jpeg[:2] + b"\xff\xed" + (len(resource) + 2).to_bytes(2) + resource + jpeg[2:]


@pytest.mark.parametrize("marked", [{"exif": TURNED}, {"xmp": XMP.encode()}], ids=["EXIF", "XMP"])
@pytest.mark.parametrize("placed", [bytes, late], ids=["first", "late"])
def test_a_jpeg_is_read_as_it_is_shown_wherever_its_segments_say_that_it_was_turned(
    placed: Callable[[bytes], bytes], marked: dict[str, object]
) -> None:
    data = placed(saved(smooth(60, 80), "JPEG", quality=95, **marked))
    shown = normalised(data)[1]
    assert shown.shape == (80, 60, 3)
    assert np.array_equal(decode_picture(data, 60, 3), shown[10:70].transpose(2, 0, 1))


def marked_png(key: str, text: str) -> bytes:
    marks = PngInfo()
    marks.add_itxt(key, text) if key.startswith("XML") else marks.add_text(key, text)
    return saved(Image.fromarray(COLOURS), "PNG", pnginfo=marks)


@pytest.mark.parametrize(
    ("key", "text"),
    [("XML:com.adobe.xmp", XMP), ("Raw profile type exif", f"\nexif\n1\n{TURNED.tobytes().hex()}")],
)
def test_a_png_is_read_as_it_is_shown_whatever_says_that_it_was_turned(key: str, text: str) -> None:
    data = marked_png(key, text)
    assert np.array_equal(normalised(data)[1], np.rot90(COLOURS, -1))
    assert np.array_equal(decode_picture(data, 60, 3), np.rot90(COLOURS, -1)[10:70].transpose(2, 0, 1))


def test_a_picture_whose_exif_is_damaged_beside_its_orientation_is_turned() -> None:
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0112: 6})
    damaged = exif.tobytes().replace(b"\x01\x0f", b"\x01\x00")  # the maker has become the width
    data = saved(Image.fromarray(COLOURS), "PNG", exif=damaged)
    assert np.array_equal(normalised(data)[1], np.rot90(COLOURS, -1))
    assert size_of(data) == COLOURS.shape[:2]
    with pytest.raises(struct.error), Image.open(io.BytesIO(data)) as image:
        ImageOps.exif_transpose(image)  # else this shows nothing


def test_what_is_no_picture_tells_no_size_and_one_that_is_cut_short_may() -> None:
    assert [size_of(data) for data in (b"", b"hello", b"GIF89a but not really")] == [None] * 3
    jpeg = saved(smooth(60, 80), "JPEG")
    assert size_of(jpeg[:-100]) == (80, 60)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_fast_jpeg_decoder_gives_the_pixels_of_pillow(subsampling: int, progressive: bool) -> None:
    data = saved(smooth(218, 178), "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image)[20:198].transpose(2, 0, 1)
    assert np.array_equal(decode_picture(data, 178, 3), expected)


def test_grey_of_a_colour_jpeg_is_its_luma() -> None:
    image = smooth(64, 64)
    grey = np.asarray(image.convert("L")).astype(int)
    decoded = decode_picture(saved(image, "JPEG", quality=98, subsampling=0), 64, 1)[0]
    assert np.abs(decoded - grey).max() <= 3


def test_a_crop_of_the_size_asked_for_is_cut_out_without_resampling() -> None:
    data = saved(smooth(218, 178), "PNG")
    expected = np.asarray(smooth(218, 178))[57:185, 25:153].transpose(2, 0, 1)
    assert np.array_equal(decode_picture(data, 128, 3, CELEBA), expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_of_another_size_gives_the_same_part_of_itself(kind: str) -> None:
    small, large = (
        saved(smooth(218 * n, 178 * n), kind, **{"JPEG": {"quality": 98}}.get(kind, {})) for n in (1, 2)
    )
    first, second = (decode_picture(data, 128, 3, CELEBA).astype(int) for data in (small, large))
    assert np.abs(first - second).mean() < 1.5


@pytest.mark.parametrize("resolution", [24, 48, 100])
def test_a_large_jpeg_that_is_decoded_small_looks_as_one_that_was_resized(resolution: int) -> None:
    image = smooth(600, 800)
    data = saved(image, "JPEG", quality=95, subsampling=0)
    square = image.crop((100, 0, 700, 600)).resize((resolution, resolution), Image.Resampling.LANCZOS)
    decoded = decode_picture(data, resolution, 3).transpose(1, 2, 0).astype(int)
    assert np.abs(decoded - np.asarray(square)).mean() < 1


def test_an_avif_is_read_and_turned_upright() -> None:
    data = saved(smooth(60, 80), "AVIF", quality=95, exif=TURNED)
    kept, pixels = normalised(data)
    assert np.abs(pixels.astype(int) - np.rot90(smooth(60, 80), -1)).mean() < 2
    assert (suffix_of(kept), size_of(data)) == ("png", (60, 80))
    assert np.array_equal(decode_picture(data, 48, 3), decode_picture(kept, 48, 3))


def test_what_is_decoded_can_be_written_to() -> None:
    for channels in (1, 3):
        picture = decode_picture(encode_picture(COLOURS), 60, channels)
        picture[:] = 0
        assert picture.flags.c_contiguous


def test_damage_is_told_in_a_few_words_that_are_the_same_for_the_like() -> None:
    jpeg, png, avif = saved(smooth(60, 80), "JPEG"), encode_picture(COLOURS), saved(smooth(60, 80), "AVIF")
    for data, words in (
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is not read: save it as JPEG"),
        (avif[: len(avif) // 2], "cut short or damaged"),
        (avif[: len(avif) // 2].replace(b"ftypavif", b"ftypavis"), "cut short or damaged"),
        (b"", "of no known kind"),
        (b"GIF89a but not really", "no readable"),
        (b"hello", "of no known kind"),
        (jpeg[: len(jpeg) // 2], "cut short or damaged"),
        (png[: len(png) // 2], "cut short or damaged"),
    ):
        with pytest.raises(ValueError, match=words):
            normalised(data)
        with pytest.raises(ValueError, match="no readable picture"):
            decode_picture(data, 48, 1)


WITHOUT_MEMORY = """
import resource, sys
from shards.pictures import decode_picture, normalised
picture = open(sys.argv[1], "rb").read()
for call in (normalised, lambda small: decode_picture(small, 8, 1)):
    call(open(sys.argv[2], "rb").read())  # loads all that it takes
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**24,) * 2)
for call in (lambda: normalised(picture), lambda: decode_picture(picture, 48, 1)):
    try:
        call()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory is taken cannot be told")
def test_where_memory_is_short_a_picture_is_not_called_damaged(tmp_path: Path) -> None:
    for name, side in (("large.png", 8000), ("small.png", 8)):
        (tmp_path / name).write_bytes(saved(Image.new("L", (side, side)), "PNG"))
    words = [sys.executable, "-c", WITHOUT_MEMORY, tmp_path / "large.png", tmp_path / "small.png"]
    assert (
        subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        == ["MemoryError"] * 2
    )


def test_a_file_of_kilobytes_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    bomb = saved(Image.new("1", (20_000, 8_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="more than 80,000,000 pixels"):
        normalised(bomb)
    assert size_of(bomb) is None
    with pytest.raises(ValueError, match="more than 80,000,000 pixels"):
        decode_picture(bomb, 48, 1)

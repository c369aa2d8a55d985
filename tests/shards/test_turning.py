"""Which files may hold an orientation is told by their segments, without reading what those hold."""

import io

import pytest
from PIL import Image

from shards.turning import ORIENTATION, jpeg_may_be_turned


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((24, 16)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


TURNED = Image.Exif()
TURNED[ORIENTATION] = 6


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"Exif\0\0"}, {"xmp": b"<x/>"}])
def test_a_jpeg_that_tells_of_no_turn_is_none_that_may_be_turned(options: dict[str, object]) -> None:
    assert not jpeg_may_be_turned(jpeg(**options))


def test_what_comes_after_the_first_scan_tells_of_no_turn() -> None:
    assert not jpeg_may_be_turned(jpeg() + jpeg(exif=TURNED)[2:])


@pytest.mark.parametrize("at", [2, 3, 5, 6, 20, -1])
def test_a_jpeg_whose_segments_cannot_be_followed_may_be_turned(at: int) -> None:
    data = jpeg()[:at] if at > 0 else jpeg()[:2] + b"\xff" + jpeg()[2:]
    assert jpeg_may_be_turned(data)

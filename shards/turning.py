"""Pictures that lie on their side or head, and the marks in their files that tell so."""

from PIL import Image

SOI = b"\xff\xd8"  # how every JPEG file begins
ORIENTATION = 0x0112
UPRIGHT = 1
LYING = (5, 6, 7, 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its orientation (EXIF 2.3, 4.6.4)."""
_PNG_MARKS = frozenset(("exif", "Raw profile type exif", "XML:com.adobe.xmp"))
"""What Pillow calls all that may hold an orientation in a PNG."""
_APP1, _SOS = 0xE1, 0xDA
_WITH_LENGTH = frozenset((*range(0xC0, 0xD0), *range(0xDB, 0xF0), 0xFE))
"""The markers of a JPEG that a length follows, but for that of a scan (ITU-T T.81, table B.1)."""


def upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF says; as it is where that cannot be read.

    `ImageOps.exif_transpose` writes all the EXIF anew, and fails at much that cameras and programs write.
    """
    image.load()  # some kinds turn themselves
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """How a picture lies, as its EXIF or else its XMP tells: 1, upright, to 8."""
    return image.getexif().get(ORIENTATION, UPRIGHT)


def png_may_be_turned(image: Image.Image) -> bool:
    """Whether a PNG, which is loaded, may hold an orientation: far faster than to ask for it."""
    return not _PNG_MARKS.isdisjoint(image.info)


def jpeg_may_be_turned(data: bytes) -> bool:
    """Whether a JPEG file may tell an orientation, in EXIF or XMP, anywhere before its first scan.

    True also of a file whose segments cannot be followed: readers differ in what they make of it.
    """
    at = len(SOI)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == _SOS:
            return False
        if marker not in _WITH_LENGTH or (marker == _APP1 and _tells(data[at + 4 : end])):
            return True
        at = end
    return True


def _tells(segment: bytes) -> bool:
    return segment.startswith(b"Exif") or b"Orientation" in segment

"""What a picture file tells beside its pixels, and how much of that is true of one whose face was changed."""

import contextlib

from PIL import ExifTags, Image

_SOFTWARE = ExifTags.Base.Software
_OF_THE_SCENE = (
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.DateTime),
    *(ExifTags.Base.Artist, ExifTags.Base.Copyright),
)
"""Tags of a whole picture that stay true of one whose face was changed."""
_OF_THE_FILE = {
    *(ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight, ExifTags.Base.ComponentsConfiguration),
    *(ExifTags.Base.CompressedBitsPerPixel, ExifTags.Base.SubjectLocation, 0x9214),  # 0x9214: SubjectArea
    *(ExifTags.Base.FocalPlaneXResolution, ExifTags.Base.FocalPlaneYResolution),
    *(ExifTags.Base.MakerNote, ExifTags.IFD.Interop),
}
"""Tags of how a picture was taken that are of its pixels, or that, as makers' notes, point into its file."""
_MOST_EXIF = 65_000
"""Bytes; a JPEG file holds no more in one piece."""
_MOST_DPI = 65_536
_OF_CAMERAS = "MPO"
"""A photograph and what cameras add to it, as a small one, or what bright screens show."""
_SPACES = {1: b"GRAY", 3: b"RGB "}
"""What an ICC profile says, from its 17th byte on, that it is of, by channels."""


def metadata_of(image: Image.Image, channels: int, *, turned: bool) -> dict[str, object]:
    """What is to be written beside a photograph whose face was changed, as Pillow calls it.

    Args:
        image: the picture file.
        channels: 1 (grey) or 3 (RGB), of what is written.
        turned: whether that lies a quarter turn from how the file holds it.

    Returns:
        `exif`, bytes: what is true still, and that a face was changed; and where the file has one that makes
        sense, `dpi`, two floats, and `icc_profile`, bytes.
    """
    told: dict[str, object] = {"exif": _still_true(Image.Exif())}
    profile = image.info.get("icc_profile") or b""
    if profile[16:20] == _SPACES[channels]:  # not a print's, whose CMYK became RGB
        told["icc_profile"] = profile
    # Cameras, and programs after them, write what Pillow fails at: it is not worth the picture.
    with contextlib.suppress(Exception):
        dpi = tuple(float(each) for each in image.info.get("dpi", ()))
        if dpi and all(1 <= each < _MOST_DPI for each in dpi):
            told["dpi"] = dpi[::-1] if turned else dpi
    with contextlib.suppress(Exception):
        exif = _still_true(image.getexif())
        if len(exif) < _MOST_EXIF:
            told["exif"] = exif
    return told


def frames_of(image: Image.Image) -> int:
    """How many pictures a file holds to be looked at; 1 where those after the first cannot be counted."""
    frames = 1
    if image.format != _OF_CAMERAS:
        with contextlib.suppress(Exception):  # the first is sound, whatever follows it
            frames = getattr(image, "n_frames", 1)
    return frames


def _still_true(exif: Image.Exif) -> bytes:
    """What EXIF says of the scene, and that a face was changed; nothing of the file, its pixels and the small
    picture of it that cameras add."""
    kept = Image.Exif()
    kept.update({tag: exif[tag] for tag in _OF_THE_SCENE if tag in exif})
    kept[_SOFTWARE] = "fes, which changed the expression of a face"
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        told = {tag: value for tag, value in exif.get_ifd(part).items() if tag not in _OF_THE_FILE}
        if told:
            kept.get_ifd(part).update(told)
    return kept.tobytes()

"""Cuts the faces out of the photographs of a source, as the build reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

from shards.finding import find_faces, finder, is_cut_out
from shards.pictures import normalised
from shards.schema import Picture, Unreadable
from shards.sources.folder import FolderSource

FACELESS = Unreadable("picture in which --crop found finds no face")


@dataclass
class FaceSource(FolderSource):
    """A folder of whose photographs the largest face is taken, in all its pixels.

    Those that are cut out already stay as they are; where no face is found, there is no picture.
    """

    @property
    def stamp(self) -> str:
        """As that of the folder, and unlike that of its whole photographs or of what another OpenCV finds."""
        return f"{super().stamp}, faces by {finder()}"

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """uint8 [side, side, channels] of each face; or the file's bytes, where that is a face itself."""
        return [_face_in(picture) for picture in super().read(positions)]


def _face_in(picture: bytes | Unreadable) -> Picture:
    if isinstance(picture, Unreadable):
        return picture
    try:
        pixels = normalised(picture)[1]
    except ValueError:
        return picture  # who reads it next tells what is wrong
    faces = find_faces(pixels)
    if is_cut_out(pixels, faces):
        return picture
    if not faces:
        return FACELESS
    left, top, side = faces[0]
    return pixels[top : top + side, left : left + side].copy()  # a view would keep all of the photograph

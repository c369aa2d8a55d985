"""`fes synthesize` and `fes export`: faces drawn with a snapshot, and a snapshot to give to others."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fes.commandline import FOUND, part_of_picture
from fes.errors import InputError
from fes.expressions import EXPRESSIONS, expression_label, expression_meant
from fes.files import check_file
from fes.judge import load_judge
from fes.photographs.framing import PHOTOGRAPH, Frame, check_found, framed
from fes.photographs.photograph import Fine, Photograph
from fes.photographs.synthesizer import Synthesizer
from fes.pictures import as_image, check_ending, told_by_name, write_picture
from fes.saved.shipped import shipped_judge, shipped_retoucher, shipped_synthesizer
from fes.saved.snapshot import export_snapshot, find_snapshot, is_export

_LEAST = 24
"""Pixels a side of the smallest face that is changed: of a smaller one, most would be made up."""
_MUCH = 0.3
"""Share of a face from which on what is drawn over it cannot hide among a photograph's pixels."""
_TILE = 256
"""Pixels of a photograph's faces on a sheet, at the most."""


@dataclass(frozen=True)
class Synthesize:
    """Draw a face with other expressions: the sheet of all seven, one, or one by degrees."""

    image: tyro.conf.Positional[Path]
    """A photograph with a frontal face, of any size, grey or in colour: JPEG, PNG, WebP, AVIF, JPEG 2000,
    TIFF, GIF, BMP or PPM."""
    weights: Path | None = None
    """A snapshot-*.safetensors, or the folder of a run: its newest snapshot; --detail photograph changes the
    photograph with it. None: the weights that come with fes, for photographs or for small pictures."""
    out: Path = Path("expressions.png")
    """Where to write the result: .png, .jpg, .webp, .tif, .gif, .bmp or .ppm."""
    detail: Literal["photograph", "network"] | None = None
    """Whose pixels and colours the result has: the photograph's own, moved and little drawn over, and with
    --to, but for --strip, all of it, in 8 bits, with its transparency, colour profile and EXIF where the
    format of --out knows them; or those that the network draws (48 px, grey, with the weights that come
    with fes). None: with the weights that come with fes the photograph's, unless its shorter side is below
    96 px; else the network's."""
    to: str | None = None
    """One expression (angry, disgusted, afraid, happy, sad, surprised, neutral) instead of the sheet."""
    strength: float = 1.0
    """How far to go from the expression that the picture shows, 0, to the one that is asked for, 1."""
    strip: bool = False
    """With --to, draw the expression at strengths 0, 0.25, 0.5, 0.75 and 1 side by side."""
    source: str | None = None
    """The expression that the picture shows, from which strength counts. None: as the judge reads it."""
    judge: Path | None = None
    """A judge made by 'fes judge train'. None: the judge that comes with fes."""
    crop: str = FOUND
    """What to draw of the picture: the largest face that is found, without which nothing is written, or all
    where it is a face itself (found); the square LEFT,TOP,SIDE, in pixels, from the hair to the chin; or the
    central square (middle)."""

    def run(self) -> None:
        label, source = _label("--to", self.to), _label("--source", self.source)
        self._check()
        photograph, frame = self._framed()
        named = Synthesizer.load(self.weights) if self.weights else None
        retouched = self._retouched(photograph, named)
        synthesizer = named or Synthesizer.load(shipped_retoucher() if retouched else shipped_synthesizer())
        picture = synthesizer.see(photograph)
        own = self._own(source, torch.from_numpy(picture)) if self.strip or self.strength < 1 else None
        check_file("--out", self.out)
        with _told_of_memory(photograph):
            drawn = self._drawn(synthesizer, picture, label, own, photograph if retouched else None)
            replaced = " in place of the one before" if os.path.exists(self.out) else ""
            write_picture(drawn, self.out)
        weights = f" (weights of {named.snapshot.kimg:g} kimg)" if named else ""
        print(
            f"wrote {self.out}{replaced}{weights}: {frame.told} of {photograph.told} "
            f"{_detail(synthesizer, picture, retouched, bool(named))}{frame.advice}"
        )

    def _framed(self) -> tuple[Photograph, Frame]:
        """The photograph with the square that is to be changed, and what to say of that.

        Raises:
            InputError: there is no such photograph or square, no face is found, or the square is too small.
        """
        part = part_of_picture("--crop", self.crop)
        photograph = Photograph.read(self.image)
        frame = framed(photograph.pixels, part)
        check_found(frame, photograph.pixels, self.image)
        photograph = photograph.around(frame.square)
        side = photograph.square[2]
        if side < _LEAST:
            raise InputError(
                f"{frame.told} of {self.image} is {side} px a side: take a larger picture or --crop, as of "
                f"fewer than {_LEAST} px most of a face would be made up"
            )
        return photograph, frame

    def _retouched(self, photograph: Photograph, named: Synthesizer | None) -> bool:
        """Whether the photograph's own pixels are to be changed; else the network's are drawn.

        Raises:
            InputError: they are to be, and the networks that are named cannot.
        """
        by_itself = named is None and min(photograph.pixels.shape[:2]) >= PHOTOGRAPH
        if self.detail == "network" or (self.detail is None and not by_itself):
            return False
        if named and not named.retouches:
            raise InputError(
                "--detail photograph needs networks that bend a source or draw over it (--model.skip warp "
                f"or mask); those of {self.weights} draw every pixel: leave it out"
            )
        return True

    def _check(self) -> None:
        self._check_strength()
        with told_by_name(self.image):
            self.image.stat()
        if os.path.isdir(self.out):
            raise InputError(f"--out {self.out} is a folder: name a file in it")
        check_ending("--out", self.out)
        if os.path.exists(self.out) and self.out.samefile(self.image):
            raise InputError(f"--out {self.out} is the picture itself: name another file")

    def _check_strength(self) -> None:
        if not 0 <= self.strength <= 1:
            raise InputError(f"--strength is {self.strength:g}: it must be from 0 to 1")
        if self.strip and self.to is None:
            raise InputError("--strip shows one expression by degrees: name it by --to")
        if self.strip and self.strength != 1:
            raise InputError("--strip draws all strengths: leave out --strength")
        given = [flag for flag, value in (("--source", self.source), ("--judge", self.judge)) if value]
        if given and self.strength == 1 and not self.strip:
            raise InputError(
                f"{' and '.join(given)} would tell where --strength counts from, which at 1 does not matter: "
                "add --strip or a --strength below 1, or leave it out"
            )

    def _own(self, source: int | None, picture: Tensor) -> Tensor:
        """What the picture shows, float32 [classes], as told or as read; it is said on the terminal."""
        if source is not None:
            return functional.one_hot(torch.tensor(source), len(EXPRESSIONS)).float()
        judge = load_judge(self.judge or shipped_judge())
        channels, resolution, _ = picture.shape
        try:
            judge.check_shape(resolution, channels)
        except InputError as error:
            raise InputError(f"{error}; or tell by --source what the picture shows") from None
        own = judge.probabilities(picture[None])[0]
        print(f"the judge reads {self.image} as {_shares(own)}; --source tells it otherwise")
        return own

    def _drawn(
        self,
        synthesizer: Synthesizer,
        picture: np.ndarray,
        label: int | None,
        own: Tensor | None,
        photograph: Photograph | None,
    ) -> Image.Image:
        if label is None or self.strip:
            face = photograph.fine(_TILE) if photograph else None
            page = self._page(synthesizer, picture, label, own, face)
            page.info.update(photograph.profile if photograph else {})
            return page
        if photograph is None:
            return as_image(synthesizer.one(picture, label, own, self.strength))
        changed = synthesizer.one(picture, label, own, self.strength, photograph.place())
        return photograph.changed(changed)

    def _page(
        self,
        synthesizer: Synthesizer,
        picture: np.ndarray,
        label: int | None,
        own: Tensor | None,
        face: Fine | None,
    ) -> Image.Image:
        if label is None or own is None:
            return synthesizer.sheet(picture, own, self.strength, face)
        return synthesizer.strip(picture, label, own, face)


@dataclass(frozen=True)
class Export:
    """Write a snapshot with half the bytes and nearly the same pictures, to give to others."""

    weights: tuple[Path, ...]
    """A snapshot-*.safetensors, or the folder of a run: its newest snapshot. Several are averaged, of moments
    of one run, or of runs that went different ways from one beginning: faces can get more natural."""
    out: Path
    """Where to write it (.safetensors)."""
    note: str = ""
    """A word to whoever uses it, which is kept in the file."""

    def run(self) -> None:
        check_file("--out", self.out, ".safetensors")
        if not self.weights:
            raise InputError("--weights names no snapshot: name one, or several to average them")
        sources = [find_snapshot(path) for path in self.weights]
        _check_free(self.out, sources)
        export_snapshot(sources, self.out, self.note)
        print(f"wrote {self.out} ({self.out.stat().st_size / 1e6:.1f} MB)")


def _check_free(out: Path, sources: Sequence[Path]) -> None:
    """Raises `InputError` where something would be lost that is no earlier export."""
    if not out.exists():
        return
    if any(out.samefile(source) for source in sources):
        raise InputError(f"--out is {out}, which is exported: name another file")
    if not is_export(out):
        raise InputError(f"--out is {out}, which is there and was not exported: name another file")


@contextlib.contextmanager
def _told_of_memory(photograph: Photograph) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise InputError(
            f"a face of {photograph.square[2]:,} pixels in {photograph.path} takes more memory than there "
            "is: make the photograph smaller"
        ) from None


def _detail(synthesizer: Synthesizer, picture: np.ndarray, retouched: bool, named: bool) -> str:
    """In what the face was drawn, and what could be better with networks that were named."""
    channels, side, _ = picture.shape
    if not retouched:
        return f"as {side} px, {'grey' if channels == 1 else 'in colour'}"
    if not named or (cover := synthesizer.cover(picture)) < _MUCH:
        return "in its own pixels"
    return (
        f"in its own pixels; over all expressions {cover:.2f} of it is drawn over, in {side} px, which blurs "
        "a photograph: --detail network shows what was drawn"
    )


def _label(flag: str, name: str | None) -> int | None:
    if name is None:
        return None
    label = expression_label(name)
    if label is None:
        meant = expression_meant(name)
        advice = f"did you mean '{meant}'?" if meant else f"choose from {', '.join(EXPRESSIONS)}"
        raise InputError(f"{flag} {name} is no expression; {advice}")
    return label


def _shares(own: Tensor) -> str:
    """The classes of which a face shows a tenth at least, the greatest first."""
    shares = sorted(zip(own.tolist(), EXPRESSIONS, strict=True), reverse=True)
    return ", ".join(f"{name} ({share:.2f})" for share, name in shares if share >= 0.1)

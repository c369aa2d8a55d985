"""One face in, seven expressions out, or one expression by degrees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fes.batch import to_float, to_uint8
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.model.drawing import Drawing
from fes.model.networks import Generator
from fes.photographs.photograph import Fine, Photograph
from fes.pictures import sheet
from fes.saved.snapshot import Snapshot, load_snapshot

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What a strip shows of one expression."""
_LEAST_TILE = 144
"""Pictures smaller than this are enlarged on the sheet: 48 pixels are a stamp on today's screens."""


@torch.inference_mode()
def synthesize(encoder: nn.Module, generator: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """Faces with other expressions.

    Sources that are bent are drawn as they and their mirror images are on average.

    Args:
        image: uint8 [batch, channels, height, width].
        label: int64 [batch], the class to draw; or weights of the conditions, float32 [batch, 8].

    Returns:
        uint8, of the same shape as `image`.
    """
    x = to_float(image)
    if isinstance(generator, Generator):
        return to_uint8(_drawing(encoder, generator, x, label).picture())
    return to_uint8(generator(encoder(x), label))


@torch.inference_mode()
def retouch(encoder: nn.Module, generator: Generator, image: Tensor, label: Tensor, fine: Fine) -> Tensor:
    """The photograph of a face with other expressions: what `synthesize` changes is carried over to it.

    Args:
        image: uint8 [channels, height, width], the face as the network takes it.
        label: as of `synthesize`, [batch] of them.

    Returns:
        uint8 [batch, ...], pictures of the shape of `fine.picture`.
    """
    x = to_float(image).expand(len(label), -1, -1, -1)
    drawing = _drawing(encoder, generator, x, label)
    photograph = to_float(torch.from_numpy(fine.picture))[None]
    # One at a time: photographs are large.
    return torch.cat([to_uint8(one.carried_over(photograph, fine.share)) for one in drawing.apart()])


def _drawing(encoder: nn.Module, generator: Generator, x: Tensor, label: Tensor) -> Drawing:
    here = generator.drawing(encoder(x), label)
    if not generator.to_flow:
        return here
    # A face and its mirror image: what is at one side by chance, as a smear beside a mouth, fades.
    return here.averaged(generator.drawing(encoder(x.flip(3)), label).mirrored())


def all_expressions(encoder: nn.Module, generator: nn.Module, image: Tensor) -> Tensor:
    """uint8 [batch, channels, height, width] -> [batch, 1 + classes, ...]: each face and its expressions."""
    count = len(EXPRESSIONS)
    label = torch.arange(count, device=image.device).repeat(len(image))
    drawn = synthesize(encoder, generator, repeat(image, "b c h w -> (b e) c h w", e=count), label)
    return torch.cat([image[:, None], rearrange(drawn, "(b e) c h w -> b e c h w", e=count)], dim=1)


def between(own: Tensor, label: Tensor, strength: Tensor) -> Tensor:
    """The way from the expressions that faces have to those that are asked for.

    Args:
        own: float32 [batch, classes] that sum to 1, what each face shows: one class, or shares of several.
        label: int64 [batch], the class that is asked for.
        strength: float32 [batch], from 0, the face's own expression, to 1, the class that is asked for.

    Returns:
        Weights of the conditions, float32 [batch, classes + 1], as the generator takes them: the last, of
        what is drawn where no class is known, is 0.
    """
    target = functional.one_hot(label, len(EXPRESSIONS)).to(own.dtype)
    return functional.pad(torch.lerp(own, target, strength[:, None]), (0, 1))


class Synthesizer:
    """A snapshot in use, on the CPU.

    Its pictures are uint8 [channels, height, width]. Where a strength is asked for, `own` is what the
    picture shows, float32 [classes] as of `between`; strength 1 needs none. Where the same face is given in
    more pixels, as `fine`, what changes is carried over to those (`retouch`).
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @classmethod
    def load(cls, weights: Path) -> "Synthesizer":
        """From a snapshot or a run's folder; raises `InputError` where there is none."""
        return cls(load_snapshot(weights))

    def see(self, photograph: Photograph) -> np.ndarray:
        """The face of a photograph as this network wants it, uint8 [channels, resolution, resolution]."""
        return photograph.face(self.snapshot.model.resolution, self.snapshot.model.channels)

    @torch.inference_mode()
    def cover(self, picture: np.ndarray) -> float:
        """Share of a picture that is drawn over, from 0 to 1, the mean of all expressions. Only of networks
        that `retouches`."""
        label = torch.arange(len(EXPRESSIONS))
        x = to_float(torch.from_numpy(picture)).expand(len(label), -1, -1, -1)
        return _drawing(self.snapshot.encoder, self.snapshot.generator, x, label).cover.mean().item()

    @property
    def retouches(self) -> bool:
        """Whether its pictures are their sources, bent or drawn over: else there is nothing to carry over."""
        return self.snapshot.model.skip in ("mask", "warp")

    def one(
        self,
        picture: np.ndarray,
        label: int,
        own: Tensor | None = None,
        strength: float = 1.0,
        fine: Fine | None = None,
    ) -> np.ndarray:
        """The same person with the expression `label`; raises `InputError` where there is no such class."""
        if not 0 <= label < len(EXPRESSIONS):
            raise InputError(f"no expression has the number {label}")
        return self._drawn(picture, [label], own, [strength], fine)[0]

    def sheet(
        self,
        picture: np.ndarray,
        own: Tensor | None = None,
        strength: float = 1.0,
        fine: Fine | None = None,
    ) -> Image.Image:
        """The picture and its seven expressions in a captioned row, which tells a strength below 1."""
        every = range(len(EXPRESSIONS))
        drawn = self._drawn(picture, every, own, [strength] * len(every), fine)
        captions = EXPRESSIONS if strength == 1 else [f"{name} {strength:g}" for name in EXPRESSIONS]
        return _row(fine.picture if fine else picture, drawn, captions)

    def strip(self, picture: np.ndarray, label: int, own: Tensor, fine: Fine | None = None) -> Image.Image:
        """The picture, and the expression `label` at each of `STRENGTHS`, in a captioned row."""
        drawn = self._drawn(picture, [label] * len(STRENGTHS), own, STRENGTHS, fine)
        captions = tuple(f"{EXPRESSIONS[label]} {strength:g}" for strength in STRENGTHS)
        return _row(fine.picture if fine else picture, drawn, captions)

    def _drawn(
        self,
        picture: np.ndarray,
        labels: Sequence[int],
        own: Tensor | None,
        strengths: Sequence[float],
        fine: Fine | None,
    ) -> np.ndarray:
        """uint8 [labels, channels, height, width]: a picture with each label at its strength."""
        label = torch.tensor(labels)
        if own is not None:
            label = between(own.expand(len(labels), -1), label, torch.tensor(strengths, dtype=own.dtype))
        elif min(strengths) < 1:
            raise ValueError("a strength below 1 needs to know what the picture shows")
        networks, image = (self.snapshot.encoder, self.snapshot.generator), torch.from_numpy(picture)
        if fine:
            return retouch(*networks, image, label, fine).numpy()
        return synthesize(*networks, repeat(image, "c h w -> n c h w", n=len(labels)), label).numpy()


def _row(picture: np.ndarray, drawn: np.ndarray, captions: Sequence[str]) -> Image.Image:
    """A picture and what was drawn of it, as one."""
    tile = max(_LEAST_TILE, picture.shape[-1])
    return sheet(np.concatenate([picture[None], drawn])[None], ("source", *captions), tile)

"""One face in, seven expressions out, or one expression by degrees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.networks import Generator
from fes.pictures import read_picture, sheet, to_float, to_uint8
from fes.snapshot import Snapshot, load_snapshot
from shards.schema import Square

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
    if isinstance(generator, Generator) and generator.to_flow:
        # A face and its mirror image: what is at one side by chance, as a smear beside a mouth, fades.
        here, there = (generator.drawing(encoder(each), label) for each in (x, x.flip(3)))
        return to_uint8(here.averaged(there.mirrored()).picture())
    return to_uint8(generator(encoder(x), label))


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
    picture shows, float32 [classes] as of `between`; strength 1 needs none.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @classmethod
    def load(cls, weights: Path) -> "Synthesizer":
        """From a snapshot or a run's folder; raises `InputError` where there is none."""
        return cls(load_snapshot(weights))

    def read(self, path: Path, square: Square | None = None) -> np.ndarray:
        """A picture file as this network wants it; raises `InputError` as `read_picture` does."""
        model = self.snapshot.model
        return read_picture(path, model.resolution, model.channels, square)

    def one(
        self, picture: np.ndarray, label: int, own: Tensor | None = None, strength: float = 1.0
    ) -> np.ndarray:
        """The same person with the expression `label`; raises `InputError` where there is no such class."""
        if not 0 <= label < len(EXPRESSIONS):
            raise InputError(f"no expression has the number {label}")
        return self._drawn(picture, [label], own, [strength])[0]

    def sheet(self, picture: np.ndarray, own: Tensor | None = None, strength: float = 1.0) -> Image.Image:
        """The picture and its seven expressions in a captioned row."""
        every = range(len(EXPRESSIONS))
        drawn = self._drawn(picture, every, own, [strength] * len(every))
        return _row(picture, drawn, EXPRESSIONS)

    def strip(self, picture: np.ndarray, label: int, own: Tensor) -> Image.Image:
        """The picture, and the expression `label` at each of `STRENGTHS`, in a captioned row."""
        drawn = self._drawn(picture, [label] * len(STRENGTHS), own, STRENGTHS)
        return _row(picture, drawn, tuple(f"{EXPRESSIONS[label]} {strength:g}" for strength in STRENGTHS))

    def _drawn(
        self, picture: np.ndarray, labels: Sequence[int], own: Tensor | None, strengths: Sequence[float]
    ) -> np.ndarray:
        """uint8 [labels, channels, height, width]: a picture with each label at its strength."""
        image = repeat(torch.from_numpy(picture), "c h w -> n c h w", n=len(labels))
        label = torch.tensor(labels)
        if own is not None:
            label = between(own.expand(len(labels), -1), label, torch.tensor(strengths, dtype=own.dtype))
        elif min(strengths) < 1:
            raise ValueError("a strength below 1 needs to know what the picture shows")
        return synthesize(self.snapshot.encoder, self.snapshot.generator, image, label).numpy()


def _row(picture: np.ndarray, drawn: np.ndarray, captions: Sequence[str]) -> Image.Image:
    """A picture and what was drawn of it, as one."""
    tile = max(_LEAST_TILE, picture.shape[-1])
    return sheet(np.concatenate([picture[None], drawn])[None], ("source", *captions), tile)

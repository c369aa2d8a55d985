"""One face in, seven expressions out."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor, nn

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.pictures import read_picture, sheet, to_float, to_uint8
from fes.snapshot import Snapshot, load_snapshot

_LEAST_TILE = 144
"""Pictures smaller than this are enlarged on the sheet: 48 pixels are a stamp on today's screens."""


@torch.inference_mode()
def synthesize(encoder: nn.Module, generator: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """Faces with other expressions.

    Args:
        image: uint8 [batch, channels, height, width].
        label: int64 [batch], the class to draw.

    Returns:
        uint8, of the same shape as `image`.
    """
    return to_uint8(generator(encoder(to_float(image)), label))


def all_expressions(encoder: nn.Module, generator: nn.Module, image: Tensor) -> Tensor:
    """uint8 [batch, channels, height, width] -> [batch, 1 + classes, ...]: each face and its expressions."""
    count = len(EXPRESSIONS)
    label = torch.arange(count, device=image.device).repeat(len(image))
    drawn = synthesize(encoder, generator, repeat(image, "b c h w -> (b e) c h w", e=count), label)
    return torch.cat([image[:, None], rearrange(drawn, "(b e) c h w -> b e c h w", e=count)], dim=1)


class Synthesizer:
    """A snapshot in use, on the CPU."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @classmethod
    def load(cls, weights: Path) -> "Synthesizer":
        """From a snapshot or a run's folder; raises `InputError` where there is none."""
        return cls(load_snapshot(weights))

    def read(self, path: Path) -> np.ndarray:
        """A picture file as this network wants it; raises `InputError` as `read_picture` does."""
        model = self.snapshot.model
        return read_picture(path, model.resolution, model.channels)

    def one(self, picture: np.ndarray, label: int) -> np.ndarray:
        """uint8 [channels, height, width] -> the same person with the expression `label`."""
        if not 0 <= label < len(EXPRESSIONS):
            raise InputError(f"no expression has the number {label}")
        image = torch.from_numpy(picture)[None]
        networks = self.snapshot.encoder, self.snapshot.generator
        return synthesize(*networks, image, torch.tensor([label]))[0].numpy()

    def sheet(self, picture: np.ndarray) -> Image.Image:
        """uint8 [channels, height, width] -> the picture and its seven expressions in a captioned row."""
        image = torch.from_numpy(picture)[None]
        rows = all_expressions(self.snapshot.encoder, self.snapshot.generator, image).numpy()
        tile = max(_LEAST_TILE, picture.shape[-1])
        return sheet(rows, ("source", *EXPRESSIONS), tile)

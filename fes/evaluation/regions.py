"""Where a frontal, aligned face moves when its expression changes: boxes, as fractions of the picture."""

from typing import NamedTuple

import torch
from torch import Tensor

from fes.evaluation.similarity import unit


class Box(NamedTuple):
    """A part of the picture, from its top left corner; 1 is the whole side."""

    top: float
    bottom: float
    left: float
    right: float


BOXES = {
    "brows and eyes": Box(0.2, 0.55, 0.15, 0.85),
    "mouth": Box(0.6, 0.95, 0.22, 0.78),
}
"""The regions of an expression, for faces from the top of the hair to the chin as in FER2013."""


def expression_regions(resolution: int) -> Tensor:
    """bool [height, width]: whether a pixel's centre lies in a box."""
    centre = (torch.arange(resolution) + 0.5) / resolution
    inside = torch.zeros(resolution, resolution, dtype=torch.bool)
    for box in BOXES.values():
        rows = (centre >= box.top) & (centre < box.bottom)
        inside |= rows[:, None] & (centre >= box.left) & (centre < box.right)
    return inside


def changes(source: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute difference inside and outside of the regions, on a scale of 1.

    uint8 [batch, channels, height, width], twice -> two float64 [batch].
    """
    difference = (unit(source) - unit(drawn)).abs().mean(1)
    inside = expression_regions(source.shape[-1])
    return difference[:, inside].mean(1), difference[:, ~inside].mean(1)

"""What a step works on: pictures travel as uint8, and become float in [-1, 1] on the device."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """A rank's share of a global batch. Partner i is the sample that a permutation of the global batch
    puts at place i, so partners and samples are the same set."""

    image: Tensor
    """uint8 [batch, channels, height, width]."""
    label: Tensor
    """int64 [batch], -1 where unlabelled."""
    partner_image: Tensor
    """uint8, of the same shape as `image`."""
    partner_label: Tensor
    """int64 [batch]."""


def to_float(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 0..255 -> `dtype` in [-1, 1]."""
    return image.to(dtype).div_(127.5).sub_(1.0)


def to_uint8(x: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8 0..255, rounded; values outside are clipped."""
    return x.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)

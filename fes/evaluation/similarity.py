"""How alike two pictures are, pixel by pixel: tensors in, one float64 per picture out."""

import math

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, SIGMA = 11, 1.5
"""Of the Gaussian that weighs the pixels around each place (Wang et al., 2004)."""
STABLE = 0.01**2, 0.03**2
"""Their constants C1 and C2, for pictures on a scale of 1."""


def unit(image: Tensor) -> Tensor:
    """uint8 0..255 -> float64 in [0, 1]."""
    return image.double() / 255


def absolute_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference on a scale of 1: uint8 [batch, channels, height, width], twice -> [batch]."""
    return (unit(a) - unit(b)).abs().mean((1, 2, 3))


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (Wang et al., 2004): uint8 [batch, channels, height, width], twice -> [batch], at most 1.

    The mean over all places whose window lies within the picture, and over channels.
    """
    a, b = unit(a), unit(b)
    mean_a, mean_b = _smooth(a), _smooth(b)
    variance_a, variance_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + STABLE[0]) / (mean_a**2 + mean_b**2 + STABLE[0])
    form = (2 * covariance + STABLE[1]) / (variance_a + variance_b + STABLE[1])
    return (light * form).mean((1, 2, 3))


def _smooth(x: Tensor) -> Tensor:
    weights = [math.exp(-((at - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for at in range(WINDOW)]
    line = torch.tensor(weights, dtype=x.dtype)
    line = (line / line.sum()).repeat(x.shape[1], 1)
    down = functional.conv2d(x, line[:, None, :, None], groups=x.shape[1])
    return functional.conv2d(down, line[:, None, None, :], groups=x.shape[1])

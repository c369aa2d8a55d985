"""Pictures as they might also have been taken: draws that are functions of the seed and the step."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from fes.draws import torch_rng

_SHIFT = 0.1  # of the picture's side
_ANGLE = 12.0  # degrees
_SCALE = 0.12  # of its logarithm
_CONTRAST = 0.3  # of its logarithm
_BRIGHTNESS = 0.2  # of the range from black to grey
_ERASED = 0.1, 0.4  # sides of the erased patch, of the picture's
_ERASE = 0.5  # the share of pictures that have one


def augmented(x: Tensor, seed: int, step: int, strength: float = 1.0) -> Tensor:
    """Pictures [batch, channels, height, width] in [-1, 1] -> the same mirrored, moved, turned, scaled, in
    another light and with a patch erased, each by chance.

    Args:
        strength: how far all of that may go, in multiples of what suits small photographs; 0: none of it.
    """
    if strength == 0:
        return x
    # One draw for everything, on the CPU whatever the device.
    draws = torch.rand(13, len(x), generator=torch_rng(seed, "judge augmentation", step)).to(x.device)
    moved = _moved(x, draws[:5], strength)
    return _erased(_lit(moved, draws[5:7], strength), draws[7:], strength)


def noisy(x: Tensor, seed: int, step: int, most: float) -> Tensor:
    """Pictures [batch, channels, height, width] in [-1, 1] with Gaussian noise, each as much of it as chance
    says: a standard deviation from 0 to `most`.

    A classifier of noisy pictures changes its mind where people do (Cohen et al., 2019; Kaur et al., 2019).
    """
    if most == 0:
        return x
    rng = torch_rng(seed, "judge noise", step)
    deviation = most * torch.rand(len(x), 1, 1, 1, generator=rng)
    return x + (deviation * torch.randn(x.shape, generator=rng)).to(x.device)


def _moved(x: Tensor, draws: Tensor, strength: float) -> Tensor:
    mirrored, turned, scaled, across, down = draws
    side = torch.where(mirrored < 0.5, -1.0, 1.0)
    angle, size = _within(turned, math.radians(_ANGLE) * strength), _within(scaled, _SCALE * strength).exp()
    cos, sin = angle.cos() * size, angle.sin() * size
    shift = 2 * _SHIFT * strength  # the grid's coordinates go from -1 to 1
    rows = [cos * side, -sin, _within(across, shift), sin * side, cos, _within(down, shift)]
    grid = functional.affine_grid(torch.stack(rows, 1).reshape(-1, 2, 3), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _lit(x: Tensor, draws: Tensor, strength: float) -> Tensor:
    contrast = _within(draws[0], _CONTRAST * strength).exp().reshape(-1, 1, 1, 1)
    brightness = _within(draws[1], _BRIGHTNESS * strength).reshape(-1, 1, 1, 1)
    return (x * contrast + brightness).clamp(-1, 1)


def _erased(x: Tensor, draws: Tensor, strength: float) -> Tensor:
    chosen, height, width, down, across, grey = draws
    rows = _patch(x.shape[2], height, down)[:, None, :, None]
    columns = _patch(x.shape[3], width, across)[:, None, None, :]
    gone = rows & columns & (chosen < _ERASE * min(1.0, strength)).reshape(-1, 1, 1, 1)
    return torch.where(gone, (2 * grey - 1).reshape(-1, 1, 1, 1), x)


def _patch(side: int, size: Tensor, place: Tensor) -> Tensor:
    """Which of `side` pixels a patch covers, whose centre lies anywhere: bool [batch, side]."""
    half = (_ERASED[0] + (_ERASED[1] - _ERASED[0]) * size) / 2
    pixels = (torch.arange(side, device=size.device) + 0.5) / side
    return (pixels - place[:, None]).abs() < half[:, None]


def _within(draws: Tensor, most: float) -> Tensor:
    """Uniform in [0, 1) -> uniform in [-most, most)."""
    return (2 * draws - 1) * most

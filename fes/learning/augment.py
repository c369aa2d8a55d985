"""Random changes to what the image critic sees, so that it cannot learn few training pictures by heart.

The changes are those of Zhao et al. (2020): brightness, saturation, contrast, a shift and a hole; as with
Karras et al. (2020) each is made with a probability, the strength. Real and synthesised pictures are to be
changed by the same draws, and the generator to learn through the changes: then what they do does not get into
its pictures, as long as each is left out often enough.
"""

import torch
from torch import Tensor

from fes.draws import AUGMENTATION_DRAWS

BRIGHTEST, SHIFT, HOLE = 0.5, 1 / 8, 1 / 2
"""The most that is added to a picture in [-1, 1]; the farthest shift and the largest hole, in sides of it."""


def augment(x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
    """Pictures [batch, channels, height, width] in [-1, 1], each changed as its own draws say.

    Differentiable in x any number of times, on every device: a gradient penalty can be taken at the result,
    or through this at x. What a shift or a hole leaves empty is 0, the middle of the range. A change that is
    not made leaves a picture exactly as it was.

    Args:
        draws: [batch, AUGMENTATION_DRAWS], uniform in [0, 1).
        strength: the probability of each change, in [0, 1]; 0 changes nothing. A tensor without dimensions
            stays on its device.
    """
    if not isinstance(strength, Tensor) and strength == 0:
        return x
    chances, amounts = draws.split([5, AUGMENTATION_DRAWS - 5], dim=1)
    brighten, saturate, contrast, shift, pierce = (chances < strength).unbind(1)
    bright, saturated, contrasted, *shifted = amounts[:, :5].unbind(1)
    x = x + _each(brighten * (2 * bright - 1) * BRIGHTEST, x)
    if x.shape[1] > 1:
        x = x + _each(saturate * (2 * saturated - 1), x) * (x - x.mean(1, keepdim=True))
    x = x + _each(contrast * (contrasted - 0.5), x) * (x - x.mean((1, 2, 3), keepdim=True))
    for dimension, amount in zip((2, 3), shifted, strict=True):
        x = _shifted(x, shift, amount, dimension)
    return x * _kept(x, pierce, *amounts[:, 5:].unbind(1))


def _each(amount: Tensor, x: Tensor) -> Tensor:
    """[batch] -> [batch, 1, 1, 1], in the precision of pictures. What is chosen is chosen before, in that of
    the draws: pictures of half precision are changed as others are."""
    return amount.to(x.dtype).reshape(-1, 1, 1, 1)


def _shifted(x: Tensor, whether: Tensor, amount: Tensor, dimension: int) -> Tensor:
    """Moves pictures by whole pixels along a dimension, by -SHIFT for the amount 0 to SHIFT for 1."""
    size = x.shape[dimension]
    most = round(size * SHIFT)
    offset = whether * (torch.floor(amount * (2 * most + 1)) - most)
    source = torch.arange(size, device=x.device) - offset.long()[:, None]
    shape = [1] * x.dim()
    shape[0], shape[dimension] = source.shape
    source = source.reshape(shape)
    inside = (source >= 0) & (source < size)
    return x.gather(dimension, source.clamp(0, size - 1).expand(x.shape)) * inside


def _kept(x: Tensor, whether: Tensor, side: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Which pixels stay, bool [batch, 1, height, width]: all but a square whose centre may be anywhere."""
    height, width = x.shape[2:]
    reach = whether * side * HOLE / 2

    def outside(size: int, centre: Tensor) -> Tensor:
        places = (torch.arange(size, device=x.device) + 0.5) / size
        return (places - centre[:, None]).abs() >= reach[:, None]

    return outside(height, row)[:, None, :, None] | outside(width, column)[:, None, None]

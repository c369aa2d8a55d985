"""Leaky units and means, plain, and as the image critic has them, whose slope is penalised.

A leaky unit's derivative can be read off what it answers as well as off what it is given. So plain units
answer in the memory of what they are given, which nobody needs any more.

The second derivative of units and means is 0. torch's own hand those zeros on: in the backward of a gradient
penalty they go through every convolution between the score and the penalised pictures once more, for
nothing. The penalised ones stop them there, and all gradients stay the same, in float32 to the last bit.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SLOPE = 0.2
"""Of leaky units for negative inputs (Radford et al., 2016)."""


def leaky_(x: Tensor) -> Tensor:
    """x where it is positive and 0.2 x elsewhere, of any shape, in its place: x must be nobody else's."""
    return functional.leaky_relu_(x, SLOPE)


def penalised_leaky(x: Tensor) -> Tensor:
    """The same beside x, as the product of x and its slope, a constant (0.2 as x's precision has it)."""
    slope = (x.detach() > 0).to(x.dtype).clamp_(min=SLOPE)
    return x * slope


def halved(x: Tensor) -> Tensor:
    """Means of 2x2 pixels: [batch, features, height, width] -> half the height and width."""
    return functional.avg_pool2d(x, 2)


def penalised_halved(x: Tensor) -> Tensor:
    """The same, of an even height and width; the derivative of torch's own takes x, if only for its size."""
    return _Mean.apply(x)


class _Linear(torch.autograd.Function):
    """A linear function: its derivative does not depend on where it is taken, and nothing is kept for it.

    Where no gradient arrives none is handed on; torch would make zeros of it.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.set_materialize_grads(False)


class _Mean(_Linear):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return halved(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Tensor | None:
        return None if gradient is None else _Spread.apply(gradient)


class _Spread(_Linear):
    @staticmethod
    def forward(gradient: Tensor) -> Tensor:
        return functional.interpolate(gradient, scale_factor=2) / 4

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Tensor | None:
        return None if gradient is None else _Mean.apply(gradient)

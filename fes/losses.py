"""The terms of the two objectives: pure functions, tensors in, tensors out.

Every term is a plain mean over samples, so that the mean over ranks of equal shares is the term of the
whole batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def reconstruction_error(x_recon: Tensor, x_real: Tensor) -> Tensor:
    """Distance of two batches [batch, ...] of n values a sample: mean of |difference|_1 / sqrt(n).

    Its gradient with respect to one sample, times the batch size, has the norm 1 at any resolution.
    """
    difference = (x_recon - x_real).flatten(1)
    return difference.abs().sum(1).mean() / difference.shape[1] ** 0.5


def wasserstein_gap(score_real: Tensor, score_synthesised: Tensor) -> Tensor:
    """What a Wasserstein critic maximises (Arjovsky et al., 2017): the mean scores' difference."""
    return score_real.mean() - score_synthesised.mean()


def gradient_norm(critic: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Norms [batch] of the gradients of a critic's scores at [batch, ...], differentiable themselves.

    Computed in the precision of `at`, even under autocast: in fp16 the double backward overflows.
    `vector_norm` has the subgradient 0 at 0, where a square root of squares has NaN.
    """
    with torch.autocast(at.device.type, enabled=False), torch.enable_grad():
        at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
        return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


def interpolate(real: Tensor, synthesised: Tensor, epsilon: Tensor) -> Tensor:
    """Points on the straight lines between pairs, at the share `epsilon` from the synthesised ones."""
    return torch.lerp(synthesised, real, epsilon)


def two_sided_penalty(norm: Tensor) -> Tensor:
    """The mean squared distance of gradient norms [batch] from 1 (Gulrajani et al., 2017, eq. 3)."""
    return (norm - 1.0).square().mean()

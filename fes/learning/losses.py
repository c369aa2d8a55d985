"""The terms of the two objectives: pure functions, tensors in, tensors out.

Every term is a plain mean over samples, so that the mean over ranks of equal shares is the term of the
whole batch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fes.config import Adversary
from fes.expressions import UNLABELLED

_LIGHT = 4
"""Blocks along a side of a picture, by which its light is told."""
_TURNED = 0.25
"""What turning counts beside stretching: brows and corners of mouths turn, but not without end."""
_SWOLLEN = 4.0
"""What a change of area counts beside stretching: flesh moves aside, and noses and lips keep their size."""
_YIELDING = 0.1
"""The stiffness of a place without edges."""
_LIFT = 2.0**8
"""What a gradient is multiplied by on its way through half precision, where it may be too small for it."""
_FLAT = 1e-6
"""The mean slope of a picture that has none."""


def reconstruction_error(x_recon: Tensor, x_real: Tensor) -> Tensor:
    """Distance of two batches [batch, ...] of n values a sample: mean of |difference|_1 / sqrt(n).

    Its gradient with respect to one sample, times the batch size, has the norm 1 at any resolution.
    """
    difference = (x_recon - x_real).flatten(1)
    return difference.abs().sum(1).mean() / difference.shape[1] ** 0.5


def light_error(x_swap: Tensor, x_real: Tensor) -> Tensor:
    """Distance of two batches of pictures [batch, channels, height, width] in the light on them: the mean
    |difference|_1 of the means of 4x4 blocks, scaled so that its gradient with respect to one sample, times
    the batch size, has the norm 1 at any resolution."""
    block = x_real.shape[-1] // _LIGHT
    means = (functional.avg_pool2d(x, block) for x in (x_swap, x_real))
    return reconstruction_error(*means) * block


def paint_error(cover: Tensor, free: float = 0.0) -> Tensor:
    """How much more is drawn over sources than is `free`, a share of the picture; of [batch, 1, height,
    width], the shares by which pixels are drawn over: scaled as the reconstruction error is. With it masks
    stay shut where little is won (as with Pumarola et al., 2018, who take the norm)."""
    excess = (cover.flatten(1).mean(1) - free).clamp_min(0)
    return excess.mean() * cover[0].numel() ** 0.5


def strain_error(displacement: Tensor, source: Tensor, limit: float | None = None) -> Tensor:
    """How far what is next to each other in a source is moved apart, most where that has edges: the mean of
    stiffness times squared strain.

    Strain is the symmetric part of the displacement's slope (Landau & Lifshitz, Theory of Elasticity, section
    1), what is stretched and sheared; what it changes an area by counts besides (section 4). What only turns,
    its antisymmetric part, counts a quarter. Skin gives way at first and stiffens as it is stretched (Fung,
    1967): so does a picture with a limit.

    Slopes are those to a node's neighbours on either side, each pair of two sides for itself: a picture and
    its mirror image are strained alike.

    Args:
        displacement: [batch, 2, nodes, nodes], to the right and down, as shares of the picture's width. At a
            slope of -1 a picture folds.
        source: pictures that are bent, [batch, channels, height, width] in [-1, 1].
        limit: strain at which a place of mean edges counts twice, and stiffer ones sooner: what strains it
            costs, e, costs e (1 + e / limit^2). None: e alone.
    """
    nodes = displacement.shape[-1]
    across = _either(displacement.diff(dim=3) * nodes, 2)[:, :, None]
    down = _either(displacement.diff(dim=2) * nodes, 3)[:, None]
    (right_right, down_right), (right_down, down_down) = across.unbind(-3), down.unbind(-3)
    stretched = right_right.square() + down_down.square()
    sheared, turned = (right_down + down_right).square() / 2, (right_down - down_right).square() / 2
    swollen = (right_right + down_down).square()
    energy = stretched + sheared + _TURNED * turned + _SWOLLEN * swollen
    energy = energy * _either(_either(stiffness(source, nodes), 2), 2)
    if limit is not None:
        energy = energy * (1 + energy / limit**2)
    return energy.mean()


def _either(x: Tensor, dim: int) -> Tensor:
    """[batch, 2, ...]: all but the last along a dimension, and all but the first."""
    return torch.stack([x.narrow(dim, start, x.shape[dim] - 1) for start in (0, 1)], dim=1)


def stiffness(source: Tensor, nodes: int) -> Tensor:
    """[batch, nodes, nodes]: how much worse it is to strain a picture where it has edges, as those of irises
    and lips, which people see bent, than where it has none, as a cheek: a tenth, and nine tenths times the
    squared slope of its grey over the picture's mean.

    Args:
        source: [batch, channels, height, width] in [-1, 1].
    """
    grey = source.mean(1, keepdim=True)
    across, down = grey.diff(dim=3).square(), grey.diff(dim=2).square()
    slope = (across[:, :, :-1] + across[:, :, 1:] + down[..., :-1] + down[..., 1:]) / 2
    edges = functional.adaptive_avg_pool2d(slope, nodes).sqrt()
    edges = functional.max_pool2d(edges, 3, stride=1, padding=1)[:, 0]  # also beside them
    mean = edges.mean((1, 2), keepdim=True).clamp_min(_FLAT)
    return _YIELDING + (1 - _YIELDING) * (edges / mean).square()


def code_error(z: Tensor, z_wanted: Tensor) -> Tensor:
    """Distance of two batches of codes [batch, latent_dim], of which only the first is pulled: mean of
    |difference|_1 / sqrt(latent_dim)."""
    return reconstruction_error(z, z_wanted.detach())


def feature_error(maps: Sequence[Tensor], maps_wanted: Sequence[Tensor]) -> Tensor:
    """Distance in a critic's features, lists of [batch, features, height, width]: the mean over layers of
    the mean |difference|. As the perceptual distance of Johnson et al. (2016), in the critic's own eyes."""
    distances = [(a - b.detach()).abs().mean() for a, b in zip(maps, maps_wanted, strict=True)]
    return torch.stack(distances).mean()


def expression_errors(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy of logits [batch, classes] against labels [batch], in nats: [batch], 0 if unlabelled."""
    return functional.cross_entropy(logits, label, ignore_index=UNLABELLED, reduction="none")


def expression_error(logits: Tensor, label: Tensor) -> Tensor:
    """Their mean, over the unlabelled too, so that equal shares of a batch average."""
    return expression_errors(logits, label).mean()


def limited(errors: Tensor, at: Tensor, most: float | None) -> Tensor:
    """The mean of errors [batch], each made so much less that it pulls at its sample of `at` [batch, ...], of
    which alone they are a function, with a gradient of a norm of `most` at the most. None: as they are.

    The gradient that is measured is the one that is handed on: nothing goes back through the errors again.
    """
    if most is None:
        return errors.mean()
    # What is shown of the same pictures elsewhere shares the graph.
    (lifted,) = torch.autograd.grad(errors.sum() * _LIFT, at, retain_graph=True)
    gradient = lifted.to(errors.dtype) / _LIFT
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    share = most / norms.clamp_min(most)
    pull = share * (gradient * at).flatten(1).sum(1)
    # The difference is 0, and its gradient share times gradient.
    return (share * errors.detach() + pull - pull.detach()).mean()


def wasserstein_gap(score_real: Tensor, score_synthesised: Tensor) -> Tensor:
    """What a Wasserstein critic maximises (Arjovsky et al., 2017): the mean scores' difference."""
    return score_real.mean() - score_synthesised.mean()


def critic_error(adversary: Adversary, score_real: Tensor, score_synthesised: Tensor) -> Tensor:
    """What a critic minimises besides its penalty, given scores [batch] of both.

    Wasserstein (Arjovsky et al., 2017), the logistic loss (Goodfellow et al., 2014), or that of the
    differences of pairs (Jolicoeur-Martineau, 2019; Huang et al., 2024, eq. 2).
    """
    match adversary:
        case "r1-non-saturating":
            return functional.softplus(-score_real).mean() + functional.softplus(score_synthesised).mean()
        case "r1-relativistic":
            return functional.softplus(score_synthesised - score_real).mean()
        case _:
            return -wasserstein_gap(score_real, score_synthesised)


def synthesis_error(adversary: Adversary, score_synthesised: Tensor, score_real: Tensor) -> Tensor:
    """What the critic's adversary minimises, given scores [batch]; the real ones count if relativistic."""
    match adversary:
        case "r1-non-saturating":
            return functional.softplus(-score_synthesised).mean()
        case "r1-relativistic":
            return functional.softplus(score_real.detach() - score_synthesised).mean()
        case _:
            return -score_synthesised.mean()


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


def penalised_at(adversary: Adversary, real: Tensor, synthesised: Tensor, epsilon: Tensor) -> Tensor:
    """Where the critic's slope is bounded: between pairs, or at the real ones (Mescheder et al., 2018)."""
    if adversary.startswith("r1"):
        return real
    return interpolate(real, synthesised, epsilon)


def penalty(adversary: Adversary, norm: Tensor) -> Tensor:
    """The penalty of gradient norms [batch] at those places, before its weight."""
    match adversary:
        case "wgan-gp":
            return two_sided_penalty(norm)
        case "wgan-gp-one-sided":
            return one_sided_penalty(norm)
        case _:
            return norm.square().mean() / 2  # with the weight gamma, as Mescheder et al. write it


def two_sided_penalty(norm: Tensor) -> Tensor:
    """The mean squared distance of gradient norms [batch] from 1 (Gulrajani et al., 2017, eq. 3)."""
    return (norm - 1.0).square().mean()


def one_sided_penalty(norm: Tensor) -> Tensor:
    """The same for norms above 1 alone (Petzka et al., 2018, eq. 8): a critic may be flatter."""
    return (norm - 1.0).clamp_min(0.0).square().mean()

"""What the ranks found, judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fes.errors import InputError
from fes.training.watch import odd_ranks

RIGHT, WRONG = "the gradients are right", "the gradients are WRONG"


@dataclass(frozen=True)
class Exactness:
    """How closely ranks and one process have to agree. What is wrong is off by a thousandth and more."""

    dtype: torch.dtype
    gradients: float
    """Relative to the largest gradient of the same parameter."""
    weights: float
    """After the updates."""


FLOAT64 = Exactness(torch.float64, gradients=1e-9, weights=1e-9)
FLOAT32 = Exactness(torch.float32, gradients=1e-3, weights=2e-5)
"""For DeepSpeed, which keeps weights in float32. After two updates of 48 px rounding puts weights
off by 5e-7, and gradients that are not averaged by 1e-3."""


@dataclass(frozen=True)
class Difference:
    """How far a rank is from one process."""

    largest: float
    name: str
    """Of the parameter that is so far off."""


@dataclass(frozen=True)
class Found:
    """What a rank found."""

    device: str
    gradients: Difference
    weights: Difference
    digests: Mapping[str, str]
    """Of its gradients and of its weights."""


def furthest(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], limit: float, least: float | None = None
) -> Difference:
    """The first tensor that is further off than the limit, else the one that is furthest off.

    Args:
        least: differences are taken relative to the largest value of a tensor, or to `least` where that is
            larger; without it they are absolute.

    Raises:
        InputError: what is expected is not finite.
    """
    worst = Difference(0.0, next(iter(expected)))
    for name, value in expected.items():
        if not torch.isfinite(value).all():
            raise InputError(f"with these settings even one process diverges ({name}): lower the rates")
        size = 1.0 if least is None else max(float(value.abs().max()), least)
        off = float((found[name] - value).abs().max().nan_to_num(nan=torch.inf)) / size
        if off > limit:
            return Difference(off, name)
        worst = max(worst, Difference(off, name), key=lambda each: each.largest)
    return worst


def judged(found: Sequence[Found], exactness: Exactness) -> tuple[bool, str]:
    """Whether all is right, and the verdict in a sentence.

    Args:
        found: what each rank found, by rank.
    """
    fault = (
        _fault_between_ranks(found, "gradients", exactness)
        or _fault_of_gradients(found, exactness)
        or _fault_between_ranks(found, "weights", exactness)
        or _fault_of_weights(found, exactness)
    )
    if fault:
        return False, f"{WRONG}: {fault}"
    many = f"{len(found)} processes compute" if found[1:] else "in pieces this process computes"
    return True, f"{RIGHT}: {many} what one would at once{', to the bit alike' * (len(found) > 1)}"


def _fault_between_ranks(found: Sequence[Found], kind: str, exactness: Exactness) -> str | None:
    odd, _ = odd_ranks([{kind: each.digests[kind]} for each in found])
    if not odd:
        return None
    which = f"rank {odd[0]} does" if len(odd) == 1 else f"ranks {', '.join(map(str, odd))} do"
    return (
        f"{which} not have the {kind} of the rest{_first(found, exactness)}: they are not averaged over all "
        "ranks, or a machine miscalculates"
    )


def _fault_of_gradients(found: Sequence[Found], exactness: Exactness) -> str | None:
    first = _first(found, exactness)
    if not first:
        return None
    return (
        f"the ranks agree, but not with one process{first}: they see other samples or draws than it, or a "
        "term of the loss is no mean over samples, or a network uses batch statistics"
    )


def _fault_of_weights(found: Sequence[Found], exactness: Exactness) -> str | None:
    off = next((each.weights for each in found if each.weights.largest > exactness.weights), None)
    if off is None:
        return None
    return (
        f"the first are right, but after the updates {off.name} is off by {off.largest:.1e}: later ones are "
        "not averaged, or not cleared"
    )


def _first(found: Sequence[Found], exactness: Exactness) -> str:
    """The first gradient that is off, for people; nothing where none is."""
    for rank, each in enumerate(found):
        if each.gradients.largest > exactness.gradients:
            size = f"{each.gradients.largest:.1e} of its size"
            return f"; the first is {each.gradients.name} on rank {rank}, by {size}"
    return ""

"""How a guide pulls: towards the asked expression, not past what real faces show, and not at any price."""

from collections.abc import Callable

import torch
from torch import Tensor

from fes.config import LossConfig
from fes.learning.losses import expression_errors, limited

Reader = Callable[[Tensor, Tensor], Tensor]
"""Pictures [batch, channels, height, width] and draws [batch, GUIDE_DRAWS] -> logits [batch, classes]."""


def guided_error(
    weights: LossConfig,
    read: Callable[[Tensor], Tensor],
    x_swap: Tensor,
    x_shown: Tensor,
    x_partner: Callable[[], Tensor],
    label: Tensor,
) -> tuple[Tensor, Tensor]:
    """The guide's term, a scalar, and the share of changed faces that it reads as asked; those whose partner
    has no label count as misread.

    Args:
        read: pictures -> the guide's logits [batch, classes], through the same noise each time.
        x_swap: [batch, channels, height, width], the changed faces, where the pull is limited.
        x_shown: what is shown of them, augmented.
        x_partner: makes what is shown of the partners, real faces of the asked classes, augmented alike; for
            `guide_margin`.
        label: int64 [batch], the asked classes.
    """
    logits = read(x_shown)
    errors = expression_errors(logits, label)
    if weights.guide_margin is not None:
        with torch.no_grad():
            wanted = expression_errors(read(x_partner()), label) - weights.guide_margin
            if weights.guide_clear is not None:
                wanted = wanted.clamp_max(weights.guide_clear)
        errors = errors * (errors.detach() > wanted)
    accuracy = (logits.argmax(1) == label).to(logits.dtype).mean()
    return limited(errors, x_swap, weights.guide_limit), accuracy

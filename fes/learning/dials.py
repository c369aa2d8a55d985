"""What a run sets by its own measurements: how strongly terms pull, and how much pictures are augmented.

Dials move by means over all ranks, at steps that are told by the clock, and are part of the state: they do
not depend on the number of ranks, nor on whether the run was interrupted.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fes.config import AugmentConfig, LossConfig
from fes.draws import Noise
from fes.learning.adaptive import AdaptiveStrength
from fes.learning.augment import augment

Measurements = Mapping[str, Tensor]
"""Scalars on the device, detached."""
SMOOTHING = 0.9
"""What of a pull's running mean a measurement leaves."""
_NOT_AT_PICTURES = ("latent", "paint", "strain")
MOST = 10.0
"""A term is scaled by this at most, and by its inverse at least."""


class Dials:
    """The dials of a run, at their first positions; all tensors are on the device."""

    def __init__(
        self,
        weights: LossConfig,
        augmentation: AugmentConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        setting = augmentation or AugmentConfig()
        self._balance, self._fixed, self._device = weights.balance, setting.strength, device
        self._pulls: dict[str, Tensor] = {}
        self._adaptive = None
        if setting.adapt_kimg is not None:
            self._adaptive = AdaptiveStrength(setting.adapt_kimg, setting.strength).to(device)

    @property
    def strength(self) -> float | Tensor:
        """Of augmentation, in [0, 1]."""
        return self._fixed if self._adaptive is None else self._adaptive.strength

    def augmented(self, x: Tensor, noise: Noise) -> Tensor:
        """What the image critic is shown of pictures [batch, channels, height, width]."""
        return augment(x, noise.augmentation, self.strength)

    def scale(self, term: str) -> float | Tensor:
        """What a term's weight is multiplied with: the inverse of its pull where weights balance
        themselves, else 1. What pulls at codes, masks and displacements, not at pictures, stays as it is."""
        if not self._balance or term not in self._pulls or term in _NOT_AT_PICTURES:
            return 1.0
        return self._pulls[term].reciprocal().clamp(1 / MOST, MOST)

    @property
    def move(self) -> bool:
        """Whether any dial moves at all."""
        return self._balance or self.adapts

    @property
    def adapts(self) -> bool:
        """Whether the strength follows the image critic, which takes held-out pictures."""
        return self._adaptive is not None

    def update(
        self, measurements: Measurements, mean_over_ranks: Callable[[Tensor], Tensor], images: int
    ) -> dict[str, Tensor]:
        """Moves by what was measured at a step; most steps measure nothing that matters here.

        Args:
            measurements: of this rank. `pull/...` move the scales, and `critic/held_out_gap`, beside
                `critic/image_gap`, the strength. (Gaps, not scores: what a critic adds to the scores of all
                pictures of a class is arbitrary, and held-out batches hold other classes.)
            images: real pictures drawn, by all ranks, from one such measurement to the next.

        Returns:
            What there is to tell of the strength where it may have moved: `augment/overfitting`, r_v, and
            `augment/strength`.
        """
        pulls = {name: value for name, value in measurements.items() if name.startswith("pull/")}
        if self._balance and pulls:
            means = mean_over_ranks(torch.stack([each.double() for each in pulls.values()]))
            for name, mean in zip(pulls, means.unbind(), strict=True):
                term = name.removeprefix("pull/")
                self._pulls[term] = torch.lerp(mean, self._pulls.get(term, mean), SMOOTHING)
        if self._adaptive and "critic/held_out_gap" in measurements:
            names = "critic/image_gap", "critic/held_out_gap"
            means = mean_over_ranks(torch.stack([measurements[name].double() for name in names]))
            overfitting = self._adaptive.update(*means.unbind(), images)
            return {"augment/overfitting": overfitting, "augment/strength": self._adaptive.strength}
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The positions."""
        strength = self._adaptive.state_dict() if self._adaptive else {}
        return {"pulls": dict(self._pulls), "strength": strength}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self._pulls = {name: value.to(self._device) for name, value in state["pulls"].items()}
        if self._adaptive and state["strength"]:
            self._adaptive.load_state_dict(state["strength"])

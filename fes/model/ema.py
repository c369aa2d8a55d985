"""The moving average of the autoencoder's weights: what snapshots hold and people use."""

import copy

import torch
from torch import nn

from fes.model.edges import fade
from fes.model.networks import Networks


class Ema:
    """Averages encoder and generator together, in their own precision.

    All ranks hold the same weights, so each keeps the same average without talking to the others.
    """

    def __init__(self, networks: Networks, halflife_kimg: float) -> None:
        self.networks = nn.ModuleDict({"encoder": networks.encoder, "generator": networks.generator})
        self.average = copy.deepcopy(self.networks).requires_grad_(False).eval()
        self.halflife = halflife_kimg * 1000
        self._list()

    def _list(self) -> None:
        # Once: to walk through modules takes longer than to average what is in them.
        self._averages, self._weights = (list(each.parameters()) for each in (self.average, self.networks))
        self._buffers = list(zip(self.average.buffers(), self.networks.buffers(), strict=True))

    def fade(self, share: float) -> None:
        """Gives new blocks of the average their share, as the networks' have it."""
        fade(self.average, share)
        if share >= 1:
            self._list()

    @torch.no_grad()
    def update(self, seen: int, images: int) -> None:
        """Moves towards the present weights.

        Args:
            seen: real pictures drawn since the beginning. The half-life is at most a twentieth of
                them, so that the first weights are soon forgotten.
            images: real pictures drawn since the update before.
        """
        halflife = min(self.halflife, 0.05 * seen)
        keep = 0.5 ** (images / halflife)
        torch._foreach_lerp_(self._averages, self._weights, 1.0 - keep)
        for average, present in self._buffers:
            average.copy_(present)

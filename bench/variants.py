"""The same steps computed in other ways than fes computes them: what was tried to make them faster."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from fes.batch import Batch
from fes.config import ModelConfig
from fes.draws import Noise
from fes.learning import objectives
from fes.learning.objectives import CriticObjective, Measurements
from fes.model import networks
from fes.model.blocks import Parts
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.model.piecewise import SLOPE, halved

Critic = Callable[[Tensor], Tensor]
LAZY = 4
"""Steps of the critics for one penalty, where it is lazy (Karras et al., 2020, take 16 with R1)."""


OWN_PARTS = Parts(nn.Identity, partial(functional.leaky_relu, negative_slope=SLOPE), halved)
"""Of a critic, torch's own: the penalty's backward carries zeros through every convolution."""


def networks_of(model: ModelConfig, own_parts: bool) -> Networks:
    """The networks of a seed; `own_parts`: their critic is made of torch's own units and means."""
    if not own_parts:
        return Networks(model, seed=0)
    with mock.patch.object(networks, "PENALISED_PARTS", OWN_PARTS):
        return Networks(model, seed=0)


class Apart(CriticObjective):
    """Real and synthesised pictures go through a critic one after the other, as they need not."""

    def _duel(self, name: str, critic: Critic, real: Tensor, *others: Any) -> tuple[Tensor, Measurements]:
        def in_turn(x: Tensor) -> Tensor:
            return torch.cat([critic(part) for part in x.chunk(max(1, len(x) // len(real)))])

        return super()._duel(name, in_turn, real, *others)


class Lazy(CriticObjective):
    """The penalty at one of four steps alone; who trained so would make it four times as heavy."""

    turn = 0

    def forward(self, batch: Batch, noise: Noise) -> tuple[Tensor, Measurements]:
        self.turn += 1
        if self.turn % LAZY == 1:
            return super().forward(batch, noise)
        with mock.patch.object(
            objectives, "gradient_norm", lambda _, at: torch.ones(len(at), device=at.device)
        ):
            return super().forward(batch, noise)


class MadeAhead(CriticObjective):
    """Faces for several steps of the critics come from one forward of the autoencoder, which stands still."""

    ahead: Iterator[tuple[Tensor, Tensor]] = iter(())

    def make(self, batches: list[Batch], noises: list[Noise]) -> None:
        """Faces for the next steps, from their batches one behind the other."""
        together = Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
        drawn = Noise(*(torch.cat(parts) for parts in zip(*noises, strict=True)))
        made = super()._made(together, drawn)
        self.ahead = iter(list(zip(*(each.chunk(len(batches)) for each in made), strict=True)))

    def _made(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        return next(self.ahead)


class AverageInALoop(Ema):
    """The average is moved weight by weight."""

    @torch.no_grad()
    def update(self, seen: int, images: int) -> None:
        keep = 0.5 ** (images / min(self.halflife, 0.05 * seen))
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.lerp_(weight, 1.0 - keep)


def compile_autoencoder(networks: Networks) -> None:
    """Compiles encoder and generator, in place."""
    for network in (networks.encoder, networks.generator):
        network.compile(dynamic=False)


def compiled_norm(critic: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """`fes.learning.losses.gradient_norm` as a function of functions, which the compiler can look through."""
    gradient = torch.func.grad(lambda x: critic(x).sum())(at.detach())
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


class Compiled(CriticObjective):
    """Scores and penalty of the image critic by one compiled function, through `torch.func.grad`."""

    def __init__(self, networks: Networks, *others: object) -> None:
        super().__init__(networks, *others)
        self._compiled = torch.compile(self._scores_and_norm, dynamic=False)

    def _scores_and_norm(self, both: Tensor, between: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        twice = torch.cat([label, label])
        norm = compiled_norm(lambda x: self.image_critic(x, label).score, between)
        return self.image_critic(both, twice).score, norm

    def _duel(self, name: str, critic: Critic, real: Tensor, *others: Any) -> tuple[Tensor, Measurements]:
        if name != "image":
            return super()._duel(name, critic, real, *others)
        synthesised, epsilon, adversary = others
        between = objectives.penalised_at(adversary, real, synthesised, epsilon)
        scores, norm = self._compiled(torch.cat([real, synthesised]), between, self.label)
        with mock.patch.object(objectives, "gradient_norm", return_value=norm):
            return super()._duel(name, lambda _: scores, real, *others)

    def forward(self, batch: Batch, noise: Noise) -> tuple[Tensor, Measurements]:
        self.label = batch.label
        return super().forward(batch, noise)


VARIANTS: dict[str, type[nn.Module]] = {
    "apart": Apart,
    "lazy": Lazy,
    "ahead": MadeAhead,
    "compiled": Compiled,
}

"""What the two players minimise, and with which optimiser.

An objective is a module that holds the networks its player trains; its forward returns the loss, the
penalty's inner gradient included, and the measurements. It is the objective that gets wrapped for
several ranks: one forward, one backward, one step. The other player's networks come in unregistered
(so that the wrapper never sees them) and frozen (so that they collect no gradients).

The classes of the synthesised pictures are those of the real ones in the same batch, dealt to other
people: were they drawn otherwise, the critic could tell pairs apart by the class alone, and the
penalty, which bounds only the slope in the picture, could not stop it.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fes.batch import Batch
from fes.config import Config, LossConfig
from fes.draws import Noise
from fes.losses import (
    gradient_norm,
    interpolate,
    reconstruction_error,
    two_sided_penalty,
    wasserstein_gap,
)
from fes.networks import Networks
from fes.pictures import to_float

Measurements = dict[str, Tensor]
"""Scalars on the device, detached."""


@contextlib.contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Parameters take no part in graphs that are built inside."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


class CriticObjective(nn.Module):
    """Both critics: tell real pictures and prior codes from what the autoencoder makes."""

    def __init__(self, networks: Networks, weights: LossConfig) -> None:
        super().__init__()
        self.latent_critic, self.image_critic = networks.latent_critic, networks.image_critic
        self._others = (networks.encoder, networks.generator)
        self.weights = weights

    def forward(self, batch: Batch, noise: Noise) -> tuple[Tensor, Measurements]:
        """The loss, a scalar, and the measurements, for a rank's share of a batch."""
        encoder, generator = self._others
        dtype = noise.z_prior.dtype
        with torch.no_grad():
            z_posterior = encoder(to_float(batch.partner_image, dtype)).to(dtype)
            x_swap = generator(z_posterior, batch.label).to(dtype)
        x_real = to_float(batch.image, dtype)

        # Under autocast scores come in half precision, which must not reach the means.
        score = self.image_critic(torch.cat([x_real, x_swap]), batch.label.repeat(2)).to(dtype)
        image_gap = wasserstein_gap(*score.chunk(2))
        image_norm = gradient_norm(
            lambda x: self.image_critic(x, batch.label), interpolate(x_real, x_swap, noise.image_epsilon)
        )
        score = self.latent_critic(torch.cat([noise.z_prior, z_posterior])).to(dtype)
        latent_gap = wasserstein_gap(*score.chunk(2))
        latent_norm = gradient_norm(
            self.latent_critic, interpolate(noise.z_prior, z_posterior, noise.latent_epsilon)
        )

        penalty = two_sided_penalty(image_norm) + two_sided_penalty(latent_norm)
        loss = self.weights.penalty_weight * penalty - image_gap - latent_gap
        return loss, {
            "critic/loss": loss.detach(),
            "critic/image_gap": image_gap.detach(),
            "critic/image_gradient_norm": image_norm.detach().mean(),
            "critic/image_penalty": two_sided_penalty(image_norm.detach()),
            "critic/latent_gap": latent_gap.detach(),
            "critic/latent_gradient_norm": latent_norm.detach().mean(),
            "critic/latent_penalty": two_sided_penalty(latent_norm.detach()),
        }


class AutoencoderObjective(nn.Module):
    """Encoder and generator: keep the person, look real in the asked class, keep codes to the prior."""

    def __init__(self, networks: Networks, weights: LossConfig) -> None:
        super().__init__()
        self.encoder, self.generator = networks.encoder, networks.generator
        self._others = (networks.latent_critic, networks.image_critic)
        self.weights = weights

    def forward(self, batch: Batch, noise: Noise) -> tuple[Tensor, Measurements]:
        """The loss, a scalar, and the measurements, for a rank's share of a batch."""
        latent_critic, image_critic = self._others
        dtype = noise.z_prior.dtype
        x_real = to_float(batch.image, dtype)
        label_target = batch.partner_label
        z_posterior = self.encoder(x_real)
        x_both = self.generator(z_posterior.repeat(2, 1), torch.cat([batch.label, label_target]))
        x_recon, x_swap = x_both.chunk(2)

        reconstruction = reconstruction_error(x_recon, x_real)
        with frozen(latent_critic, image_critic):
            image_score = image_critic(x_swap, label_target).to(dtype).mean()
            latent_score = latent_critic(z_posterior).to(dtype).mean()
        loss = (
            self.weights.reconstruction_weight * reconstruction
            - self.weights.image_weight * image_score
            - self.weights.latent_weight * latent_score
        )
        return loss, {
            "autoencoder/loss": loss.detach(),
            "autoencoder/reconstruction": reconstruction.detach(),
            "autoencoder/reconstruction_l1": (x_recon.detach() - x_real).abs().mean() / 2,
            "autoencoder/image_score": image_score.detach(),
            "autoencoder/latent_score": latent_score.detach(),
        }


class BarePlayer(NamedTuple):
    """A player that knows of no ranks, pieces or precisions."""

    objective: nn.Module
    optimiser: torch.optim.Optimizer
    """Of all parameters of the objective."""


def bare_players(config: Config, networks: Networks) -> dict[str, BarePlayer]:
    """The two players of a run, critics first, each with its own rate."""
    adam = config.optimiser

    def player(objective: nn.Module, rate: float) -> BarePlayer:
        return BarePlayer(objective, torch.optim.Adam(objective.parameters(), rate, (adam.beta1, adam.beta2)))

    return {
        "critics": player(CriticObjective(networks, config.loss), adam.critic_rate),
        "autoencoder": player(AutoencoderObjective(networks, config.loss), adam.autoencoder_rate),
    }

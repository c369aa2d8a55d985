"""A cycle of the same networks and losses as common WGAN-GP trainers take it.

Real, synthesised and penalised pictures go through the critic one after the other; the penalty hangs on the
generator's graph, and its backward runs through the generator for nothing; critics collect gradients in the
autoencoder's step that are thrown away; averages are taken weight by weight, and every loss is fetched from
the device at every step.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fes.batch import Batch, to_float
from fes.config import LossConfig
from fes.draws import Noise
from fes.model.networks import Networks

_KEPT = 0.999
"""What of the average an update leaves."""


class PeerTrainer:
    """One optimiser for each critic and one for encoder and generator."""

    def __init__(self, networks: Networks, weights: LossConfig, whole: bool = False) -> None:
        """`whole`: encoder and generator are called as one network from picture to picture, for each picture
        that is drawn, as those of StarGAN (Choi et al., 2018); else a picture is encoded once."""
        self.networks, self.weights, self.whole = networks, weights, whole
        networks.image_critic.head.requires_grad_(False)
        self.average = copy.deepcopy(nn.ModuleList([networks.encoder, networks.generator]))
        self.of_image_critic = self._adam(networks.image_critic)
        self.of_latent_critic = self._adam(networks.latent_critic)
        self.of_autoencoder = self._adam(networks.encoder, networks.generator)
        self.logged: dict[str, float] = {}

    @staticmethod
    def _adam(*networks: nn.Module) -> torch.optim.Optimizer:
        learning = [each for network in networks for each in network.parameters() if each.requires_grad]
        return torch.optim.Adam(learning, 5e-4, (0.0, 0.9))

    def cycle(self, batch: Batch, noise: Noise) -> None:
        """A step of both critics, then one of the autoencoder."""
        self.critics_step(batch, noise)
        self.autoencoder_step(batch)
        for averaged, present in zip(self.average.parameters(), self._trained(), strict=True):
            averaged.data.mul_(_KEPT).add_(present.data, alpha=1 - _KEPT)

    def _trained(self) -> list[Tensor]:
        return [*self.networks.encoder.parameters(), *self.networks.generator.parameters()]

    def critics_step(self, batch: Batch, noise: Noise) -> None:
        networks, label = self.networks, batch.label
        real = to_float(batch.image)
        code = networks.encoder(to_float(batch.partner_image))
        fake = networks.generator(code, label)

        def image_critic(x: Tensor) -> Tensor:
            return networks.image_critic(x, label).score

        self._duel("image", image_critic, self.of_image_critic, real, fake, noise.image_epsilon)
        duel = networks.latent_critic, self.of_latent_critic, noise.z_prior, code.z.detach()
        self._duel("latent", *duel, noise.latent_epsilon)

    def _duel(
        self,
        name: str,
        critic: Callable[[Tensor], Tensor],
        optimiser: torch.optim.Optimizer,
        real: Tensor,
        fake: Tensor,
        epsilon: Tensor,
    ) -> None:
        optimiser.zero_grad()
        score_real, score_fake = critic(real).mean(), critic(fake.detach()).mean()
        between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
        score = critic(between)
        (gradient,) = torch.autograd.grad(score, between, torch.ones_like(score), create_graph=True)
        penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
        loss = score_fake - score_real + self.weights.penalty_weight * penalty
        loss.backward()
        optimiser.step()
        self.logged |= {f"{name}_loss": loss.item(), f"{name}_penalty": penalty.item()}

    def autoencoder_step(self, batch: Batch) -> None:
        networks, weights, x = self.networks, self.weights, to_float(batch.image)
        self.of_autoencoder.zero_grad()
        code = networks.encoder(x)
        recon = networks.generator(code, batch.label)
        swap = networks.generator(networks.encoder(x) if self.whole else code, batch.partner_label)
        terms = {
            "reconstruction": weights.reconstruction_weight * (recon - x).abs().mean() * x[0].numel() ** 0.5,
            "image": -weights.image_weight * networks.image_critic(swap, batch.partner_label).score.mean(),
            "latent": -weights.latent_weight * networks.latent_critic(code.z).mean(),
        }
        sum(terms.values()).backward()
        self.of_autoencoder.step()
        self.logged |= {name: term.item() for name, term in terms.items()}

"""What the two players minimise.

An objective is a module that holds the networks its player trains; its forward returns the loss, the
penalty's inner gradient included, and the measurements. It is the objective that gets wrapped for
several ranks: one forward, one backward, one step. The other player's networks come in unregistered
(so that the wrapper never sees them) and frozen (so that they collect no gradients).

The classes of the synthesised pictures are those of the real ones in the same batch, dealt to other
people: were they drawn otherwise, the critic could tell pairs apart by the class alone, and the
penalty, which bounds only the slope in the picture, could not stop it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fes.batch import Batch, to_float
from fes.config import Adversary, LossConfig, Stage
from fes.draws import Noise
from fes.learning.dials import Dials
from fes.learning.guided import Reader, guided_error
from fes.learning.losses import (
    code_error,
    critic_error,
    expression_error,
    feature_error,
    gradient_norm,
    light_error,
    paint_error,
    penalised_at,
    penalty,
    reconstruction_error,
    strain_error,
    synthesis_error,
    wasserstein_gap,
)
from fes.model.drawing import Drawing
from fes.model.networks import Code, Networks

Scores = Callable[[Tensor], Tensor]
"""Pictures or codes [n, ...] -> scores [n]."""
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


class Term(NamedTuple):
    """A term of the autoencoder's loss."""

    weight: float
    value: Tensor
    """A scalar: a mean over samples."""
    at: Tensor
    """[batch, ...]: where its pull is measured, a picture or a code."""

    def pull(self) -> Tensor:
        """The mean norm of its gradient per sample, a scalar: 1 for a critic that obeys its penalty."""
        (gradient,) = torch.autograd.grad(self.value, self.at, retain_graph=True)
        return torch.linalg.vector_norm(gradient.flatten(1), dim=1).sum()


class CriticObjective(nn.Module):
    """The critics of a stage: tell real pictures and prior codes from what the autoencoder makes."""

    def __init__(
        self, networks: Networks, weights: LossConfig, dials: Dials | None = None, stage: Stage = "joint"
    ) -> None:
        super().__init__()
        self.latent_critic = networks.latent_critic if stage != "gan" else None
        self.image_critic = networks.image_critic if stage != "autoencoder" else None
        self._others = (networks.encoder, networks.generator, dials or Dials(weights))
        self.stage, self.weights = stage, weights

    def forward(self, batch: Batch, noise: Noise) -> tuple[Tensor, Measurements]:
        """The loss, a scalar, and the measurements, for a rank's share of a batch."""
        z_posterior, x_swap = self._made(batch, noise)
        losses, told = [], {}
        if self.image_critic is not None:
            loss, measured = self._image_loss(batch, noise, x_swap)
            losses.append(loss)
            told |= measured
        if self.latent_critic is not None:
            made = noise.z_prior, z_posterior
            loss, measured = self._duel("latent", self.latent_critic, *made, noise.latent_epsilon, "wgan-gp")
            losses.append(loss)
            told |= measured
        total = torch.stack(losses).sum()
        return total, {"critic/loss": total.detach(), **told}

    @torch.no_grad()
    def _made(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """What the autoencoder makes: z_posterior and, but in its own stage, x_swap."""
        encoder, generator, _ = self._others
        dtype = noise.z_prior.dtype
        prior = self.stage == "gan"
        code = Code(noise.z_prior) if prior else encoder(to_float(batch.partner_image, dtype))
        drawn = code.z if self.image_critic is None else generator(code, batch.label)
        return code.z.to(dtype), drawn.to(dtype)

    def _image_loss(self, batch: Batch, noise: Noise, x_swap: Tensor) -> tuple[Tensor, Measurements]:
        critic, x_real, x_swap = self._shown(batch, noise, x_swap)
        adversary = self.weights.adversary
        loss, told = self._duel("image", critic, x_real, x_swap, noise.image_epsilon, adversary)
        if not self.weights.expression_weight:
            return loss, told
        logits = self.image_critic.head(x_real).to(x_real.dtype)
        expression = expression_error(logits, batch.label)
        right = (logits.argmax(1) == batch.label).to(x_real.dtype).mean()
        told |= {"critic/expression": expression.detach(), "critic/expression_accuracy": right}
        return loss + expression, told

    def _shown(self, batch: Batch, noise: Noise, x_swap: Tensor) -> tuple[Scores, Tensor, Tensor]:
        """What scores pictures of a batch's classes, and the real and the synthesised as it sees them."""
        dials = self._others[-1]

        def critic(x: Tensor) -> Tensor:
            return self.image_critic(x, batch.label.repeat(len(x) // len(batch.label))).score

        x_real = dials.augmented(to_float(batch.image, x_swap.dtype), noise)
        return critic, x_real, dials.augmented(x_swap, noise)

    @torch.no_grad()
    def image_gap(self, batch: Batch, noise: Noise) -> Tensor:
        """The image critic's gap alone, a scalar."""
        critic, *pictures = self._shown(batch, noise, self._made(batch, noise)[1])
        return wasserstein_gap(*critic(torch.cat(pictures)).to(pictures[0].dtype).chunk(2))

    def _duel(
        self,
        name: str,
        critic: Scores,
        real: Tensor,
        synthesised: Tensor,
        epsilon: Tensor,
        adversary: Adversary,
    ) -> tuple[Tensor, Measurements]:
        """The loss of one critic with its penalty."""
        # Under autocast scores come in half precision, which must not reach the means.
        scores = critic(torch.cat([real, synthesised])).to(real.dtype).chunk(2)
        norm = gradient_norm(critic, penalised_at(adversary, real, synthesised, epsilon))
        bound = penalty(adversary, norm)
        loss = critic_error(adversary, *scores) + self.weights.penalty_weight * bound
        return loss, {
            f"critic/{name}_score": scores[0].detach().mean(),
            f"critic/{name}_gap": wasserstein_gap(*scores).detach(),
            f"critic/{name}_gradient_norm": norm.detach().mean(),
            f"critic/{name}_penalty": bound.detach(),
        }


class AutoencoderObjective(nn.Module):
    """Encoder and generator: keep the person, look real in the asked class, keep codes to the prior."""

    def __init__(
        self,
        networks: Networks,
        weights: LossConfig,
        dials: Dials | None = None,
        stage: Stage = "joint",
        guide: Reader | None = None,
    ) -> None:
        super().__init__()
        self.encoder = networks.encoder if stage != "gan" else None
        self.generator = networks.generator
        self._others = (networks.latent_critic, networks.image_critic, dials or Dials(weights))
        self.stage, self.weights, self._guide = stage, weights, guide

    def forward(self, batch: Batch, noise: Noise, measure: bool = False) -> tuple[Tensor, Measurements]:
        """The loss, a scalar, and the measurements, for a rank's share of a batch.

        Args:
            measure: also tell how strongly each term pulls, as `pull/...`: the mean norm of its gradient per
                sample at the picture (of the latent term: at z), before its weight.
        """
        latent_critic, image_critic, dials = self._others
        x_real = to_float(batch.image, noise.z_prior.dtype)
        with frozen(latent_critic, image_critic):
            terms, told = self._terms(x_real, batch, noise)
        loss = sum(term.weight * dials.scale(name) * term.value for name, term in terms.items())
        told |= {f"autoencoder/{name}": term.value.detach() for name, term in terms.items()}
        if measure:
            told |= {f"pull/{name}": term.pull() for name, term in terms.items()}
        return loss, {"autoencoder/loss": loss.detach(), **told}

    def _terms(self, x_real: Tensor, batch: Batch, noise: Noise) -> tuple[dict[str, Term], Measurements]:
        if self.stage == "gan":
            swap = self.generator.drawing(Code(noise.z_prior), batch.partner_label)
            return self._asked(swap.picture(), swap, batch, noise)
        code = self.encoder(x_real)
        if self.stage == "autoencoder":
            drawing = self.generator.drawing(code, batch.label)
            kept, told = self._kept(code, drawing.picture(), x_real)
            spared, more = self._spared(drawing)
            return kept | spared, told | more
        labels = torch.cat([batch.label, batch.partner_label])
        drawing = self.generator.drawing(code.repeat(2), labels)
        recon, swap = drawing.halves()
        x_swap = swap.picture()
        kept, told = self._kept(code, recon.picture(), x_real)
        asked, more = self._asked(x_swap, swap, batch, noise)
        spared, painted = self._spared(drawing)
        returned = self._returned(code, x_swap, x_real, batch)
        return kept | asked | returned | spared, told | more | painted

    def _kept(self, code: Code, x_recon: Tensor, x_real: Tensor) -> tuple[dict[str, Term], Measurements]:
        """What keeps the person, and the codes near the prior."""
        latent_critic, image_critic, _ = self._others
        weights = self.weights
        latent_score = latent_critic(code.z).to(x_real.dtype)
        reconstruction = reconstruction_error(x_recon, x_real)
        terms = {
            "reconstruction": Term(weights.reconstruction_weight, reconstruction, x_recon),
            "latent": Term(weights.latent_weight, -latent_score.mean(), code.z),
        }
        if weights.feature_weight and self.stage != "autoencoder":
            maps = ([h.to(x_real.dtype) for h in image_critic.features(x)] for x in (x_recon, x_real))
            distance = feature_error(*maps)
            terms["feature"] = Term(weights.feature_weight, distance, x_recon)
        return terms, {"autoencoder/reconstruction_l1": (x_recon.detach() - x_real).abs().mean() / 2}

    def _spared(self, drawing: Drawing) -> tuple[dict[str, Term], Measurements]:
        """What spares the source: little of it is drawn over, and none of it torn."""
        weights, terms = self.weights, {}
        if drawing.mask is None:
            return {}, {}
        cover = drawing.cover
        if weights.paint_weight:
            terms["paint"] = Term(weights.paint_weight, paint_error(cover, weights.paint_free), cover)
        if weights.strain_weight:
            moved = drawing.displacement
            strain = strain_error(moved, drawing.source, weights.strain_limit)
            terms["strain"] = Term(weights.strain_weight, strain, moved)
        return terms, {"autoencoder/painted": cover.detach().mean()}

    def _asked(
        self, x_swap: Tensor, swap: Drawing, batch: Batch, noise: Noise
    ) -> tuple[dict[str, Term], Measurements]:
        """What makes the pictures real ones of the asked class, which is the partners'."""
        _, image_critic, dials = self._others
        label, dtype, weights = batch.partner_label, noise.z_prior.dtype, self.weights
        x_shown = dials.augmented(x_swap, noise)
        score = image_critic(x_shown, label).score.to(dtype)

        def x_partner() -> Tensor:
            return dials.augmented(to_float(batch.partner_image, dtype), noise)

        relativistic = weights.adversary == "r1-relativistic"
        score_real = image_critic(x_partner(), label).score.to(dtype) if relativistic else None
        error = synthesis_error(weights.adversary, score, score_real)
        terms = {"image": Term(weights.image_weight, error, x_swap)}
        told = {}
        if weights.expression_weight:
            logits = image_critic.head(x_shown).to(dtype)
            terms["expression"] = Term(weights.expression_weight, expression_error(logits, label), x_swap)
            told["autoencoder/expression_accuracy"] = (logits.argmax(1) == label).to(dtype).mean()
        if weights.guide_weight:
            if weights.guide_painting < 1:
                x_swap = swap.picture(weights.guide_painting)
                x_shown = dials.augmented(x_swap, noise)
            error, accuracy = guided_error(
                weights, lambda x: self._guide(x, noise.guide).to(dtype), x_swap, x_shown, x_partner, label
            )
            terms["guide"] = Term(weights.guide_weight, error, x_swap)
            told["autoencoder/guide_accuracy"] = accuracy
        return terms, told

    def _returned(self, code: Code, x_swap: Tensor, x_real: Tensor, batch: Batch) -> dict[str, Term]:
        """What a changed face should still be: the same person, who changed back is the source."""
        weights, terms = self.weights, {}
        if weights.cycle_weight or weights.consistency_weight:
            again = self.encoder(x_swap)
        if weights.cycle_weight:
            error = reconstruction_error(self.generator(again, batch.label), x_real)
            terms["cycle"] = Term(weights.cycle_weight, error, x_swap)
        if weights.return_weight:
            x_back = self.generator(self.encoder(x_swap.detach()), batch.label)
            terms["return"] = Term(weights.return_weight, reconstruction_error(x_back, x_real), x_back)
        if weights.light_weight:
            terms["light"] = Term(weights.light_weight, light_error(x_swap, x_real), x_swap)
        if weights.consistency_weight:
            error = code_error(again.z.to(x_real.dtype), code.z)
            terms["consistency"] = Term(weights.consistency_weight, error, x_swap)
        return terms

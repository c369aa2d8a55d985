"""The two objectives once more, as plainly as they can be written: sample by sample, in float64."""

import dataclasses
import math

import torch
from torch import Tensor, nn

from fes.batch import Batch
from fes.config import LossConfig, Stage
from fes.draws import Noise
from fes.learning.augment import augment
from fes.learning.guide import Guide
from fes.model.networks import Code, Networks
from tests.fes.made_up import SIZE, real
from tests.fes.spared_by_hand import spared


def through_noise(guide: Guide, x: Tensor, draws: Tensor) -> Tensor:
    """What a guide makes out of a picture [channels, height, width], by its draws [GUIDE_DRAWS]."""
    channels, side, size = x.shape[0], x.shape[1], guide.judge.resolution
    blocks = x.reshape(channels, size, side // size, size, side // size)
    deviation, grain, down, across = draws.tolist()
    turned = -math.floor(down * size), -math.floor(across * size)
    rolled = torch.roll(guide.grains[math.floor(grain * len(guide.grains))], turned, (1, 2))
    return blocks.mean((2, 4)) + guide.noise * deviation * rolled.to(x.dtype)


@dataclasses.dataclass(frozen=True)
class ByHand:
    """What one sample adds to each term, and the means over samples."""

    networks: Networks
    weights: LossConfig
    batch: Batch
    noise: Noise
    stage: Stage = "joint"
    strength: float = 0.0
    guide: Guide | None = None

    def shown(self, x: Tensor, i: int) -> Tensor:
        """What the image critic sees of sample i."""
        return augment(x, self.noise.augmentation[i : i + 1], self.strength)

    def read(self, x: Tensor, label: Tensor) -> Tensor:
        return self.networks.image_critic(x, label).score.squeeze()

    def surprise(self, logits: Tensor, label: Tensor) -> Tensor:
        """Minus the log of the label's probability by logits [1, classes], in nats."""
        if label.item() == -1:
            return torch.zeros((), dtype=torch.float64)
        odds = logits[0].exp()
        return -(odds[label.item()] / odds.sum()).log()

    def guided(self, x: Tensor, i: int) -> Tensor:
        """The guide's logits of sample i."""
        judge = self.guide.judge
        features = judge.blocks(through_noise(self.guide, x[0], self.noise.guide[i])[None])
        return features.mean((2, 3)) @ judge.classify.weight.T + judge.classify.bias

    def mean(self, terms: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: sum(each[name] for each in terms) / SIZE for name in terms[0]}

    # ---- the critics

    def critics(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Their loss, and its parts."""
        parts = self.mean([self._of_critics(i) for i in range(SIZE)])
        return sum(parts.values()), parts

    def _of_critics(self, i: int) -> dict[str, Tensor]:
        label, z_prior = self.batch.label[i : i + 1], self.noise.z_prior[i : i + 1]
        code = self.networks.encoder(real(self.batch.partner_image[i : i + 1]))
        if self.stage == "gan":
            code = Code(z_prior)
        parts = {}
        if self.stage != "autoencoder":
            x_real = self.shown(real(self.batch.image[i : i + 1]), i)
            x_swap = self.shown(self.networks.generator(code, label), i).detach()
            error, bound = self._duel(
                lambda x: self.read(x, label), x_real, x_swap, self.noise.image_epsilon[i]
            )
            parts = {"image_error": error, "image_penalty": self.weights.penalty_weight * bound}
            if self.weights.expression_weight:
                parts["expression"] = self.surprise(self.networks.image_critic.head(x_real), label)
        if self.stage != "gan":
            error, bound = self._duel(
                lambda z: self.networks.latent_critic(z).squeeze(),
                z_prior,
                code.z.detach(),
                self.noise.latent_epsilon[i],
                latent=True,
            )
            parts |= {"latent_error": error, "latent_penalty": self.weights.penalty_weight * bound}
        return parts

    def _duel(self, critic, real, made, epsilon: Tensor, latent: bool = False) -> tuple[Tensor, Tensor]:
        adversary = "wgan-gp" if latent else self.weights.adversary
        s_real, s_made, e = critic(real), critic(made), epsilon.item()
        at = real if adversary.startswith("r1") else e * real + (1 - e) * made
        at = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(at), at, create_graph=True)
        square = slope.pow(2).sum()
        match adversary:
            case "wgan-gp":
                return s_made - s_real, (square.sqrt() - 1) ** 2
            case "wgan-gp-one-sided":
                return s_made - s_real, torch.relu(square.sqrt() - 1) ** 2
            case "r1-non-saturating":
                return (1 + (-s_real).exp()).log() + (1 + s_made.exp()).log(), square / 2
            case "r1-relativistic":
                return (1 + (s_made - s_real).exp()).log(), square / 2

    # ---- the autoencoder

    def autoencoder(self, scales: dict[str, float] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Its loss, and its terms before their weights; `scales` of a run that balances itself."""
        terms = self.mean([self._of_autoencoder(i)[0] for i in range(SIZE)])
        weights = {name: getattr(self.weights, f"{name}_weight") for name in terms}
        return sum(weights[name] * (scales or {}).get(name, 1.0) * terms[name] for name in terms), terms

    def pulls(self) -> dict[str, float]:
        """The mean over samples of the norm of each term's gradient."""
        norms = []
        whole = dataclasses.replace(
            self.weights, guide_painting=1.0
        )  # how much of it reaches what is another matter
        for i in range(SIZE):
            terms, places = dataclasses.replace(self, weights=whole)._of_autoencoder(i)
            slopes = {
                name: torch.autograd.grad(value, places[name], retain_graph=True, allow_unused=True)[0]
                for name, value in terms.items()
                if value.requires_grad
            }
            norms.append({name: each.flatten(1).pow(2).sum(1).sqrt().sum() for name, each in slopes.items()})
        names = {name for each in norms for name in each}
        return {name: float(sum(each.get(name, 0.0) for each in norms) / SIZE) for name in names}

    def _of_autoencoder(self, i: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of a sample, and where each pulls."""
        x, label = real(self.batch.image[i : i + 1]), self.batch.label[i : i + 1]
        asked = self.batch.partner_label[i : i + 1]
        networks, weights = self.networks, self.weights
        code = Code(self.noise.z_prior[i : i + 1]) if self.stage == "gan" else networks.encoder(x)
        terms: dict[str, Tensor] = {}
        places: dict[str, Tensor] = {}
        root = math.sqrt(x.numel())
        if self.stage != "gan":
            x_recon = networks.generator(code, label)
            terms["reconstruction"] = (x_recon - x).abs().sum() / root
            terms["latent"] = -networks.latent_critic(code.z).squeeze()
            places |= {"reconstruction": x_recon, "latent": code.z}
        if self.stage != "autoencoder":
            x_swap, drawing = networks.generator(code, asked), networks.generator.drawing(code, asked)
            if weights.guide_painting < 1:
                painted = {"drawn": drawing.drawn.detach(), "mask": drawing.mask.detach()}
                x_moved = drawing._replace(**painted).picture()
            x_shown = self.shown(x_swap, i)
            terms["image"] = self._against_critic(x_shown, asked, i)
            if weights.expression_weight:
                terms["expression"] = self.surprise(networks.image_critic.head(x_shown), asked)
            if weights.guide_weight:
                share = weights.guide_painting
                terms["guide"] = share * self._guided(x_swap, asked, i)
                if share < 1:  # the slopes of both add up, at the same picture
                    terms["guide"] = terms["guide"] + (1 - share) * self._guided(x_moved, asked, i)
            places |= {"image": x_swap, "expression": x_swap, "guide": x_swap}
        if self.stage != "gan":
            own = networks.generator.drawing(code, label)
            drawings = [own] if self.stage == "autoencoder" else [own, drawing]
            for name, found in spared(weights, drawings).items():
                terms[name], places[name] = found
        if self.stage in ("opening", "joint", "closing"):
            again = networks.encoder(x_swap)
            if weights.cycle_weight:
                terms["cycle"] = (networks.generator(again, label) - x).abs().sum() / root
            if weights.return_weight:
                x_back = networks.generator(networks.encoder(x_swap.detach().clone()), label)
                terms["return"] = (x_back - x).abs().sum() / root
                places["return"] = x_back
            if weights.consistency_weight:
                terms["consistency"] = (again.z - code.z.detach()).abs().sum() / math.sqrt(code.z.numel())
            if weights.light_weight:
                terms["light"] = self._light_difference(x_swap, x)
                places["light"] = x_swap
            if weights.feature_weight:
                terms["feature"] = self._seen_difference(x_recon, x)
            places |= {"cycle": x_swap, "consistency": x_swap, "feature": x_recon}
        return terms, places

    def _guided(self, x: Tensor, asked: Tensor, i: int) -> Tensor:
        return self._limited(self._guide_error(self.shown(x, i), asked, i), x)

    def _guide_error(self, x: Tensor, asked: Tensor, i: int) -> Tensor:
        """0 where the guide finds the asked class more clearly than it has to, beside the partner's face."""
        drawn, margin = self.surprise(self.guided(x, i), asked), self.weights.guide_margin
        x_partner = self.shown(real(self.batch.partner_image[i : i + 1]), i)
        if margin is None:
            return drawn
        wanted = self.surprise(self.guided(x_partner, i), asked) - margin
        if self.weights.guide_clear is not None:
            wanted = min(wanted, self.weights.guide_clear)
        return drawn if drawn > wanted else 0 * drawn

    def _limited(self, error: Tensor, x: Tensor) -> Tensor:
        """An error that pulls no more than the guide may."""
        most = self.weights.guide_limit
        if most is None or not error.requires_grad:
            return error
        (slope,) = torch.autograd.grad(error, x, retain_graph=True)
        norm = slope.pow(2).sum().sqrt().item()
        return error * most / norm if norm > most else error

    def _against_critic(self, x: Tensor, asked: Tensor, i: int) -> Tensor:
        score = self.read(x, asked)
        match self.weights.adversary:
            case "r1-non-saturating":
                return (1 + (-score).exp()).log()
            case "r1-relativistic":
                x_partner = self.shown(real(self.batch.partner_image[i : i + 1]), i)
                return (1 + (self.read(x_partner, asked).detach() - score).exp()).log()
            case _:
                return -score

    def _light_difference(self, x: Tensor, wanted: Tensor) -> Tensor:
        size = x.shape[-1] // 4
        places = [slice(size * n, size * (n + 1)) for n in range(4)]
        apart = [(x - wanted)[..., rows, columns].mean((2, 3)) for rows in places for columns in places]
        # A block's mean moves by 1 / size^2 with each of its pixels, and the pull is one in all of them.
        return torch.cat(apart).abs().sum() * size / math.sqrt(16 * x.shape[1])

    def _seen_difference(self, x: Tensor, wanted: Tensor) -> Tensor:
        features = self.networks.image_critic.features
        pairs = list(zip(features(x), features(wanted), strict=True))
        return sum((a - b.detach()).abs().sum() / a.numel() for a, b in pairs) / len(pairs)


def gradients(loss: Tensor, *modules: nn.Module) -> list[Tensor]:
    """Of all parameters that learn; zeros where the loss does not know one."""
    learning = [p for module in modules for p in module.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, learning, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(learning, found, strict=True)]

"""The four networks. They know nothing about training.

Pictures are float [batch, channels, resolution, resolution] in [-1, 1]; labels int64 [batch], with -1
where unlabelled, which is a condition of its own. No network uses batch statistics: a sample's output
never depends on its neighbours, so neither does it on how a batch is split over processes.
"""

import dataclasses
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from fes.config import ModelConfig
from fes.expressions import EXPRESSIONS
from fes.model.blocks import (
    CONDITIONS,
    PARTS,
    PENALISED_PARTS,
    ConditionalUnit,
    Downsampler,
    GeneratorBlock,
    Parts,
    block_resolutions,
    coarsest,
    condition,
    features_at,
    initialise,
    norm,
    resolved,
    upsample,
)
from fes.model.drawing import Drawing
from fes.model.edges import Edges
from fes.model.piecewise import SLOPE
from fes.model.residual import ResidualDownsampler, ResidualGeneratorBlock, begin_as_identity, to_picture

_NODES = 8
"""Places of which the generator says where they come from, along a side, as a multiple of the coarsest
resolution."""
_SHUT = -2.0
"""Of the mask over a source that is bent, at first, before its sigmoid: bending comes before drawing."""


class Code(NamedTuple):
    """What the encoder makes of pictures."""

    z: Tensor
    """[batch, latent_dim]: who it is."""
    maps: tuple[Tensor, ...] = ()
    """Where `model.skip` is set: the encoder's feature maps, fine to coarse, without the last."""
    source: Tensor | None = None
    """Where `model.skip` is residual, mask or warp: the pictures themselves."""

    def repeat(self, times: int) -> "Code":
        """The same codes so many times, one batch behind the other."""
        maps = (each.repeat(times, 1, 1, 1) for each in self.maps)
        source = None if self.source is None else self.source.repeat(times, 1, 1, 1)
        return Code(self.z.repeat(times, 1), tuple(maps), source)


def _downsampler(model: ModelConfig, parts: Parts) -> Downsampler | ResidualDownsampler:
    """What encoder and image critic look at pictures with."""
    return (ResidualDownsampler if model.blocks == "residual" else Downsampler)(model, parts)


class Encoder(nn.Module):
    """Picture -> code, whose z_posterior [batch, latent_dim] is the person, without the expression."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.skip = model.skip
        self.features = _downsampler(model, PARTS)
        self.to_code = nn.Linear(self.features.size, model.latent_dim)
        initialise(self)
        begin_as_identity(self)

    def forward(self, x: Tensor) -> Code:
        *maps, coarse = self.features(x)
        z = self.to_code(coarse.flatten(1))
        if self.skip == "none":
            return Code(z)
        return Code(z, tuple(maps), None if self.skip == "features" else x)


class Generator(nn.Module):
    """Code and label -> picture in [-1, 1]: that person with that expression.

    Labels are int64 [batch], or weights of the conditions [batch, 8] to draw what lies between classes.
    What the code holds besides z is used as `model.skip` says; where it holds z alone, as a draw from the
    prior does, z alone is drawn.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        resolution, _ = resolved(model)
        self.base = coarsest(resolution)
        widest = features_at(self.base, model)
        self.from_code = nn.Linear(model.latent_dim, widest * self.base**2)
        self.norm = ConditionalUnit(widest)
        self.blocks, self.joins = nn.ModuleDict(), nn.ModuleDict()
        residual = model.blocks == "residual"
        block = ResidualGeneratorBlock if residual else GeneratorBlock
        for at in [*block_resolutions(resolution), *[resolution] * residual]:
            features = features_at(at, model)
            self.blocks[f"block{at}"] = block(features_at(at // 2, model), features)
            if model.skip != "none":
                self.joins[f"block{at}"] = nn.Conv2d(features, features, kernel_size=1)
        self.masks, self.resolution = _masks(model), resolution
        self.to_image, self.edges = self.new_edge(model), Edges(per_pixel=1 if residual else 2)
        self.to_flow = nn.ModuleDict()
        if model.skip == "warp":
            nodes = self.base * _NODES
            self.to_flow[f"block{nodes}"] = to_picture(features_at(nodes, model), 2)
        initialise(self)
        begin_as_identity(self)
        # The first pictures are a calm grey, not the noise of a saturated tanh, which takes long to leave.
        nn.init.normal_(self.to_image.weight, std=0.02)
        for to_flow in self.to_flow.values():
            nn.init.normal_(to_flow.weight, std=0.01)
            nn.init.constant_(self.to_image.bias[-1:], _SHUT)

    @staticmethod
    def new_edge(model: ModelConfig) -> nn.Module:
        """A layer that draws pictures of the model's resolution, and the mask where there is one."""
        resolution, channels = resolved(model)
        drawn = channels + _masks(model)
        if model.blocks == "residual":
            return to_picture(features_at(resolution, model), drawn)
        return upsample(features_at(resolution // 2, model), drawn)

    def from_source(self) -> nn.ModuleList:
        """What has no part in drawing a code that holds z alone."""
        return nn.ModuleList([self.joins, self.to_flow])

    def forward(self, code: Code, label: Tensor) -> Tensor:
        return self.drawing(code, label).picture()

    def drawing(self, code: Code, label: Tensor) -> Drawing:
        """What is drawn and how its source is bent, before it is a picture."""
        h = rearrange(self.from_code(code.z), "b (f h w) -> b f h w", h=self.base, w=self.base)
        h = self.norm(h, label)
        maps, old, flow = list(code.maps), None, None
        for name, block in self.blocks.items():
            h = block(h, label, self.joins[name](maps.pop()) if maps else None)
            old = self.edges.drawn(name, h, self.resolution) if old is None else old
            if code.source is not None and name in self.to_flow:
                flow = self.to_flow[name](h)
        h = self.to_image(h)
        # Autocast leaves the source, and on a GPU what is enlarged, in float32, and does not mix two of them.
        h = h if old is None else torch.lerp(old.to(h.dtype), h, self.edges.share)
        h = h if code.source is None else h.to(code.source.dtype)
        drawn, mask = (h[:, :-1], h[:, -1:]) if self.masks else (h, None)
        return Drawing(drawn, code.source, mask, flow)


def _masks(model: ModelConfig) -> bool:
    """Whether what is drawn lies over its source through a mask."""
    return model.skip in ("mask", "warp")


class LatentCritic(nn.Module):
    """Code [batch, latent_dim] -> score [batch]: high for draws from the prior."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        width = model.latent_critic_features
        self.layers = nn.Sequential(
            nn.Linear(model.latent_dim, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, 1),
        )
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).squeeze(1)


class Reading(NamedTuple):
    """What the image critic makes of pictures."""

    score: Tensor
    """[batch]: high for real pictures of the class they were shown with."""
    maps: list[Tensor]
    """Its feature maps, fine to coarse."""


class ExpressionHead(nn.Module):
    """Picture -> logits [batch, classes], as a picture of eight times the coarsest resolution shows it.

    It averages neighbours before each step down. A head of convolutions with strides is soon fooled by
    patterns as fine as a pixel, which nobody else reads as an expression.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        resolution, channels = resolved(model)
        self.shrink = resolution // (coarsest(resolution) * 8)
        layers: list[nn.Module] = []
        read = channels
        for at in (8, 4, 2):
            write = features_at(coarsest(resolution) * at, model)
            layers += [
                nn.Conv2d(read, write, kernel_size=3, padding=1),
                norm(write),
                nn.LeakyReLU(SLOPE, inplace=True),
            ]
            layers.append(nn.AvgPool2d(2))
            read = write
        self.features = nn.Sequential(*layers)
        self.to_class = nn.Linear(read * coarsest(resolution) ** 2, len(EXPRESSIONS))
        initialise(self)
        nn.init.zeros_(self.to_class.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_class(self.features(functional.avg_pool2d(x, self.shrink)).flatten(1))


class ImageCritic(nn.Module):
    """Picture and label -> reading.

    The class enters by projection (Miyato & Koyama, 2018): the last layer's weights are those for any
    picture plus those of the class. A head beside it tells the expression of a picture by itself, as the
    auxiliary classifier of Odena et al. (2017). It has features of its own: in those of the score,
    which serve the critic's task and are bound by its penalty, it learnt much more slowly.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.features = _downsampler(model, PENALISED_PARTS)
        self.to_score = nn.Linear(self.features.size, 1)
        self.class_weight = nn.Embedding(CONDITIONS, self.features.size)
        initialise(self)
        begin_as_identity(self)
        nn.init.normal_(self.class_weight.weight, std=self.features.size**-0.5)
        self.head = ExpressionHead(model)

    def forward(self, x: Tensor, label: Tensor) -> Reading:
        maps = self.features(x)
        h = maps[-1].flatten(1)
        return Reading(self.to_score(h).squeeze(1) + (h * self.class_weight(condition(label))).sum(1), maps)


class Networks(nn.Module):
    """The four networks of one run, built from a seed.

    The global random state is left as it was; the same seed gives the same weights everywhere.
    """

    def __init__(self, model: ModelConfig, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(model)
            self.generator = Generator(model)
            self.latent_critic = LatentCritic(model)
            self.image_critic = ImageCritic(model)


def open_edges(networks: nn.Module, model: ModelConfig, resolution: int) -> None:
    """Gives networks the edges (`fes.model.edges`) of a lower resolution, in place, with any weights."""
    lower = dataclasses.replace(model, resolution=resolution)
    with torch.random.fork_rng(devices=[]):
        for module in networks.modules():
            if isinstance(module, Downsampler | ResidualDownsampler | Generator):
                module.edges[str(resolution)] = module.new_edge(lower)


def parameter_count(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())

"""What the networks are made of.

Blocks are named by the resolution at which they read (encoder, image critic) or write (generator),
and their widths depend on the distance from the coarsest resolution alone: networks for 48 and 96
pixels agree in every block they share.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from fes.config import ModelConfig
from fes.expressions import EXPRESSIONS
from fes.model.edges import Edges
from fes.model.piecewise import SLOPE, halved, leaky_, penalised_halved, penalised_leaky

_NORM_FEATURES = 8
"""Feature maps that are normalised together."""


def coarsest(resolution: int) -> int:
    """The resolution at the code's end of the networks: 3 for 48 * 2^k pixels, 4 for 64 * 2^k."""
    return 3 if resolution % 3 == 0 else 4


def block_resolutions(resolution: int) -> list[int]:
    """Resolutions at which blocks read or write, coarse to fine: [6, 12, 24] for 48 pixels."""
    resolutions = [coarsest(resolution) * 2]
    while resolutions[-1] < resolution // 2:
        resolutions.append(resolutions[-1] * 2)
    return resolutions


def features_at(resolution: int, model: ModelConfig) -> int:
    """Feature maps at a resolution: `max_features` at the coarsest, halved per doubling, bounded below."""
    return max(model.min_features, model.max_features // (resolution // coarsest(resolution)))


def resolved(model: ModelConfig) -> tuple[int, int]:
    """Resolution and channels of the pictures; raises ValueError where a config leaves them open."""
    if model.resolution is None or model.channels is None:
        raise ValueError("the networks need a config with resolution and channels")
    return model.resolution, model.channels


CONDITIONS = len(EXPRESSIONS) + 1
"""The classes, and behind them what is drawn where no class is known."""


def condition(label: Tensor) -> Tensor:
    """Index of the embedding for each label: the class, or the one after the last where unlabelled."""
    return torch.remainder(label, CONDITIONS)


def initialise(network: nn.Module) -> None:
    """He initialisation for leaky units, and zero biases."""
    gain = nn.init.calculate_gain("leaky_relu", SLOPE)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, std=gain / _summands(module) ** 0.5)
            nn.init.zeros_(module.bias)


def _summands(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> int:
    """How many products each output of a layer sums."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    places = layer.kernel_size[0] * layer.kernel_size[1]
    if isinstance(layer, nn.ConvTranspose2d):  # a stride of 2 spreads its kernel over 4 outputs
        places //= layer.stride[0] * layer.stride[1]
    return layer.in_channels * places


def _downsample(read: int, write: int) -> nn.Conv2d:
    return nn.Conv2d(read, write, kernel_size=4, stride=2, padding=1)


def upsample(read: int, write: int) -> nn.ConvTranspose2d:
    """A learnt filter that doubles the resolution."""
    return nn.ConvTranspose2d(read, write, kernel_size=4, stride=2, padding=1)


def _groups(features: int) -> int:
    """How many groups so many features are normalised in: the nearest number to eights that divides them."""
    wanted = max(1, features // _NORM_FEATURES)
    return next(groups for groups in range(wanted, 0, -1) if features % groups == 0)


def norm(features: int) -> nn.GroupNorm:
    """Normalises a sample's features in groups."""
    return nn.GroupNorm(_groups(features), features)


class Parts(NamedTuple):
    """What stands between the convolutions of a network that looks at pictures."""

    norm: Callable[[int], nn.Module]
    """Makes what stands between a convolution and its unit, for so many features."""
    unit: Callable[[Tensor], Tensor]
    """What features pass behind it: any shape -> the same. It may overwrite what it is given."""
    halve: Callable[[Tensor], Tensor]
    """Halves the resolution of features by means."""


PARTS = Parts(norm, leaky_, halved)
"""Of the encoder."""
PENALISED_PARTS = Parts(nn.Identity, penalised_leaky, penalised_halved)
"""Of the image critic."""


class ConditionalUnit(nn.Module):
    """Leaky units behind a group normalisation whose scale and shift are looked up by class."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.groups = _groups(features)
        self.affine = nn.Embedding(CONDITIONS, 2 * features)
        with torch.no_grad():
            self.affine.weight.normal_(0.0, 0.1)
            self.affine.weight[:, :features] += 1.0

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """[batch, features, height, width] -> the same shape; label as the generator takes it."""
        affine = label @ self.affine.weight if label.is_floating_point() else self.affine(condition(label))
        exact = self.affine.weight.dtype  # on the CPU, autocast would leave norms in half precision
        scale, shift = rearrange(affine.to(exact), "b (two f) -> two (b f)", two=2)
        # All features of the batch as those of one sample, each with a scale of its own: one pass over them.
        together = rearrange(x.to(exact), "b f h w -> 1 (b f) h w")
        h = functional.group_norm(together, len(x) * self.groups, scale, shift)
        return leaky_(h).view_as(x)


class Downsampler(nn.Module):
    """Picture -> feature maps, each at half the resolution of the one before."""

    def __init__(self, model: ModelConfig, parts: Parts) -> None:
        super().__init__()
        resolution, _ = resolved(model)
        self.parts = parts
        self.from_image, self.edges = self.new_edge(model), Edges(per_pixel=2)
        self.blocks = nn.ModuleDict()
        for at in reversed(block_resolutions(resolution)):
            read, write = features_at(at, model), features_at(at // 2, model)
            self.blocks[f"block{at}"] = nn.Sequential(_downsample(read, write), parts.norm(write))
        self.size = features_at(coarsest(resolution), model) * coarsest(resolution) ** 2

    @staticmethod
    def new_edge(model: ModelConfig) -> nn.Conv2d:
        """A layer that reads pictures of the model's resolution."""
        resolution, channels = resolved(model)
        return _downsample(channels, features_at(resolution // 2, model))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[batch, channels, resolution, resolution] -> maps, fine to coarse; the last holds `size` values."""
        h, maps = self.parts.unit(self.from_image(x)), []
        for name, block in self.blocks.items():
            maps.append(self.edges.entering(name, h, x, self.parts.unit))
            h = self.parts.unit(block(maps[-1]))
        return [*maps, h]


class GeneratorBlock(nn.Module):
    """Doubles the resolution, adds what joins there, then normalises by class."""

    def __init__(self, read: int, write: int) -> None:
        super().__init__()
        self.upsample = upsample(read, write)
        self.norm = ConditionalUnit(write)  # named as in older states: a unit has no weights

    def forward(self, h: Tensor, label: Tensor, joining: Tensor | None = None) -> Tensor:
        h = self.upsample(h)
        # Before the class has its say: features of the source are kept or not as the class asks.
        h = h if joining is None else h + joining
        return self.norm(h, label)

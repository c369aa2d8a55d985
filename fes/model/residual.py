"""Residual blocks (He et al., 2016): two convolutions beside the identity, at every resolution.

The strided blocks of `fes.model.blocks` see a picture at half its resolution and coarser; these see every
pixel, and change resolution by means and by interpolation alone, so that fine detail is not folded into
coarse.
"""

from torch import Tensor, nn
from torch.nn import functional

from fes.config import ModelConfig
from fes.model.blocks import ConditionalUnit, Parts, block_resolutions, coarsest, features_at, resolved
from fes.model.edges import Edges
from fes.model.piecewise import leaky_


def _convolution(features: int) -> nn.Conv2d:
    return nn.Conv2d(features, features, kernel_size=3, padding=1)


def begin_as_identity(network: nn.Module) -> None:
    """Lets residual blocks pass on what they get at first, however many there are; after `initialise`."""
    for module in network.modules():
        if isinstance(module, ResidualBlock | ResidualGeneratorBlock):
            nn.init.zeros_(module.last.weight)


class ResidualBlock(nn.Module):
    """[batch, features, height, width] -> the same shape."""

    def __init__(self, features: int, parts: Parts) -> None:
        super().__init__()
        self.first, self.last = _convolution(features), _convolution(features)
        self.norm, self.unit = parts.norm(features), parts.unit

    def forward(self, h: Tensor) -> Tensor:
        change = self.last(self.unit(self.norm(self.first(h))))
        return self.unit(h + change)


class ResidualDownsampler(nn.Module):
    """Picture -> feature maps, the first at its own resolution, each other at half of the one before."""

    def __init__(self, model: ModelConfig, parts: Parts) -> None:
        super().__init__()
        resolution, _ = resolved(model)
        self.parts = parts
        self.from_image, self.edges = self.new_edge(model), Edges(per_pixel=1)
        self.blocks, self.widen = nn.ModuleDict(), nn.ModuleDict()
        for at in (resolution, *reversed(block_resolutions(resolution))):
            features = features_at(at, model)
            self.blocks[f"block{at}"] = ResidualBlock(features, parts)
            self.widen[f"block{at}"] = nn.Conv2d(features, features_at(at // 2, model), kernel_size=1)
        base = coarsest(resolution)
        self.last = ResidualBlock(features_at(base, model), parts)
        self.size = features_at(base, model) * base**2

    @staticmethod
    def new_edge(model: ModelConfig) -> nn.Conv2d:
        """A layer that reads pictures of the model's resolution."""
        resolution, channels = resolved(model)
        return nn.Conv2d(channels, features_at(resolution, model), kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[batch, channels, resolution, resolution] -> maps, fine to coarse; the last holds `size` values."""
        h, maps = self.parts.unit(self.from_image(x)), []
        for name, block in self.blocks.items():
            maps.append(block(self.edges.entering(name, h, x, self.parts.unit)))
            h = self.widen[name](self.parts.halve(maps[-1]))
        return [*maps, self.last(h)]


class ResidualGeneratorBlock(nn.Module):
    """Doubles the resolution, adds what joins there, then changes the sum by class."""

    def __init__(self, read: int, write: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(read, write, kernel_size=1)
        self.norms = nn.ModuleList(ConditionalUnit(write) for _ in range(2))
        self.first, self.last = _convolution(write), _convolution(write)

    def forward(self, h: Tensor, label: Tensor, joining: Tensor | None = None) -> Tensor:
        """[batch, read, height, width] -> [batch, write, 2 height, 2 width]."""
        h = functional.interpolate(self.widen(h), scale_factor=2, mode="bilinear")
        h = h if joining is None else h + joining
        h = self.norms[0](h, label)
        change = self.norms[1](self.first(h), label)
        return leaky_(h + self.last(change))


def to_picture(features: int, channels: int) -> nn.Conv2d:
    """The generator's last layer, at the picture's own resolution."""
    return nn.Conv2d(features, channels, kernel_size=3, padding=1)

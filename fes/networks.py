"""The four networks. They know nothing about training.

Blocks are named by the resolution at which they read (encoder, image critic) or write (generator),
and their widths depend on the distance from the coarsest resolution alone: networks for 48 and 96
pixels agree in every block they share.

Pictures are float [batch, channels, resolution, resolution] in [-1, 1]; labels int64 [batch], with -1
where unlabelled, which is a condition of its own. No network uses batch statistics: a sample's output
never depends on its neighbours, so neither does it on how a batch is split over processes.
"""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from fes.config import ModelConfig
from fes.expressions import EXPRESSIONS

_SLOPE = 0.2
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


def _resolved(model: ModelConfig) -> tuple[int, int]:
    if model.resolution is None or model.channels is None:
        raise ValueError("the networks need a config with resolution and channels")
    return model.resolution, model.channels


def condition(label: Tensor) -> Tensor:
    """Index of the embedding for each label: the class, or the one after the last where unlabelled."""
    return torch.remainder(label, len(EXPRESSIONS) + 1)


def _initialise(network: nn.Module) -> None:
    """He initialisation for leaky units, and zero biases."""
    gain = nn.init.calculate_gain("leaky_relu", _SLOPE)
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


def _upsample(read: int, write: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(read, write, kernel_size=4, stride=2, padding=1)


def _norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, features // _NORM_FEATURES), features)


class ConditionalNorm(nn.Module):
    """Group normalisation whose scale and shift are looked up by class."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, features // _NORM_FEATURES), features, affine=False)
        self.affine = nn.Embedding(len(EXPRESSIONS) + 1, 2 * features)
        with torch.no_grad():
            self.affine.weight.normal_(0.0, 0.1)
            self.affine.weight[:, :features] += 1.0

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """[batch, features, height, width] -> the same shape."""
        scale, shift = rearrange(self.affine(condition(label)), "b (two f) -> two b f 1 1", two=2)
        return torch.addcmul(shift, self.norm(x), scale)


class Downsampler(nn.Module):
    """Picture -> features [batch, size] at the coarsest resolution, flattened."""

    def __init__(self, model: ModelConfig, norm: Callable[[int], nn.Module]) -> None:
        """`norm` makes what stands between a block's convolution and its unit, for so many features."""
        super().__init__()
        resolution, channels = _resolved(model)
        self.from_image = _downsample(channels, features_at(resolution // 2, model))
        self.blocks = nn.ModuleDict()
        for at in reversed(block_resolutions(resolution)):
            read, write = features_at(at, model), features_at(at // 2, model)
            self.blocks[f"block{at}"] = nn.Sequential(
                _downsample(read, write), norm(write), nn.LeakyReLU(_SLOPE)
            )
        self.size = features_at(coarsest(resolution), model) * coarsest(resolution) ** 2

    def forward(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu(self.from_image(x), _SLOPE)
        for block in self.blocks.values():
            h = block(h)
        return h.flatten(1)


class Encoder(nn.Module):
    """Picture -> z_posterior [batch, latent_dim]: the person, without the expression."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.features = Downsampler(model, _norm)
        self.to_code = nn.Linear(self.features.size, model.latent_dim)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_code(self.features(x))


class GeneratorBlock(nn.Module):
    """Doubles the resolution, then normalises by class."""

    def __init__(self, read: int, write: int) -> None:
        super().__init__()
        self.upsample = _upsample(read, write)
        self.norm = ConditionalNorm(write)

    def forward(self, h: Tensor, label: Tensor) -> Tensor:
        return functional.leaky_relu(self.norm(self.upsample(h), label), _SLOPE)


class Generator(nn.Module):
    """Code [batch, latent_dim] and label -> picture in [-1, 1]: that person with that expression."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        resolution, channels = _resolved(model)
        self.base = coarsest(resolution)
        widest = features_at(self.base, model)
        self.from_code = nn.Linear(model.latent_dim, widest * self.base**2)
        self.norm = ConditionalNorm(widest)
        self.blocks = nn.ModuleDict()
        for at in block_resolutions(resolution):
            self.blocks[f"block{at}"] = GeneratorBlock(features_at(at // 2, model), features_at(at, model))
        self.to_image = _upsample(features_at(resolution // 2, model), channels)
        _initialise(self)
        # The first pictures are a calm grey, not the noise of a saturated tanh, which takes long to leave.
        nn.init.normal_(self.to_image.weight, std=0.02)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        h = rearrange(self.from_code(z), "b (f h w) -> b f h w", h=self.base, w=self.base)
        h = functional.leaky_relu(self.norm(h, label), _SLOPE)
        for block in self.blocks.values():
            h = block(h, label)
        return torch.tanh(self.to_image(h))


class LatentCritic(nn.Module):
    """Code [batch, latent_dim] -> score [batch]: high for draws from the prior."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        width = model.latent_critic_features
        self.layers = nn.Sequential(
            nn.Linear(model.latent_dim, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, 1),
        )
        _initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).squeeze(1)


class ImageCritic(nn.Module):
    """Picture and label -> score [batch]: high for real pictures of that class.

    The class enters by projection (Miyato & Koyama, 2018): the last layer's weights are those for any
    picture plus those of the class.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.features = Downsampler(model, nn.Identity)
        self.to_score = nn.Linear(self.features.size, 1)
        self.class_weight = nn.Embedding(len(EXPRESSIONS) + 1, self.features.size)
        _initialise(self)
        nn.init.normal_(self.class_weight.weight, std=self.features.size**-0.5)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = self.features(x)
        return self.to_score(h).squeeze(1) + (h * self.class_weight(condition(label))).sum(1)


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


def parameter_count(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())

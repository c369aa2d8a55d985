"""What the networks look like."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the four networks."""

    resolution: int | None = None
    """Height and width of the pictures in pixels: 48 or 64 times a power of two. None: the largest that
    nine of ten pictures of each data set have or exceed, so that few are enlarged."""
    channels: int | None = None
    """1 for grey, 3 for RGB. None: RGB where all data are in colour, else grey."""
    latent_dim: int = 64
    """Length of the code z that stands for a person."""
    max_features: int = 256
    """Feature maps at the coarsest resolution (3 or 4 pixels); halved at each doubling of it."""
    min_features: int = 32
    """Feature maps are never fewer than this, however fine the resolution."""
    latent_critic_features: int = 256
    """Width of the two hidden layers of the latent critic."""
    blocks: Literal["strided", "residual"] = "strided"
    """What encoder, generator and image critic are made of: one convolution with a stride at each resolution,
    as the original; or two beside the identity, from the picture's own resolution on, which take six times as
    long and more."""
    skip: Literal["none", "features", "residual", "mask", "warp"] = "none"
    """What reaches the generator besides z: nothing, as in the original; the encoder's feature maps; or these
    and the source, which is then changed (residual), partly drawn over (mask), or bent and partly drawn over
    (warp)."""

"""Random draws that are functions of what they are for and of the step, and of nothing else.

There is no generator whose state would have to be saved, and none that ranks could advance unequally.
A draw is made for the whole global batch, always on the CPU, and then sliced: `torch.randn(n)` does not
begin with the values of `torch.randn(m)`, so a rank can never draw its share alone.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def key(*parts: object) -> int:
    """A 63-bit seed from what a draw is for, e.g. (seed, "partner", step); equal on every platform."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def torch_rng(*parts: object) -> torch.Generator:
    """A fresh CPU generator for one draw."""
    return torch.Generator().manual_seed(key(*parts))


def numpy_rng(*parts: object) -> np.random.Generator:
    """A fresh counter-based generator for one draw."""
    return np.random.Generator(np.random.Philox(key=key(*parts)))


AUGMENTATION_DRAWS = 13
"""Draws that `fes.learning.augment` makes its choices for a picture from."""

GUIDE_DRAWS = 4
"""Draws that `fes.learning.guide` makes its noise on a picture from."""


class Noise(NamedTuple):
    """What a player's step needs of chance, besides its batch."""

    z_prior: Tensor
    """[batch, latent_dim], standard normal: the prior of the code."""
    image_epsilon: Tensor
    """[batch, 1, 1, 1], uniform in [0, 1): where between real and synthesised the penalty is taken."""
    latent_epsilon: Tensor
    """[batch, 1], uniform in [0, 1): the same for the latent critic."""
    augmentation: Tensor
    """[batch, AUGMENTATION_DRAWS], uniform in [0, 1): how the image critic's pictures are augmented."""
    guide: Tensor
    """[batch, GUIDE_DRAWS], uniform in [0, 1): the noise through which the guide looks."""


def noise(seed: int, step: int, batch: int, latent_dim: int, share: slice = slice(None)) -> Noise:
    """The noise of a step: drawn for the global batch of size `batch`, then the rows of `share`."""
    z_prior = torch.randn(batch, latent_dim, generator=torch_rng(seed, "z_prior", step))
    epsilon = torch.rand(2, batch, generator=torch_rng(seed, "epsilon", step))
    augmentation = torch.rand(batch, AUGMENTATION_DRAWS, generator=torch_rng(seed, "augment", step))
    guide = torch.rand(batch, GUIDE_DRAWS, generator=torch_rng(seed, "guide", step))
    return Noise(
        z_prior[share],
        epsilon[0, share].reshape(-1, 1, 1, 1),
        epsilon[1, share].reshape(-1, 1),
        augmentation[share],
        guide[share],
    )

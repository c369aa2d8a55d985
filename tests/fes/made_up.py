"""A batch of noise, one picture of which is unlabelled, and its draws; pictures as networks take them."""

import torch
from torch import Tensor

from fes.batch import Batch
from fes.config import ModelConfig
from fes.draws import AUGMENTATION_DRAWS, GUIDE_DRAWS, Noise

SIZE = 4


def made_up_batch(model: ModelConfig) -> Batch:
    """Pictures of noise, one of them unlabelled."""
    rng = torch.Generator().manual_seed(2)
    shape = SIZE, model.channels, model.resolution, model.resolution
    image = torch.randint(256, shape, generator=rng, dtype=torch.uint8)
    label = torch.tensor([0, 3, -1, 6])
    order = torch.tensor([2, 0, 3, 1])
    return Batch(image, label, image[order], label[order])


def made_up_noise(model: ModelConfig) -> Noise:
    """In float64."""
    rng = torch.Generator().manual_seed(3)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    z_prior = torch.randn(SIZE, model.latent_dim, generator=rng, dtype=torch.float64)
    return Noise(
        z_prior,
        uniform(SIZE, 1, 1, 1),
        uniform(SIZE, 1),
        uniform(SIZE, AUGMENTATION_DRAWS),
        uniform(SIZE, GUIDE_DRAWS),
    )


def real(image: Tensor) -> Tensor:
    """As the networks take pictures."""
    return image.double() / 127.5 - 1

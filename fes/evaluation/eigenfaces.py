"""Eigenfaces (Turk and Pentland, 1991): pictures as coordinates along the principal components of faces."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fes.evaluation.similarity import unit

LARGEST = 64
"""Pixels a side above which pictures are halved first: people differ at 48 too, and fitting is quick."""


@dataclass(frozen=True)
class Eigenfaces:
    """`mean` [pixels], `components` [pixels, count] of length 1, `deviation` [count] along each."""

    mean: np.ndarray
    components: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, image: Tensor, count: int) -> "Eigenfaces":
        """The `count` components of the largest variance, or as many as there are.

        Args:
            image: uint8 [pictures, channels, height, width], at least two.
        """
        rows = _rows(image)
        mean = rows.mean(0)
        rows -= mean
        wide = len(rows) < rows.shape[1]
        variances, vectors = np.linalg.eigh((rows @ rows.T if wide else rows.T @ rows) / (len(rows) - 1))
        most = int((variances > 1e-6 * variances[-1]).sum())  # the rest is rounding
        chosen = slice(None, -1 - min(count, most), -1)
        variances, vectors = variances[chosen], vectors[:, chosen]
        components = rows.T @ vectors / np.sqrt(variances * (len(rows) - 1)) if wide else vectors
        return cls(mean, components, np.sqrt(variances))

    def first(self, count: int) -> "Eigenfaces":
        """Only those of the largest variance, at most `count`."""
        return Eigenfaces(self.mean, self.components[:, :count], self.deviation[:count])

    def coordinates(self, image: Tensor) -> np.ndarray:
        """uint8 [batch, channels, height, width] -> float32 [batch, count]."""
        return (_rows(image) - self.mean) @ self.components

    def embed(self, image: Tensor) -> np.ndarray:
        """The same in units of each component's deviation, so that no few of them decide: whitened."""
        return self.coordinates(image) / self.deviation


def _rows(image: Tensor) -> np.ndarray:
    """uint8 [batch, channels, height, width] -> float32 [batch, pixels] of grey pictures on a scale of 1."""
    return torch.cat([_small(part) for part in image.split(64)]).numpy()


def _small(image: Tensor) -> Tensor:
    x = unit(image).float().mean(1, keepdim=True)
    while x.shape[-1] > LARGEST:
        x = functional.avg_pool2d(x, 2)
    return x.flatten(1)

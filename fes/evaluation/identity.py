"""Is it still the same person: which of N real pictures does a synthesised face resemble most."""

from typing import Protocol

import numpy as np
from torch import Tensor


class Embedder(Protocol):
    """What turns faces into vectors whose angles tell people apart."""

    def embed(self, image: Tensor) -> np.ndarray:
        """uint8 [batch, channels, height, width] -> float32 [batch, numbers]."""


def gallery_of(person: np.ndarray, count: int) -> np.ndarray:
    """The first picture of each of the first `count` people: positions, int64 [at most count]."""
    return np.sort(np.unique(person, return_index=True)[1])[:count]


ALIKE = 1e-9
"""Cosines that differ by less are equal."""


def rank_one(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Whether the picture of the gallery that is nearest to a query, by cosine, is that of the same row.

    Args:
        query: [rows, ..., numbers], vectors of faces made from the picture in that row of the gallery.
        gallery: [rows, numbers].

    Returns:
        1 or 0, float64 [rows, ...]; where n pictures are equally near and the right one is among them, 1/n.
    """
    near = np.einsum("q...d,gd->q...g", _unit(query), _unit(gallery))
    nearest = near >= near.max(-1, keepdims=True) - ALIKE
    return np.stack([each[..., row] for row, each in enumerate(nearest)]) / nearest.sum(-1)


def cosine(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The cosine of each query and the picture in its row, [rows, ...]; arguments as for `rank_one`."""
    return np.einsum("q...d,qd->q...", _unit(query), _unit(gallery))


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

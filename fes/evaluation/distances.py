"""Distances between two sets of pictures, each a row of features per picture: the formulae of FID and KID."""

import numpy as np

LEAST = 2
"""Rows that a set needs."""


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|mean a - mean b|^2 + trace(Ca + Cb - 2 (Ca Cb)^(1/2)), with the unbiased covariances Ca and Cb.

    It is biased upwards: for rows of one distribution the means alone give about trace(C) (1/n_a + 1/n_b),
    and covariances that few rows tell badly give more. Compare only what was measured with as many rows.

    Args:
        a, b: [rows, features], at least two rows each; computed in float64.
    """
    (mean_a, root_a), (mean_b, root_b) = (_moments(np.asarray(each, np.float64)) for each in (a, b))
    # With Ca = Ra' Ra and Cb = Rb' Rb, the eigenvalues of Ca Cb are the squared singular values of Ra Rb':
    # no matrix is squared or divided by, so that covariances without full rank do no harm.
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum() - 2 * shared
    return float(np.square(mean_a - mean_b).sum() + max(spread, 0.0))


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and a matrix R with R' R = the covariance."""
    mean = rows.mean(0)
    return mean, np.linalg.qr(rows - mean, mode="r") / np.sqrt(len(rows) - 1)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The squared maximum mean discrepancy with the kernel (x.y / features + 1)^3, its unbiased estimate.

    The expectation is the same for any number of rows, and 0 for rows of one distribution: it may come out
    below 0.

    Args:
        a, b: [rows, features], at least two rows each; computed in float64.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return _within(a) + _within(b) - 2 * float(_kernel(a, b).mean())


def _within(rows: np.ndarray) -> float:
    kernel, count = _kernel(rows, rows), len(rows)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3

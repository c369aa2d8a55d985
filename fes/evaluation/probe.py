"""A linear probe: how much of a class a plane reads from a vector."""

import numpy as np

RIDGE = 0.1
"""Weight of the penalty, in units of the variance of a standardised feature."""


def probe_accuracy(features: np.ndarray, label: np.ndarray, taught: np.ndarray) -> float:
    """Fits by ridge regression onto the classes, features being standardised by the rows it learns from.

    Args:
        features: [rows, features].
        label: int64 [rows], the class.
        taught: bool [rows], whom it learns from; the others test it.

    Returns:
        The share of the tested rows whose class it tells. No random draw is involved.
    """
    rows = np.asarray(features, np.float64)
    rows = rows - rows[taught].mean(0)
    rows /= np.maximum(rows[taught].std(0), 1e-12)
    classes = np.unique(label[taught])
    asked = (label[taught][:, None] == classes).astype(np.float64)
    shares = asked.mean(0)
    weights = _ridge(rows[taught], asked - shares)
    told = classes[(rows[~taught] @ weights + shares).argmax(1)]
    return float((told == label[~taught]).mean())


def _ridge(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The weights [features, classes] that bring rows nearest to what is asked of them."""
    count, features = rows.shape
    if features <= count:
        return np.linalg.solve(rows.T @ rows + RIDGE * count * np.eye(features), rows.T @ asked)
    return rows.T @ np.linalg.solve(rows @ rows.T + RIDGE * count * np.eye(count), asked)  # the same


def largest_share(label: np.ndarray) -> float:
    """The share of the most frequent class: what a probe that reads nothing tells rightly."""
    return float(np.unique(label, return_counts=True)[1].max() / len(label))

"""What a judge answered, counted by the true class: int64 [classes, classes], a row for each true class and
a column for each answer."""

import numpy as np

from fes.expressions import EXPRESSIONS

_LEAST_COLUMN = 6
_NAME = max(map(len, EXPRESSIONS))


def count(label: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """int64 [n] of true classes and int64 [n] of answers -> their confusion."""
    classes = len(EXPRESSIONS)
    return np.bincount(label * classes + answer, minlength=classes**2).reshape(classes, classes)


def accuracy(confusion: np.ndarray) -> float:
    """The share of right answers."""
    return float(np.trace(confusion) / confusion.sum())


def accuracy_by_class(confusion: np.ndarray) -> dict[str, float | None]:
    """The share of right answers for the pictures of each class; None for a class without any."""
    pairs = zip(np.diag(confusion).tolist(), confusion.sum(1).tolist(), strict=True)
    shares = [right / there if there else None for right, there in pairs]
    return dict(zip(EXPRESSIONS, shares, strict=True))


def summary(confusion: np.ndarray) -> str:
    """The share of right answers, as part of a line for people: `right on 0.6500 of 3,589 labelled`."""
    return f"right on {accuracy(confusion):.4f} of {confusion.sum():,} labelled"


def table(confusion: np.ndarray) -> str:
    """The confusion as lines for people, the share of right answers at the end of each."""
    widths = [max(_LEAST_COLUMN, len(name) + 1) for name in EXPRESSIONS]
    shares = accuracy_by_class(confusion)
    lines = [_line("true \\ read", [*EXPRESSIONS], widths, "right")]
    for name, row in zip(EXPRESSIONS, confusion.tolist(), strict=True):
        share = shares[name]
        lines.append(_line(name, [f"{n:,}" for n in row], widths, "-" if share is None else f"{share:.3f}"))
    return "\n".join(lines)


def _line(name: str, cells: list[str], widths: list[int], end: str) -> str:
    body = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"{name:<{_NAME + 2}}{body}{end:>8}"

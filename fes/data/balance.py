"""Rare classes more often: each class of a data set is drawn from by itself, with a share of its own."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fes.data.mix import BLOCK, places_of
from fes.data.reading import Samples
from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED


class Group(NamedTuple):
    """Samples that are drawn by themselves: a data set, one class of it, or what is unlabelled in it."""

    number: int
    """Of the data set."""
    places: int
    """How many of each block of the stream are theirs."""
    label: int | None = None
    """-1 for the unlabelled; None for a data set as a whole."""
    positions: np.ndarray | None = None
    """int64 [n], rising: which samples these are; None for all. Those of the classes take 8 bytes for each
    sample of the data sets."""


def groups_of(sets: Sequence[Samples], weights: Sequence[float], balance: float) -> list[Group]:
    """What a stream draws from, and how often.

    A data set keeps its weight, to the place, and the unlabelled of it their part of that. What is left goes
    to its classes in proportion to n ** (1 - balance), where n is how many samples a class has: as often as
    they are there at 0, where sets are not divided, and all equally often at 1. A class without samples gets
    nothing.

    Raises:
        InputError: the weights make no sense, or one is too small to be dealt to the classes.
    """
    dealt = list(zip(sets, places_of(weights).tolist(), strict=True))
    if not balance:
        return [Group(number, places) for number, (_, places) in enumerate(dealt)]
    classes = (_classes_of(number, *each, balance) for number, each in enumerate(dealt) if each[1])
    return list(itertools.chain(*classes))


def _classes_of(number: int, samples: Samples, places: int, balance: float) -> list[Group]:
    positions = _by_class(np.asarray(samples.labels))
    if places < len(positions):
        raise InputError(
            f"--data gives {getattr(samples, 'place', 'a data set')} {places} of {BLOCK:,} pictures: too few "
            f"for its {len(positions)} classes; give it more weight, or take --augment.class-balance 0"
        )
    counts = {label: len(found) for label, found in positions.items()}
    dealt = places_of(_shares(counts, balance), places).tolist()
    return [
        Group(number, share, label, found)
        for (label, found), share in zip(positions.items(), dealt, strict=True)
    ]


def _by_class(labels: np.ndarray) -> dict[int, np.ndarray]:
    """The positions of each class that is there, and of the unlabelled, by label.

    A label that no class has is damage, which is told or replaced where it is read: in the largest group,
    which has others to take its place.
    """
    counts = np.array([(labels == label).sum() for label in range(UNLABELLED, len(EXPRESSIONS))])
    known = (labels >= UNLABELLED) & (labels < len(EXPRESSIONS))
    labels = np.where(known, labels, np.argmax(counts) + UNLABELLED)
    found = {label: np.flatnonzero(labels == label) for label in range(UNLABELLED, len(EXPRESSIONS))}
    return {label: positions for label, positions in found.items() if len(positions)}


def _shares(counts: dict[int, int], balance: float) -> list[float]:
    """The parts of a data set's weight that go to its groups; they sum to 1."""
    evened = {label: float(n) ** (1.0 - balance) for label, n in counts.items() if label != UNLABELLED}
    unlabelled = counts.get(UNLABELLED, 0) / sum(counts.values())
    return [
        unlabelled if label == UNLABELLED else (1.0 - unlabelled) * evened[label] / sum(evened.values())
        for label in counts
    ]

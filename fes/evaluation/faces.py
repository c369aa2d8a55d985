"""Held-out faces: the pictures that a snapshot is measured on, and who they show."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from fes.errors import DamagedSample, InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.drawing.faces import render
from shards.index import ShardIndex, Split, spread
from shards.pictures import decode_picture, encode_picture
from shards.schema import NOBODY

HELD_OUT = "test", "valid"
"""Splits to evaluate on, the first that there is."""
TRAINED_ON = 2000
"""Most pictures of training, from which eigenfaces and the mean face of each class are made."""

Truth = Callable[[slice], tuple[Tensor, Tensor]]
"""Which faces -> their true pictures with each expression, uint8 [faces, classes, channels, height, width],
and whether there is one, bool [faces, classes]."""


def held_out(index: ShardIndex, names: Sequence[str] = HELD_OUT) -> str:
    """The split to evaluate on: the first of the names that there is.

    Raises:
        InputError: there is none.
    """
    for name in names:
        if name in index.splits:
            return name
    raise InputError(f"{index.place} has no {' or '.join(names)} split to evaluate on")


@dataclass(frozen=True)
class Pictures:
    """Real pictures: `image` uint8 [n, channels, height, width], `label` int64 [n], -1 where unlabelled."""

    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class Faces:
    """The pictures of an evaluation, in a random order in which people come before their second pictures.

    `held` are twice as many as faces to draw, or all that there are; `person` int64 [n] is equal for
    pictures of one person; `trained` were trained on; `truth` is None where nobody is known to be there
    twice.
    """

    held: Pictures
    person: np.ndarray
    trained: Pictures
    truth: Truth | None
    count: int
    """How many of `held`, the first ones, are to be drawn with every expression."""
    about: dict[str, str]
    """The data's fingerprint and the split."""


def load_faces(
    index: ShardIndex,
    names: Sequence[str],
    resolution: int,
    channels: int,
    count: int,
    skip_damaged: bool = False,
) -> Faces:
    """Reads held-out faces in a shape.

    Args:
        names: splits to take, the first that there is.
        count: most faces to draw.
        skip_damaged: whether damaged pictures are passed over.

    Raises:
        InputError: there is no such split, it has no labels, or a picture is damaged.
    """
    split = index.split(held_out(index, names)).sized(resolution, channels)
    if not (split.labels != UNLABELLED).any():
        raise InputError(f"the held-out pictures in {index.place} have no labels to compare with")
    positions, held = _read(split, in_order(split.identities)[: 2 * count], skip_damaged)
    train = index.split("train" if "train" in index.splits else split.name).sized(resolution, channels)
    _, trained = _read(train, spread(train.samples, TRAINED_ON), skip_damaged)
    count = min(count, len(positions))
    about = {"data": index.fingerprint, "split": split.name}
    return Faces(
        held, people(split.identities, positions), trained, _truth(index, split, positions), count, about
    )


def in_order(identities: np.ndarray) -> np.ndarray:
    """All positions in an order that is random, but that nobody's second picture precedes anybody's first.

    The same for the same identities, and so that any number of the first is a fair choice.
    """
    random = np.random.Generator(np.random.Philox(key=0)).permutation(len(identities))
    seen: Counter[int] = Counter()
    rounds = np.zeros(len(random), np.int64)
    for at, identity in enumerate(identities[random].tolist()):
        if identity != NOBODY:
            rounds[at] = seen[identity]
            seen[identity] += 1
    return random[np.argsort(rounds, kind="stable")]


def people(identities: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    """A number for each person, int64 [positions], from 0 in the order in which they come; whoever is unknown
    is somebody else than all others."""
    names = [
        f"unknown {position}" if identities[position] == NOBODY else str(identities[position])
        for position in positions
    ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _read(split: Split, positions: np.ndarray, skip_damaged: bool) -> tuple[list[int], Pictures]:
    read: dict[int, np.ndarray] = {}
    for position in positions.tolist():
        try:
            read[position] = split.image(position)
        except DamagedSample:
            if not skip_damaged:
                raise
    if not read:
        raise InputError(f"all pictures of the split {split.name} in {split.place} are damaged")
    labels = split.labels[list(read)]
    return list(read), Pictures(torch.from_numpy(np.stack(list(read.values()))), torch.from_numpy(labels))


def _truth(index: ShardIndex, split: Split, positions: list[int]) -> Truth | None:
    if index.source == "drawn":
        return lambda which: _drawn_truth(index, split, positions[which])
    others = _others(split)
    if not any(others.get(identity) for identity in split.identities[positions].tolist()):
        return None
    return lambda which: _photographed_truth(split, positions[which], others)


def _drawn_truth(index: ShardIndex, split: Split, positions: list[int]) -> tuple[Tensor, Tensor]:
    """Drawn people as the data would hold them."""
    numbers = np.array([split.details(position)["numbers"] for position in positions], dtype=np.float32)
    labels = np.tile(np.arange(len(EXPRESSIONS)), len(numbers))
    drawn = render(np.repeat(numbers, len(EXPRESSIONS), axis=0), labels, index.resolution, index.channels)
    files = map(encode_picture, drawn)
    pictures = np.stack([decode_picture(file, split.resolution, split.channels) for file in files])
    true = torch.from_numpy(rearrange(pictures, "(f e) c h w -> f e c h w", e=len(EXPRESSIONS)))
    return true, torch.ones(true.shape[:2], dtype=torch.bool)


def _others(split: Split) -> dict[int, dict[int, list[int]]]:
    """Person -> class -> positions, of people who are there with several pictures."""
    found: dict[int, dict[int, list[int]]] = {}
    several = Counter(split.identities.tolist())
    for position, (identity, label) in enumerate(
        zip(split.identities.tolist(), split.labels.tolist(), strict=True)
    ):
        if identity != NOBODY and several[identity] > 1 and label != UNLABELLED:
            found.setdefault(identity, {}).setdefault(label, []).append(position)
    return found


def _photographed_truth(
    split: Split, positions: list[int], others: dict[int, dict[int, list[int]]]
) -> tuple[Tensor, Tensor]:
    """The first other picture of each person with each expression; black where there is none."""
    shape = len(positions), len(EXPRESSIONS)
    true = torch.zeros(*shape, split.channels, split.resolution, split.resolution, dtype=torch.uint8)
    there = torch.zeros(shape, dtype=torch.bool)
    for row, position in enumerate(positions):
        for label, found in others.get(int(split.identities[position]), {}).items():
            other = next((each for each in found if each != position), None)
            if other is not None:
                true[row, label], there[row, label] = torch.from_numpy(split.image(other)), True
    return true, there

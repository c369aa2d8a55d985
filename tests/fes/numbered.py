"""Samples for tests of the stream whose pictures are their numbers: what a batch holds is plain to see."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from fes.errors import DamagedSample


class Numbers:
    """Samples in shards of these sizes; the picture of position p says `first` + p."""

    channels, resolution = 2, 1

    def __init__(self, sizes: Sequence[int], labels: np.ndarray | None = None, first: int = 0) -> None:
        self.shard_starts = np.cumsum([0, *sizes])
        self.samples, self.first = sum(sizes), first
        self.labels = np.arange(self.samples) % 7 if labels is None else labels

    def image(self, position: int) -> np.ndarray:
        """uint8 [2, 1, 1]: 256 times the one and the other."""
        return np.array(divmod(self.first + position, 256), np.uint8).reshape(2, 1, 1)


class Broken(Numbers):
    """Samples of which some cannot be read."""

    def __init__(self, sizes: Sequence[int], bad: Sequence[int]) -> None:
        super().__init__(sizes)
        self.bad = set(bad)

    def image(self, position: int) -> np.ndarray:
        if position in self.bad:
            raise DamagedSample(f"shard-3.tar: member {position}.png is damaged: build it again")
        return super().image(position)


@dataclass(frozen=True)
class Named:
    """A shard."""

    name: str

    @property
    def file(self) -> tuple[str, int, str]:
        return self.name, 0, ""


@dataclass
class Shelf:
    """Writes down which shards it is told of, by which process, where all processes can."""

    path: Path

    def ahead(self, shards: Sequence[tuple[str, int, str]]) -> None:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {' '.join(name for name, _, _ in shards)}\n")

    @property
    def told(self) -> list[tuple[int, list[str]]]:
        """Who was told what."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(int(line.split()[0]), line.split()[1:]) for line in lines]


class Shelved(Numbers):
    """Samples in shards with names, on a shelf; at position `slow` a reader waits for some seconds."""

    place = "https://host/faces"

    def __init__(self, sizes: Sequence[int], log: Path, slow: int = -1, seconds: float = 0.0) -> None:
        super().__init__(sizes)
        self.shards = [Named(f"faces-{number}.tar") for number in range(len(sizes))]
        self.shelf, self.slow, self.seconds = Shelf(log), slow, seconds

    def image(self, position: int) -> np.ndarray:
        if position == self.slow:
            time.sleep(self.seconds)
        return super().image(position)


@dataclass
class Heard:
    """Keeps what is said."""

    sentences: list[str] = field(default_factory=list)

    def __call__(self, sentence: str) -> None:
        self.sentences.append(sentence)


def taken(pictures: torch.Tensor | np.ndarray) -> list[int]:
    """The numbers that pictures of `Numbers` say."""
    return [int(high) * 256 + int(low) for high, low in pictures[:, :, 0, 0]]

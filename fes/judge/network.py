"""The networks of a judge, and the answers it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fes.batch import to_float
from fes.commandline.advice import ANY, judge_training, shape
from fes.data.reading import Samples
from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.judge.confusion import accuracy, count

Kind = Literal["residual", "deep", "slim", "plain"]
"""Architectures: a residual network; one of twice the depth that sees every pixel, for a GPU: nine times the
work; the same half as wide: twice the work; and four plain convolutions in a third of the first's time."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_FINEST = 64
"""Pictures of up to so many pixels a side are read by the stages below alone."""
_STAGES: dict[Kind, tuple[int, int, int, int]] = {
    "residual": (32, 64, 128, 256),
    "deep": (32, 64, 128, 256),
    "slim": (16, 32, 64, 128),
    "plain": (16, 32, 64, 128),
}
"""Feature maps of the residual network at 1/2, 1/4, 1/8 and 1/16 of the pictures' height, of the deep one and
the slim one at twice that; of the plain one's convolutions."""
_DEPTH = 2
"""Blocks of the deep network in each stage."""
_AT_ONCE = 256 * 48**2
"""Pixels of the pictures that are read at a time: more take memory and no less time."""


@dataclass(frozen=True)
class Facts:
    """What a judge's file tells of it."""

    accuracy: float
    """Share of right answers on held-out real pictures."""
    confusion: tuple[tuple[int, ...], ...]
    """Their number by class, [classes][classes]: a row for each true class, a column for each answer."""
    data: str
    """Fingerprint of the data it was trained on; the held-out pictures are of the same."""
    config: dict[str, Any]
    """How it was trained."""

    @classmethod
    def of(cls, confusion: np.ndarray, data: str, config: dict[str, Any]) -> "Facts":
        """Of a judge with this confusion, int64 [classes, classes]."""
        return cls(accuracy(confusion), tuple(map(tuple, confusion.tolist())), data, config)


class Judge(nn.Module):
    """Picture [batch, channels, height, width] in [-1, 1] -> logits [batch, classes]; for one resolution.

    Once trained, it looks at each picture and at its mirror image, and answers by the mean of both.
    `width` is the number of its features, `facts` what its file tells: None until it is trained.
    """

    def __init__(self, kind: Kind, resolution: int, channels: int) -> None:
        super().__init__()
        self.kind, self.resolution, self.channels = kind, resolution, channels
        self.facts: Facts | None = None
        self.blocks = _BLOCKS[kind](channels, _widths(kind, resolution))
        self.width = _STAGES[kind][-1]
        self.classify = nn.Linear(self.width, len(EXPRESSIONS))
        # Height, width, channels is the faster order in memory: by half here, on a CPU.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """Picture as of `forward` -> the features that the last layer reads, [batch, width]."""
        x = x.contiguous(memory_format=torch.channels_last)
        if self.training:
            return self._seen(x)
        return (self._seen(x) + self._seen(x.flip(3))) / 2

    def _seen(self, x: Tensor) -> Tensor:
        # Every place at the coarsest resolution is averaged: where in the picture a face is, is no matter.
        return self.blocks(x).mean((2, 3))

    def glance(self, x: Tensor) -> Tensor:
        """Picture as of `forward` -> logits by the picture alone, without its mirror image."""
        return self.classify(self._seen(x.contiguous(memory_format=torch.channels_last)))

    def read(self, image: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] -> the class it sees, int64 [n]."""
        return self._in_parts(image, lambda x: self(x).argmax(1))

    def probabilities(self, image: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] -> the probability of each class, float32 [n, classes]."""
        return self._in_parts(image, lambda x: self(x).softmax(1))

    def features(self, image: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] -> what the last layer reads, float32 [n, width]."""
        return self._in_parts(image, self.pooled)

    @torch.no_grad()  # not inference mode: features may be what another network learns from
    def _in_parts(self, image: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([answer(to_float(part)) for part in image.split(self._at_once)])

    @property
    def _at_once(self) -> int:
        return max(1, _AT_ONCE // self.resolution**2)

    def check_shape(self, resolution: int, channels: int) -> None:
        """Raises `InputError` unless the judge reads pictures of the shape that is drawn."""
        if (resolution, channels) != (self.resolution, self.channels):
            other = judge_training(Path("another.safetensors"), ANY, resolution, channels)
            raise InputError(
                f"the judge reads pictures of {shape(self.resolution, self.channels)}, and the weights draw "
                f"{shape(resolution, channels)}: '{other}' makes a judge for them"
            )

    def confusion(
        self, parts: Sequence[Samples], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Its answers to the labelled pictures of all parts, counted: int64 [classes, classes], a row for
        each true class.

        Args:
            progress: called with the number of pictures read, and of all.

        Raises:
            InputError: no picture has a label.
        """
        check_labels(parts)
        counts = np.zeros((len(EXPRESSIONS), len(EXPRESSIONS)), np.int64)
        labelled = [np.flatnonzero(samples.labels != UNLABELLED) for samples in parts]
        total = sum(map(len, labelled))
        for samples, known in zip(parts, labelled, strict=True):
            for start in range(0, len(known), self._at_once):
                some = known[start : start + self._at_once]
                image = torch.from_numpy(np.stack([samples.image(int(p)) for p in some]))
                counts += count(samples.labels[some], self.read(image).numpy())
                progress(int(counts.sum()), total)
        return counts

    def score(self, parts: Sequence[Samples]) -> tuple[int, int]:
        """How many of the labelled pictures of all parts it reads rightly, and how many there are.

        Raises:
            InputError: no picture has a label.
        """
        counts = self.confusion(parts)
        return int(np.trace(counts)), int(counts.sum())


def check_labels(parts: Sequence[Samples]) -> None:
    """Raises `InputError` where no picture of all parts has a label to compare an answer with."""
    if not any((samples.labels != UNLABELLED).any() for samples in parts):
        raise InputError(
            "the held-out pictures have no labels, so a judge cannot be tested on them: add a labelled data "
            "set to --data"
        )


def new_judge(kind: Kind, resolution: int, channels: int, seed: int) -> Judge:
    """An untrained judge; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Judge(kind, resolution, channels)


def _plain(channels: int, widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(_halved(read, write) for read, write in pairwise((channels, *widths))))


def _residual(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """The first layer works at the full resolution, so it is one convolution; each stage at half of that of
    the one before."""
    stages = [Residual(widths[0], widths[0], stride=1)]
    stages += [Residual(read, write, stride=2) for read, write in pairwise(widths)]
    return nn.Sequential(_halved(channels, widths[0]), *stages)


def _deep(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """As `_residual`, with twice the resolution and `_DEPTH` blocks at each stage."""
    blocks = [Residual(widths[0], widths[0], stride=1) for _ in range(_DEPTH)]
    for read, write in pairwise(widths):
        blocks += [Residual(read, write, stride=2)]
        blocks += [Residual(write, write, stride=1) for _ in range(_DEPTH - 1)]
    return nn.Sequential(_convolved(channels, widths[0]), *blocks)


_BLOCKS: dict[Kind, Callable[[int, Sequence[int]], nn.Sequential]] = {
    "residual": _residual,
    "deep": _deep,
    "slim": _deep,
    "plain": _plain,
}


def _widths(kind: Kind, resolution: int) -> list[int]:
    """Feature maps of the stages; a larger picture has further ones in front, each half as wide, for the same
    work. The plain network has none."""
    stages = _STAGES[kind]
    doublings = 0 if kind == "plain" else max(0, (resolution - 1) // _FINEST).bit_length()
    return [max(8, stages[0] >> n) for n in range(doublings, 0, -1)] + [*stages]


def _convolved(read: int, write: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(read, write, 3, padding=1, bias=False), nn.BatchNorm2d(write), nn.ReLU())


def _halved(read: int, write: int) -> nn.Sequential:
    return _convolved(read, write).append(nn.MaxPool2d(2))


class Residual(nn.Module):
    """[batch, read, height, width] -> [batch, write, height / stride, width / stride] (He et al., 2016)."""

    def __init__(self, read: int, write: int, stride: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(read, write, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(write),
            nn.ReLU(),
            nn.Conv2d(write, write, 3, padding=1, bias=False),
            nn.BatchNorm2d(write),
        )
        nn.init.zeros_(self.change[-1].weight)  # so that it begins as the shortcut alone
        self.stride = stride
        self.widen = nn.Identity() if read == write else nn.Conv2d(read, write, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = functional.avg_pool2d(x, self.stride) if self.stride > 1 else x
        return functional.relu(self.widen(shortcut) + self.change(x))

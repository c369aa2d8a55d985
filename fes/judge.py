"""The judge: an expression classifier that grades synthesised faces.

It is trained on real pictures only and never on synthesised ones, and it shares nothing with the
networks it grades.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from fes.config import check_shape
from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.files import write_file
from fes.pictures import to_float
from fes.reading import Samples
from fes.stream import Stream

FORMAT = "fes-judge-1"
_FEATURES = (16, 32, 64, 128)


@dataclass(frozen=True)
class JudgeConfig:
    """How to train a judge."""

    kimg: float = 300.0
    """Thousands of real pictures to see."""
    batch: int = 64
    """Pictures per batch."""
    rate: float = 2e-3
    """Highest learning rate of Adam; it rises from and falls to nearly nothing along a cosine."""
    seed: int = 0
    """Decides the first weights and the order of the samples."""

    def check(self) -> None:
        """Raises `InputError`, naming the flag, for values that no judge can be trained with."""
        for flag, value in (("--kimg", self.kimg), ("--batch", self.batch), ("--rate", self.rate)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{flag} is {value}: it must be a positive number")
        if self.steps < 1:
            raise InputError(f"--kimg is {self.kimg}: it must be at least one batch, {self.batch / 1000}")

    @property
    def steps(self) -> int:
        """Batches to train on."""
        return round(self.kimg * 1000 / self.batch)


class Judge(nn.Module):
    """Picture [batch, channels, height, width] in [-1, 1] -> logits [batch, classes]; for one resolution."""

    def __init__(self, resolution: int, channels: int) -> None:
        super().__init__()
        self.resolution, self.channels = resolution, channels
        reads = (channels, *_FEATURES[:-1])
        self.blocks = nn.Sequential(*map(_block, reads, _FEATURES))
        self.classify = nn.Linear(_FEATURES[-1], len(EXPRESSIONS))

    def forward(self, x: Tensor) -> Tensor:
        # Every place at the coarsest resolution is averaged: where in the picture a face is, is no matter.
        return self.classify(self.blocks(x).mean((2, 3)))

    @torch.inference_mode()
    def read(self, image: Tensor) -> Tensor:
        """uint8 [batch, channels, height, width] -> the class it sees, int64 [batch]."""
        return torch.cat([self(to_float(part)).argmax(1) for part in image.split(256)])

    @torch.inference_mode()
    def probabilities(self, image: Tensor) -> Tensor:
        """uint8 [batch, channels, height, width] -> the probability of each class, [batch, classes]."""
        return self(to_float(image)).softmax(1)

    def check_shape(self, resolution: int, channels: int) -> None:
        """Raises `InputError` unless the judge reads pictures of the shape that is drawn."""
        if (resolution, channels) != (self.resolution, self.channels):
            raise InputError(
                f"the judge reads pictures of {self.resolution} px and {self.channels} channels, and the "
                f"weights draw {resolution} px and {channels}: 'fes judge train --resolution {resolution} "
                f"--channels {channels}' makes a judge for them"
            )

    def score(self, parts: Sequence[Samples]) -> tuple[int, int]:
        """How many of the labelled pictures of all parts it reads rightly, and how many there are.

        Raises:
            InputError: no picture has a label.
        """
        check_labels(parts)
        right = labelled = 0
        for samples in parts:
            known = np.flatnonzero(samples.labels != UNLABELLED)
            labelled += len(known)
            for start in range(0, len(known), 512):
                some = known[start : start + 512]
                image = torch.from_numpy(np.stack([samples.image(int(p)) for p in some]))
                right += int((self.read(image).numpy() == samples.labels[some]).sum())
        return right, labelled


def check_labels(parts: Sequence[Samples]) -> None:
    """Raises `InputError` where no picture of all parts has a label to compare an answer with."""
    if not any((samples.labels != UNLABELLED).any() for samples in parts):
        raise InputError(
            "the held-out pictures have no labels, so a judge cannot be tested on them: add a labelled data "
            "set to --data"
        )


def _block(read: int, write: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(read, write, 3, padding=1, bias=False), nn.BatchNorm2d(write), nn.ReLU(), nn.MaxPool2d(2)
    )


def train_judge(
    judge: Judge,
    parts: Sequence[Samples],
    weights: Sequence[float],
    config: JudgeConfig,
    progress: Callable[[int, int], None],
) -> None:
    """Trains in place on labelled pictures; unlabelled ones are passed over.

    Args:
        weights: how often each part is drawn from.
        progress: called with the number of batches done, and of all.

    Raises:
        InputError: no picture has a label.
    """
    taught = [at for at, samples in enumerate(parts) if (samples.labels != UNLABELLED).any()]
    if not taught:
        raise InputError("the training pictures have no labels: a judge cannot learn from them")
    steps = config.steps
    optimiser = torch.optim.Adam(judge.parameters(), config.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps + 1)
    parts, weights = [parts[at] for at in taught], [weights[at] for at in taught]
    stream = Stream(parts, weights=weights, seed=config.seed, batch=config.batch, window=16384)
    judge.train()
    for step, batch in zip(range(steps), stream.batches(0), strict=False):
        loss = _error_where_labelled(judge(to_float(batch.image)), batch.label)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        progress(step + 1, steps)
    judge.eval()


def _error_where_labelled(logits: Tensor, label: Tensor) -> Tensor:
    """The mean cross entropy of the labelled samples; 0, where the mean is NaN, if there are none."""
    total = functional.cross_entropy(logits, label, ignore_index=UNLABELLED, reduction="sum")
    return total / (label != UNLABELLED).sum().clamp_min(1)


def new_judge(resolution: int, channels: int, seed: int) -> Judge:
    """An untrained judge; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Judge(resolution, channels)


def save_judge(path: Path, judge: Judge, config: JudgeConfig, accuracy: float, data: str) -> None:
    """Writes a judge as safetensors.

    Args:
        accuracy: its share of right answers on held-out pictures of the data whose fingerprint is `data`.

    Raises:
        InputError: the folder cannot be written.
    """
    about = {"resolution": judge.resolution, "channels": judge.channels, "accuracy": accuracy, "data": data}
    metadata = {"format": FORMAT, "judge": json.dumps(about | {"config": asdict(config)})}
    write_file(path, save(judge.state_dict(), metadata))


def load_judge(path: Path) -> Judge:
    """Reads a judge.

    Raises:
        InputError: there is none, or the file is another kind of file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a judge: {error}; 'fes judge train' makes one") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file, but not a judge; 'fes judge train' makes one")
    try:
        about = json.loads(metadata["judge"])
        check_shape(about["resolution"], about["channels"])
        judge = Judge(about["resolution"], about["channels"])
        judge.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # also of what json and torch tell
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is a damaged judge ({reason}); 'fes judge train' makes one") from None
    return judge.eval()

"""Training of a judge, on labelled real pictures."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fes.batch import Batch, to_float
from fes.config.validity import check_seed
from fes.data.reading import Samples
from fes.data.stream import Stream
from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.judge.augmentation import augmented, noisy
from fes.judge.network import Judge, Kind
from fes.machine import keep_memory

_WINDOW = 16384  # samples that are shuffled among each other
_READERS = 4  # processes that read ahead for a GPU; a CPU is slower than what it reads
_SMOOTHING = 0.1  # of the labels
_DECAY = 0.05  # of the weights, in multiples of the learning rate

Data = TypeVar("Data")


class Part(Protocol):
    """Of what a training consists, beside its step."""

    def state_dict(self) -> dict[str, Any]:
        """What going on needs of it."""

    def load_state_dict(self, kept: dict[str, Any], /) -> object:
        """The same, put back."""


Parts = Mapping[str, Part]


class Keeper:
    """What keeps a training that may be stopped; this one keeps nothing, and nothing stops it."""

    def restore(self, parts: Parts) -> int:
        """Puts what was kept in place, and tells the step to go on with."""
        return 0

    def stops(self, step: int, parts: Parts) -> bool:
        """Whether to stop before a step; then what going on needs is kept."""
        return False

    def waited(self, get: Callable[[], Data]) -> Data:
        """Data that are waited for; raises `InputError` where they will not come."""
        return get()

    def keep(self, step: int, parts: Parts) -> None:
        """Keeps what going on with a step needs."""


@dataclass(frozen=True)
class JudgeConfig:
    """How to train a judge."""

    kind: Kind | Literal["auto"] = "auto"
    """The architecture: a residual network; a deep one that reads better, for a GPU (nine times the work); a
    slim one, as deep and half as wide (twice the work); or a plain one that is three times as fast as the
    first and less exact. auto: deep where there is a GPU, else residual, and residual for a guide (`noise`),
    which has to be quick."""
    kimg: float = 1000.0
    """Thousands of real pictures to see."""
    batch: int = 64
    """Pictures per batch."""
    rate: float = 3e-3
    """Highest learning rate of Adam; it rises from and falls to nearly nothing along a cosine."""
    balance: float = 0.5
    """How far rare classes count for more: a picture by its class's frequency to the power of minus this.
    0: all pictures alike; 1: all classes alike."""
    augment: float = 1.0
    """How far pictures are moved, turned, relit and covered in training, in multiples of what suits
    photographs; 0: not at all."""
    noise: float = 0.0
    """Most noise on training pictures, as a standard deviation where pixels go from -1 to 1; each picture has
    its own, from 0 to this. A guide needs some (0.5): without it, patterns that nobody sees please it."""
    precision: Literal["auto", "no", "bf16"] = "auto"
    """What the networks compute in: float32 (no), or bfloat16 where that is safe. auto: bfloat16 where the
    processor has instructions for it. What is trained is read in float32."""
    seed: int = 0
    """Decides the first weights, the order of the samples and their augmentation."""

    def check(self) -> None:
        """Raises `InputError`, naming the flag, for values that no judge can be trained with."""
        for flag, value in (("--kimg", self.kimg), ("--batch", self.batch), ("--rate", self.rate)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{flag} is {value}: it must be a positive number")
        shares = ("--balance", self.balance, 1), ("--augment", self.augment, 2), ("--noise", self.noise, 2)
        for flag, value, most in shares:
            if not 0 <= value <= most:
                raise InputError(f"{flag} is {value}: it must be a number from 0 to {most}")
        check_seed(self.seed)
        if self.steps < 1:
            raise InputError(f"--kimg is {self.kimg}: it must be at least one batch, {self.batch / 1000}")

    @property
    def architecture(self) -> Kind:
        """The kind; here and now, where it is left open."""
        if self.kind != "auto":
            return self.kind
        return "deep" if torch.cuda.is_available() and not self.noise else "residual"

    @property
    def steps(self) -> int:
        """Batches to train on."""
        return round(self.kimg * 1000 / self.batch)


def train_judge(
    judge: Judge,
    samples: Sequence[Samples],
    weights: Sequence[float],
    config: JudgeConfig,
    progress: Callable[[int, int], None],
    keeper: Keeper | None = None,
) -> bool:
    """Trains in place on labelled pictures, on a GPU where there is one; unlabelled ones are passed over.

    On a CPU the process keeps the memory that it frees, from then on. A training that was stopped and goes on
    ends with the weights of one that was not; on a GPU, whose sums come in any order, but for rounding.

    Args:
        samples: the pictures of each data set.
        weights: how often each set is drawn from.
        progress: called with the number of images seen, and of all.
        keeper: goes on from what was kept, and may stop the training; None: nobody does.

    Returns:
        Whether the judge is trained to the end.

    Raises:
        InputError: no picture has a label; or one cannot be read, and the training up to there is kept.
    """
    samples, weights = _labelled(samples, weights)
    keeper = keeper or Keeper()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keep_memory(device.type)
    learn, parts = _learning(judge.to(device).train(), class_worth(samples, weights, config.balance), config)
    stream = Stream(samples, weights=weights, seed=config.seed, batch=config.batch, window=_WINDOW)
    step = keeper.restore(parts)
    batches = stream.batches(step, _READERS if device.type == "cuda" else 0)
    with contextlib.closing(batches):
        while not keeper.stops(step, parts):
            if step == config.steps:
                break
            try:
                batch = keeper.waited(partial(next, batches))
            except InputError:
                keeper.keep(step, parts)
                raise
            learn(step, batch)
            step += 1
            progress(step * config.batch, config.steps * config.batch)
        else:
            return False
    with contextlib.suppress(InputError):  # the judge itself is smaller, and may find room
        keeper.keep(step, parts)
    judge.to("cpu").eval()
    return True


def _learning(judge: Judge, worth: Tensor, config: JudgeConfig) -> tuple[Callable[[int, Batch], None], Parts]:
    """What takes a step of the training, and all that changes in one."""
    device = next(judge.parameters()).device
    worth, half = worth.to(device), _computes_in_half(config, device)
    optimiser = torch.optim.AdamW(judge.parameters(), config.rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.steps + 1)

    def learn(step: int, batch: Batch) -> None:
        x = augmented(to_float(batch.image.to(device, non_blocking=True)), config.seed, step, config.augment)
        x = noisy(x, config.seed, step, config.noise)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = judge(x)
        _error(logits.float(), batch.label.to(device, non_blocking=True), worth).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()

    return learn, {"judge": judge, "optimiser": optimiser, "schedule": schedule}


def _labelled(
    parts: Sequence[Samples], weights: Sequence[float]
) -> tuple[Sequence[Samples], Sequence[float]]:
    """The parts that have any label, and their weights."""
    taught = [at for at, samples in enumerate(parts) if (samples.labels != UNLABELLED).any()]
    if not taught:
        raise InputError("the training pictures have no labels: a judge cannot learn from them")
    return [parts[at] for at in taught], [weights[at] for at in taught]


def class_worth(parts: Sequence[Samples], weights: Sequence[float], balance: float) -> Tensor:
    """What a picture of each class counts for, 1 on the mean over the labelled pictures: [classes]."""
    share = np.zeros(len(EXPRESSIONS))
    for samples, weight in zip(parts, weights, strict=True):
        known = samples.labels[samples.labels != UNLABELLED]
        share += weight * np.bincount(known, minlength=len(share)) / samples.samples
    share /= share.sum()
    worth = np.where(share > 0, share, 1.0) ** -balance
    return torch.from_numpy(worth / (share * worth).sum()).float()


def _error(logits: Tensor, label: Tensor, worth: Tensor) -> Tensor:
    """The mean cross entropy of the labelled samples; 0, where the mean is NaN, if there are none."""
    error = functional.cross_entropy(
        logits, label, ignore_index=UNLABELLED, reduction="none", label_smoothing=_SMOOTHING
    )
    # An error that is ignored is 0, whatever it is multiplied with.
    return (error * worth[label.clamp_min(0)]).sum() / (label != UNLABELLED).sum().clamp_min(1)


def _computes_in_half(config: JudgeConfig, device: torch.device) -> bool:
    if config.precision != "auto":
        return config.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tell = getattr(torch.cpu, "get_capabilities", dict)  # older torch does not say
    return bool(tell().get("avx512_bf16"))

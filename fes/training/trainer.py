"""The loop. No files, no prints, and nothing about how ranks talk."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from torch import Tensor

from fes.batch import Batch
from fes.clock import MEASURE_EVERY, Clock
from fes.config import Config
from fes.draws import Noise
from fes.errors import InputError
from fes.learning.dials import Dials
from fes.learning.objectives import Measurements
from fes.model.ema import Ema
from fes.training.meters import Meters


class Player(Protocol):
    """An objective and its optimiser, made ready for the ranks at hand."""

    def step(self, batch: Batch, noise: Noise, **asked: bool) -> Measurements:
        """One forward, one backward, one update; the autoencoder can be asked to `measure` its pulls."""


class Hooks(Protocol):
    """What happens around the steps. Each is called on every rank."""

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        """Measurements since the last tick."""

    def snapshot(self, step: int) -> None:
        """The averaged weights are worth keeping."""

    def state(self, step: int) -> None:
        """Everything should be saved: `step` has not been taken yet."""

    def lost(self, step: int) -> None:
        """This rank has no batch for `step`, which has not been taken, and will have none: the run ends."""

    def stopping(self, step: int) -> bool:
        """Whether to end before `step`; the same answer on all ranks."""


def fit(
    config: Config,
    cast: Callable[[int], Mapping[str, Player]],
    dials: Dials,
    ema: Ema,
    batches: Iterator[Batch],
    noise: Callable[[int], Noise],
    hooks: Hooks,
    mean_over_ranks: Callable[[Tensor], Tensor],
    start: int = 0,
    held_out: Callable[[int], Tensor] | None = None,
) -> int:
    """Trains from step `start` to the end of the run, or until told to stop.

    Args:
        cast: step -> the players of its stage, `critics` and `autoencoder`.
        batches: the batches of steps `start`, `start` + 1, ..., on the device.
        noise: step -> its noise, on the device.
        mean_over_ranks: the mean of a tensor over all ranks.
        held_out: step -> the image critic's gap on held-out pictures, this rank's share of a batch; None
            where no dial needs it.

    Returns:
        The step that would have been next.

    Raises:
        InputError: a batch cannot be had; `hooks.lost` was called, if there was a step before.
    """
    clock, meters = Clock.of(config), Meters()
    for step in itertools.count(start):
        players = cast(step)
        finished, stopping = clock.finished(step), hooks.stopping(step)
        if step > start:  # what was due at the first step was done before the run was interrupted
            if finished or stopping or clock.due(config.clock.tick_kimg, step):
                hooks.tick(step, meters.drain(mean_over_ranks))
            if finished or clock.due(config.clock.snapshot_kimg, step):
                hooks.snapshot(step)
            if finished or stopping or clock.due(config.clock.state_kimg, step):
                hooks.state(step)
        if finished or stopping:
            return step

        try:
            with meters.waiting():
                batch = next(batches)
        except InputError:
            if step > start:
                hooks.lost(step)
            raise
        if clock.is_autoencoder_turn(step):
            measured = players["autoencoder"].step(batch, noise(step), measure=clock.measures(step))
            ema.update(seen=clock.images(step + 1), images=clock.cycle * clock.batch)
        else:
            measured = players["critics"].step(batch, noise(step))
            if held_out and clock.looks_at_held_out(step) and "critic/image_gap" in measured:
                measured |= {"critic/held_out_gap": held_out(step)}
        told = dials.update(measured, mean_over_ranks, MEASURE_EVERY * clock.cycle * clock.batch)
        meters.add(measured | told)
    raise AssertionError("the count never ends")

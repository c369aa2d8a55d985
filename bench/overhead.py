"""The whole trainer beside a bare loop of the same networks, losses and penalty, in turn in one process.

The trainer is the one that train.py composes, with its data, noise, averages, measurements and hooks; the
bare loop takes batches and noise that lie in memory. After each block of the trainer's steps its hooks let
it wait while the bare loop takes as many: neighbours in time are compared, whatever else the machine does.
"""

import contextlib
import io
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fes import train
from fes.batch import Batch
from fes.clock import Clock
from fes.config import ClockConfig, Config, ModelConfig, StreamConfig
from fes.data.mixture import Mixture
from fes.draws import Noise
from fes.hardware import Hardware
from fes.learning.players import BarePlayer, bare_players
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.arguments import Asked, resolve
from fes.training.supply import noise_for, stream_for
from fes.training.trainer import Hooks, fit

HOOKS = ("tick", "snapshot", "state")
CALLS = 4
"""How often each hook is called while the trainer is measured."""

Taken = np.ndarray
"""Seconds [2]: by the clock, and of all threads of this process."""
Result = dict[str, object]


@dataclass(frozen=True)
class Amount:
    """How much is measured: `rounds` pairs of blocks, each of so many cycles (critics, then autoencoder)."""

    rounds: int = 20
    cycles: int = 2


SMALL = ModelConfig(latent_dim=8, max_features=32, min_features=8, latent_critic_features=16)
"""Networks for those who only want to see that all of it works."""


def config_of(data: Path, run: Path, workers: int, quick: bool) -> Config:
    """A run with everything as is the default, but for the networks where it has to be quick."""
    model = SMALL if quick else ModelConfig()
    return Config(str(data), run, model=model, stream=StreamConfig(workers=workers))


def now(device: torch.device) -> Taken:
    """The time, once the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return np.array([time.perf_counter(), time.process_time()])


@dataclass
class Interleaved:
    """The trainer's hooks, with a block of the bare loop after each block of the trainer's steps."""

    hooks: Hooks
    bare: Callable[[int], None]
    """Takes so many steps."""
    block: int
    device: torch.device
    full_seconds: list[Taken] = field(default_factory=list)
    """Of each block of the trainer's, without what the hooks took."""
    bare_seconds: list[Taken] = field(default_factory=list)
    """Of each block of the bare loop, the first of them before the trainer's first."""
    hook_seconds: dict[str, list[Taken]] = field(default_factory=lambda: {name: [] for name in HOOKS})

    def stopping(self, step: int) -> bool:
        if step % self.block == 0:
            if step:
                self.full_seconds.append(now(self.device) - self._since)
            start = now(self.device)
            self.bare(self.block)
            self._since = now(self.device)
            self.bare_seconds.append(self._since - start)
        return self.hooks.stopping(step)

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        self._timed("tick", partial(self.hooks.tick, step, measurements))

    def snapshot(self, step: int) -> None:
        self._timed("snapshot", partial(self.hooks.snapshot, step))

    def state(self, step: int) -> None:
        self._timed("state", partial(self.hooks.state, step))

    def _timed(self, name: str, call: Callable[[], None]) -> None:
        start = now(self.device)
        call()
        taken = now(self.device) - start
        self.hook_seconds[name].append(taken)
        self._since = self._since + taken


def compared(measured: Interleaved) -> tuple[np.ndarray, np.ndarray]:
    """The trainer's blocks, and to each the mean of the bare ones right before and after it.

    Both float64 [blocks - 1, 2] in seconds: the first, in which everything warms up, is left out.
    """
    full, bare = np.stack(measured.full_seconds)[1:], np.stack(measured.bare_seconds)[1:]
    return full, (bare[:-1] + bare[1:]) / 2


def measure_overhead(config: Config, runtime: Runtime, amount: Amount) -> list[Result]:
    """What the trainer takes of time beside the bare loop, in a run whose length is set here.

    The first result is of the steps between two ticks; then each hook's, with its share of a run's time at
    the intervals that are the default.
    """
    config, mixture = with_data(config)
    config = replace(config, clock=_clock(config, amount))
    found: list[Interleaved] = []

    def interleaved(*others: Any, hooks: Hooks, **named: Any) -> int:
        bare = bare_loop(config, in_memory(config, mixture, runtime))
        found.append(Interleaved(hooks, bare, _block(config, amount), runtime.device))
        return fit(*others, hooks=found[0], **named)

    with contextlib.redirect_stdout(io.StringIO()):
        train.train(Asked(config, Hardware()), mixture, runtime, interleaved)
    (measured,) = found
    if len(measured.full_seconds) < amount.rounds:
        raise SystemExit("stopped before all was measured")
    return _results(measured, config)


def _block(config: Config, amount: Amount) -> int:
    return amount.cycles * Clock.of(config).cycle


def _clock(config: Config, amount: Amount) -> ClockConfig:
    """As many blocks as are measured, and one before; each hook is due `CALLS` times."""
    kimg = (amount.rounds + 1) * _block(config, amount) * config.batch / 1000
    each = kimg / CALLS
    return ClockConfig(total_kimg=kimg, tick_kimg=each, snapshot_kimg=each, state_kimg=each)


def with_data(config: Config) -> tuple[Config, Mixture]:
    """The config as the data complete it, and the data."""
    mixture = Mixture.load(config.data, config.stream)
    return resolve(config, mixture), mixture


def _results(measured: Interleaved, config: Config) -> list[Result]:
    full, bare = compared(measured)
    ratios = full / bare
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75), axis=0)
    step, workers = np.median(bare, axis=0)[0] / measured.block, config.stream.workers
    steps = {"what": "overhead", "part": "steps", "workers": workers, "ratio": middle[0]}
    steps |= {"quartiles": [low[0], high[0]], "cpu_ratio": middle[1], "bare_seconds": step}
    results = [steps]
    for name, taken in measured.hook_seconds.items():
        seconds = statistics.median(each[0] for each in taken)
        interval = getattr(ClockConfig(), f"{name}_kimg") * 1000 / config.batch
        share = seconds / (interval * step)
        results.append(
            {"what": "overhead", "part": name, "workers": workers, "seconds": seconds, "share": share}
        )
    return results


def in_memory(config: Config, mixture: Mixture, runtime: Runtime) -> list[tuple[Batch, Noise]]:
    """What the steps of one cycle work on, on the device."""
    stream, noise_of = stream_for(config, mixture, runtime), noise_for(config, runtime)
    steps = range(Clock.of(config).cycle)
    return list(zip(runtime.placed(stream[step] for step in steps), map(noise_of, steps), strict=True))


def bare_loop(config: Config, cycle: list[tuple[Batch, Noise]]) -> Callable[[int], None]:
    """Steps -> takes them, on what the steps of the cycle work on, again and again."""
    networks = Networks(config.model, config.seed).to(cycle[0][0].image.device)
    critics, autoencoder = bare_players(config, networks).values()
    turns = itertools.cycle([*zip([critics] * config.critic_steps + [autoencoder], cycle, strict=True)])

    def loop(steps: int) -> None:
        for player, (batch, drawn) in itertools.islice(turns, steps):
            bare_step(player, batch, drawn)

    return loop


def bare_step(player: BarePlayer, batch: Batch, drawn: Noise) -> None:
    """One update: the least that training needs."""
    objective, optimiser = player
    loss, _ = objective(batch, drawn)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)

"""Where the time of training goes, phase by phase: `python -m bench.profile --help`.

A cycle is taken as the trainer takes it, one step of the critics and one of the autoencoder, with a clock at
the borders of its phases (on a GPU after waiting for it, so that the sum is more than an undisturbed cycle
takes). What the penalty's double backward costs is the difference to a backward without it. Prints a table
and adds a line of json for each phase to bench/results/profile.jsonl.
"""

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from bench.commandline import options_of
from bench.gains import Options, model_of, work_of
from bench.overhead import now
from bench.recording import RESULTS, keep, machine
from bench.tables import show
from fes.batch import Batch
from fes.config import Config
from fes.data.decoded import DecodedSplit, decode_to
from fes.data.stream import Stream
from fes.hardware import Hardware
from fes.learning import objectives
from fes.learning.players import bare_players
from fes.machine import keep_memory
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.precision import set_arithmetic
from fes.saved.snapshot import save_snapshot
from fes.training.meters import Meters
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw

PHASES = (
    "loader: a batch for each step",
    "faces for the critics",
    "critics: scores",
    "critics: penalty's gradient",
    "critics: backward",
    "critics: of it double backward",
    "critics: Adam",
    "autoencoder: forward",
    "autoencoder: backward",
    "autoencoder: Adam",
    "average",
    "measurements",
    "snapshot, of each 50 kimg",
)
PARTS_OF_OTHERS = ("critics: of it double backward",)
SNAPSHOT_KIMG = 50.0


@dataclass(frozen=True)
class Profile(Options):
    """Measure where the time of a cycle goes."""


class Clock:
    """Seconds by phase, of each cycle."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Adds to a phase of the present cycle."""
        start = now(self.device)
        yield
        self.seconds[phase][-1] += (now(self.device) - start)[0]

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are counted in a phase."""

        def call(*given: Any, **named: Any) -> Any:
            with self.of(phase):
                return function(*given, **named)

        return call

    def begin(self) -> None:
        """A cycle begins."""
        for phase in PHASES:
            self.seconds[phase].append(0.0)


def batches_of(options: Profile, folder: Path) -> Stream:
    """A stream of drawn faces, decoded once, as `--stream.cache` has it."""
    people = DrawnOptions(64, 0, 0, resolution=options.resolution)
    build(draw(people), folder / "drawn", BuildOptions(workers=1))
    split = ShardIndex.load(folder / "drawn").split("train")
    shape = 1, options.resolution, options.resolution
    decode_to(folder / "decoded", split, shape)
    return Stream([DecodedSplit(split, folder / "decoded", shape)], seed=0, batch=options.batch, window=4096)


class Cycle:
    """A step of each player, taken phase by phase."""

    def __init__(self, options: Profile, folder: Path, clock: Clock) -> None:
        self.clock, self.device, model = clock, clock.device, model_of(options)
        self.config = Config("drawn", folder, model=model)
        self.networks = Networks(model, seed=0).to(self.device)
        self.critics, self.autoencoder = bare_players(self.config, self.networks).values()
        self.ema, self.meters, self.stream = Ema(self.networks, 20.0), Meters(), batches_of(options, folder)
        self.images = 2 * options.batch
        _, self.noise = work_of(options, model)
        self.made = clock.timed("faces for the critics", self.critics.objective._made)
        self.norm = clock.timed("critics: penalty's gradient", objectives.gradient_norm)

    def take(self, number: int) -> None:
        """The cycle of two batches of the stream, counted from 0."""
        self.clock.begin()
        with self.clock.of("loader: a batch for each step"):
            first, second = (self._batch(2 * number + step) for step in (0, 1))
        self._critics_step(first)
        self._autoencoder_step(second)
        with self.clock.of("average"):
            self.ema.update(seen=10**6, images=self.images)
        with self.clock.of("measurements"):
            self.meters.drain(lambda value: value)

    def _batch(self, step: int) -> Batch:
        return Batch(*(part.to(self.device) for part in self.stream[step]))

    def _critics_step(self, batch: Batch) -> None:
        without, seconds = self._backward_without_penalty(batch), self.clock.seconds
        with mock.patch.object(objectives, "gradient_norm", self.norm):
            self.critics.objective._made = self.made
            with self.clock.of("critics: scores"):
                loss, told = self.critics.objective(batch, self.noise)
            del self.critics.objective._made
        for inside in ("faces for the critics", "critics: penalty's gradient"):
            seconds["critics: scores"][-1] -= seconds[inside][-1]
        with self.clock.of("critics: backward"):
            loss.backward()
        seconds["critics: of it double backward"][-1] = seconds["critics: backward"][-1] - without
        with self.clock.of("critics: Adam"):
            _update(self.critics.optimiser)
        with self.clock.of("measurements"):
            self.meters.add(told)

    def _backward_without_penalty(self, batch: Batch) -> float:
        """Seconds of the critics' backward where the penalty is a constant."""
        ones = mock.Mock(side_effect=lambda _, at: torch.ones(len(at), device=at.device))
        with mock.patch.object(objectives, "gradient_norm", ones):
            loss, _ = self.critics.objective(batch, self.noise)
        start = now(self.device)
        loss.backward()
        seconds = (now(self.device) - start)[0]
        self.critics.optimiser.zero_grad(set_to_none=True)
        return seconds

    def _autoencoder_step(self, batch: Batch) -> None:
        with self.clock.of("autoencoder: forward"):
            loss, told = self.autoencoder.objective(batch, self.noise)
        with self.clock.of("autoencoder: backward"):
            loss.backward()
        with self.clock.of("autoencoder: Adam"):
            _update(self.autoencoder.optimiser)
        with self.clock.of("measurements"):
            self.meters.add(told)

    def snapshot(self, file: Path) -> float:
        """The seconds that a snapshot takes of a cycle."""
        start = now(self.device)
        save_snapshot(file, self.ema, self.config, 1.0, {})
        return (now(self.device) - start)[0] * self.images / (1000 * SNAPSHOT_KIMG)


def measure(options: Profile, folder: Path) -> dict[str, float]:
    """The seconds of each phase of the median cycle, after three that do not count."""
    clock = Clock(torch.device(options.device))
    cycle = Cycle(options, folder, clock)
    for number in range(options.cycles + 3):
        cycle.take(number)
    seconds = {phase: statistics.median(clock.seconds[phase][3:]) for phase in PHASES[:-1]}
    return seconds | {PHASES[-1]: cycle.snapshot(folder / "snapshot.safetensors")}


def _update(optimiser: torch.optim.Optimizer) -> None:
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def run(options: Profile) -> None:
    """Measures, prints and keeps the result."""
    torch.set_num_threads(options.threads)
    set_arithmetic(Hardware(), torch.device(options.device))
    keep_memory(options.device)
    about = {**vars(options), **machine(options.device)}
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(options, Path(folder))
    whole = sum(value for phase, value in seconds.items() if phase not in PARTS_OF_OTHERS)
    rows = [(phase, f"{1000 * value:.2f}", f"{value / whole:.1%}") for phase, value in seconds.items()]
    show("", ("phase", "ms per cycle", "share"), [*rows, ("a cycle", f"{1000 * whole:.2f}", "100%")])
    keep(
        RESULTS / "profile.jsonl",
        about,
        [{"what": phase, "seconds": each} for phase, each in seconds.items()],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("profile", Profile, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

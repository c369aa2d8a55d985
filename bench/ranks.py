"""One rank of several that train: what they talk, and what that costs; started by `bench/machinery.py`.

Blocks of steps are taken in turn: by one rank while the others wait ("alone"), by all without a word to
each other ("apart"), and by all as one run ("together"). Each rank works on equally many pictures in all
three. Alone against together is the weak scaling; alone against apart is what of it the cores and the
memory that ranks share are to blame for.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.commandline import options_of
from bench.overhead import Result, config_of, now, with_data
from fes.batch import Batch
from fes.clock import Clock
from fes.config import ClockConfig, Config
from fes.draws import Noise
from fes.errors import InputError
from fes.files import check_file
from fes.learning.dials import Dials
from fes.learning.players import bare_players
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.training import trainer
from fes.training.cast import build
from fes.training.supply import noise_for, stream_for

ENDLESS = ClockConfig(total_kimg=1e9, tick_kimg=1e9, snapshot_kimg=1e9, state_kimg=1e9)
KINDS = ("alone", "apart", "together")
CYCLES_WATCHED = 4


class Traffic(TorchDispatchMode):
    """Notes what this rank says to the others while it is active: the calls of each collective operation,
    and the sizes in bytes of what was all-reduced."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.all_reduced: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "c10d":
            name = function.overloadpacket.__name__.strip("_")
            self.calls[name] += 1
            if name == "allreduce":
                self.all_reduced += [each.nbytes for each in args[0]]
        return function(*args, **(kwargs or {}))


class Run:
    """A trainer that goes on by a block of steps at a time, and is its own hooks."""

    def __init__(
        self,
        config: Config,
        networks: Networks,
        players: Mapping[str, trainer.Player],
        dials: Dials,
        ema: Ema,
        batches: Iterator[Batch],
        noise_of: Callable[[int], Noise],
        mean: Callable[[Tensor], Tensor],
        asked: Callable[[int], bool],
    ) -> None:
        self.config, self.networks, self.players, self.dials = config, networks, players, dials
        self.batches, self.noise_of = batches, noise_of
        self._ema, self._mean, self._asked = ema, mean, asked
        self._step = self._end = 0

    def take(self, steps: int) -> None:
        """The next steps."""
        self._end = self._step + steps
        self._step = trainer.fit(
            self.config,
            lambda step: self.players,
            self.dials,
            self._ema,
            self.batches,
            self.noise_of,
            self,
            self._mean,
            self._step,
        )

    def stopping(self, step: int) -> bool:
        return self._asked(step) or step == self._end

    def tick(self, step: int, measurements: dict[str, float]) -> None: ...

    def snapshot(self, step: int) -> None: ...

    def state(self, step: int) -> None: ...


def together(config: Config, runtime: Runtime) -> Run:
    """This rank's part of a run of all of them."""
    config, mixture = with_data(config)
    networks = Networks(config.model, config.seed).to(runtime.device)
    _, ema, cast = build(config, networks, runtime)
    batches = runtime.placed(stream_for(config, mixture, runtime).batches(0))
    noise_of, mean, asked = noise_for(config, runtime), runtime.mean, runtime.stopping
    return Run(config, networks, cast.players, cast.dials, ema, batches, noise_of, mean, asked)


def alone(config: Config, runtime: Runtime) -> Run:
    """A run of one process, which knows of no other."""
    config, mixture = with_data(config)
    single = SimpleNamespace(rank=0, ranks=1, device=runtime.device, moved=runtime.moved)
    networks = Networks(config.model, config.seed).to(runtime.device)
    dials = Dials(config.loss)
    bare = bare_players(config, networks, dials)
    players = {name: Player(*each) for name, each in bare.items()}
    batches = runtime.placed(stream_for(config, mixture, single).batches(0))
    ema, noise_of = Ema(networks, config.ema_halflife_kimg), noise_for(config, single)
    mean, asked = (lambda value: value), (lambda step: False)
    return Run(config, networks, players, dials, ema, batches, noise_of, mean, asked)


def measure_traffic(run: Run, cycle: int) -> list[Result]:
    """What a step of each player says to other ranks, and a cycle of the trainer, with all else it does."""
    results, work = [], (next(run.batches), run.noise_of(0))
    bare = bare_players(run.config, run.networks)
    for name, (objective, _) in bare.items():
        with Traffic() as traffic:
            run.players[name].step(*work)
        own = sum(each.nbytes for each in objective.parameters() if each.requires_grad)
        results.append(_traffic(name, own, traffic, 1))
    with Traffic() as traffic:
        run.take(CYCLES_WATCHED * cycle)
    critics, autoencoder = (each["parameter_bytes"] for each in results)
    results.append(_traffic("cycle", critics * (cycle - 1) + autoencoder, traffic, CYCLES_WATCHED))
    return results


def _traffic(part: str, parameter_bytes: int, traffic: Traffic, times: int) -> Result:
    return {
        "what": "traffic",
        "part": part,
        "parameter_bytes": parameter_bytes,
        "all_reduced_bytes": sum(traffic.all_reduced) / times,
        "all_reduces": traffic.all_reduced if times == 1 else None,
        "calls": {name: count / times for name, count in traffic.calls.items()},
    }


@dataclass(frozen=True)
class Job:
    """What a rank is to measure; one thread each, on the CPU each on a core of its own."""

    data: Path
    """A folder of shards."""
    out: Path
    """The file for the results, written by the first rank."""
    rounds: int
    """How often each kind of block is taken."""
    cycles: int
    """How many cycles (critics, then autoencoder) a block has."""
    quick: bool = False
    """Train small networks."""


def measure_blocks(single: Run, common: Run, runtime: Runtime, job: Job, cycle: int) -> dict[str, np.ndarray]:
    """The seconds of each kind's blocks, float64 [rounds, 2] by the clock and of the processor: means over
    the ranks that worked. The first round, in which everything warms up, is left out."""
    steps, found = job.cycles * cycle, {kind: [] for kind in KINDS}
    for kind in (job.rounds + 1) * KINDS:
        runtime.wait()
        start = now(runtime.device)
        if kind == "together":
            common.take(steps)
        elif kind == "apart" or runtime.is_main:
            single.take(steps)
        taken = runtime.gathered((now(runtime.device) - start).tolist())
        found[kind].append(np.mean(taken[:1] if kind == "alone" else taken, axis=0))
    return {kind: np.stack(blocks[1:]) for kind, blocks in found.items()}


def weak_scaling(blocks: dict[str, np.ndarray], ranks: int, steps: int) -> list[Result]:
    """How many pictures a rank takes in a second, beside one that is alone: medians of neighbours in time."""
    results = []
    for kind in KINDS[1:]:
        ratios = blocks["alone"] / blocks[kind]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75), axis=0)
        results.append(
            {
                "what": "weak scaling",
                "part": kind,
                "ranks": ranks,
                "efficiency": middle[0],
                "quartiles": [low[0], high[0]],
                "cpu_efficiency": middle[1],
                "step_seconds": np.median(blocks[kind], axis=0)[0] / steps,
            }
        )
    return results


def measure(job: Job, runtime: Runtime) -> list[Result]:
    """The weak scaling, in which each rank has as much to do as one that is alone; then what ranks say."""
    config = replace(config_of(job.data, Path(), 0, job.quick), clock=ENDLESS)
    single = alone(config, runtime)
    common = together(replace(config, batch=config.batch * runtime.ranks), runtime)
    cycle = Clock.of(config).cycle
    blocks = measure_blocks(single, common, runtime, job, cycle)
    return weak_scaling(blocks, runtime.ranks, job.cycles * cycle) + measure_traffic(common, cycle)


def run(job: Job) -> None:
    """Measures as one of the ranks that a launcher has started."""
    runtime = Runtime()
    torch.set_num_threads(1)
    with runtime.watched("bench.ranks"):
        results = measure(job, runtime)
    if runtime.is_main:
        job.out.write_text(json.dumps(results))
    runtime.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line, for a launcher."""
    with options_of("ranks", Job, arguments) as job:
        if "LOCAL_RANK" not in os.environ:
            raise InputError("this is one rank of several: `python -m bench.machinery` starts them")
        check_file("--out", job.out)
        if not torch.cuda.is_available() or "ACCELERATE_USE_CPU" in os.environ:
            own = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {own[int(os.environ["LOCAL_RANK"]) % len(own)]})
        run(job)


if __name__ == "__main__":
    main()

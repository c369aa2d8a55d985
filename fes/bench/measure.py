"""The trainer, its step and its loader, each alone, on drawn faces of one resolution."""

import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fes.batch import Batch
from fes.bench.peak import synchronise
from fes.clock import Clock
from fes.config import Config
from fes.data.mixture import Mixture
from fes.draws import Noise
from fes.learning.players import bare_players
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.arguments import resolve
from fes.training.cast import build
from fes.training.supply import noise_for, stream_for
from fes.training.trainer import fit
from shards.build.writer import BuildOptions
from shards.build.writer import build as build_shards
from shards.sources.drawn import DrawnOptions, draw

_PEOPLE = 64
"""Drawn faces are seven times as many: enough that a loader does not read one batch again and again."""
_WARM = 3
"""Cycles (the critics' steps and the autoencoder's) that do not count."""


class _Watch:
    """Hooks that end the loop once so many seconds have passed since the cycles that do not count."""

    def __init__(self, cycle: int, seconds: float, device: torch.device) -> None:
        self.cycle, self.seconds, self.device = cycle, seconds, device
        self.steps, self._first, self._since = 0, 0, 0.0
        self.taken = 0.0

    def stopping(self, step: int) -> bool:
        if step % self.cycle:
            return False
        synchronise(self.device)
        now = time.perf_counter()
        if step <= _WARM * self.cycle:
            self._first, self._since = step, now
            return False
        self.steps, self.taken = step - self._first, now - self._since
        return self.taken >= self.seconds

    def tick(self, step: int, measurements: dict[str, float]) -> None: ...

    def snapshot(self, step: int) -> None: ...

    def lost(self, step: int) -> None: ...

    def state(self, step: int) -> None: ...


class _Operations(TorchDispatchMode):
    """Counts what products and convolutions take, forward and backward: torch's own counter follows modules,
    and cannot where a gradient is taken inside of a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, call: Any, kinds: Any, positional: tuple = (), named: dict | None = None
    ) -> Any:
        made = call(*positional, **(named or {}))
        count = flop_registry.get(call._overloadpacket)
        self.total += count(*positional, **(named or {}), out_val=made) if count else 0
        return made


def measure(config: Config, runtime: Runtime, seconds: float) -> dict[str, float]:
    """What there is to tell of a resolution.

    Args:
        config: with the resolution and the channels of `model`; its `data` and `run` are not used.
        seconds: that each part is measured for.

    Returns:
        `images_per_second` of the trainer, `step_images_per_second`, `loader_images_per_second`,
        `seconds_per_kimg`, `flops_per_image`, `flops_per_second` and `peak_gib`.
    """
    with tempfile.TemporaryDirectory() as folder:
        _draw_faces(Path(folder) / "data", config)
        config = replace(config, data=f"{folder}/data", run=Path(folder) / "run")
        mixture = Mixture.load(config.data, config.stream)
        config = resolve(config, mixture)
        return _measured(config, mixture, runtime, seconds)


def _draw_faces(folder: Path, config: Config) -> None:
    shape = {"resolution": config.model.resolution, "channels": config.model.channels}
    build_shards(draw(DrawnOptions(_PEOPLE, 0, 0, **shape)), folder, BuildOptions(workers=1))


def _measured(config: Config, mixture: Mixture, runtime: Runtime, seconds: float) -> dict[str, float]:
    device, cycle = runtime.device, Clock.of(config).cycle
    stream, noise = stream_for(config, mixture, runtime), noise_for(config, runtime)
    first = next(runtime.placed(iter([stream[0]])))
    networks = Networks(config.model, config.seed).to(device)
    operations = _operations(config, networks, first, noise(0))
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    _, ema, cast = build(config, networks, runtime)

    def rate_of(batches: Iterator[Batch]) -> float:
        watch = _Watch(cycle, seconds, device)
        fit(config, cast, cast.dials, ema, batches, noise, watch, runtime.mean)
        return watch.steps * config.batch / watch.taken

    step = rate_of(itertools.repeat(first))
    readers = runtime.readers(config.stream.workers)
    batches = runtime.placed(stream.batches(0, readers, config.stream.patience))
    found = {
        "images_per_second": rate_of(batches),
        "step_images_per_second": step,
        "loader_images_per_second": _loading(stream.__getitem__, config.batch, seconds),
        "flops_per_image": operations,
        "peak_gib": _peak_gib(device),
    }
    found["seconds_per_kimg"] = 1000 / found["images_per_second"]
    return found | {"flops_per_second": found["flops_per_image"] * found["images_per_second"]}


def _operations(config: Config, networks: Networks, batch: Batch, noise: Noise) -> float:
    """Floating point operations for each picture of each step; a multiplication and an addition count as two.
    They are those of bare players: what is replayed is not called operation by operation."""
    cycle, total = Clock.of(config).cycle, 0
    batch, noise = Batch(*(part[:1] for part in batch)), Noise(*(part[:1] for part in noise))
    for name, (objective, optimiser) in bare_players(config, networks).items():
        with _Operations() as counted:
            objective(batch, noise)[0].backward()
        optimiser.zero_grad()
        total += counted.total * (1 if name == "autoencoder" else cycle - 1)
    return total / cycle


def _loading(load: Callable[[int], Batch], batch: int, seconds: float) -> float:
    """Pictures per second of one reader that does nothing else."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds / 2:
        load(count)
        count += 1
    return count * batch / (time.perf_counter() - start)


def _peak_gib(device: torch.device) -> float:
    """The most memory that tensors took on a GPU since it was reset; on a CPU, all of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30

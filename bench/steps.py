"""A step of each player alone: its seconds by the size of the batch, and when its gradients are ready."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from bench.overhead import Result, bare_step, in_memory, now, with_data
from fes.batch import Batch
from fes.config import Config
from fes.draws import Noise
from fes.learning.players import BarePlayer, bare_players
from fes.model.networks import Networks
from fes.runtime.processes import Runtime

Work = tuple[Batch, Noise]


def measure_steps(config: Config, runtime: Runtime, batches: Sequence[int], repeats: int) -> list[Result]:
    """The seconds of a bare step of each player at several sizes of the batch: medians, measured in turn."""
    steps: dict[tuple[str, int], Callable[[], None]] = {}
    for batch in batches:
        for name, (player, work) in _players(config, runtime, batch).items():
            steps[name, batch] = partial(bare_step, player, *work)
    taken: dict[tuple[str, int], list[float]] = {each: [] for each in steps}
    for _ in range(repeats + 1):
        for each, step in steps.items():
            start = now(runtime.device)
            step()
            taken[each].append(float((now(runtime.device) - start)[0]))
    return [
        {"what": "step", "player": player, "batch": batch, "seconds": statistics.median(seconds[1:])}
        for (player, batch), seconds in taken.items()
    ]


def measure_readiness(config: Config, runtime: Runtime, batch: int, repeats: int) -> list[Result]:
    """When a step's gradients are ready: bytes, and the share of forward and backward until then; medians."""
    results: list[Result] = []
    for name, (player, work) in _players(config, runtime, batch).items():
        runs = [ready(player, work, runtime.device) for _ in range(repeats + 1)][1:]
        shares = [statistics.median(run[at][1] for run in runs) for at in range(len(runs[0]))]
        gradients = [[size, share] for (size, _), share in zip(runs[0], shares, strict=True)]
        results.append({"what": "readiness", "player": name, "batch": batch, "gradients": gradients})
    return results


def ready(player: BarePlayer, work: Work, device: torch.device) -> list[tuple[int, float]]:
    """The bytes that are ready so far, and the share of forward and backward until then, of one step."""
    objective, optimiser = player
    marks: list[tuple[int, Moment]] = []

    def mark(parameter: Tensor) -> None:
        marks.append((parameter.nbytes, Moment(device)))

    learning = [each for each in objective.parameters() if each.requires_grad]
    hooks = [each.register_post_accumulate_grad_hook(mark) for each in learning]
    start = Moment(device)
    objective(*work)[0].backward()
    end = Moment(device)
    for hook in hooks:
        hook.remove()
    optimiser.zero_grad(set_to_none=True)
    whole = start.until(end)
    sizes = accumulate(size for size, _ in marks)
    return [(size, start.until(moment) / whole) for size, (_, moment) in zip(sizes, marks, strict=True)]


class Moment:
    """When a device has done all that it was told so far."""

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        if self._event:
            self._event.record()
        self._clock = time.perf_counter()

    def until(self, later: "Moment") -> float:
        """Seconds."""
        if self._event is None or later._event is None:
            return later._clock - self._clock
        later._event.synchronize()
        return self._event.elapsed_time(later._event) / 1000


def _players(config: Config, runtime: Runtime, batch: int) -> dict[str, tuple[BarePlayer, Work]]:
    config, mixture = with_data(replace(config, batch=batch, critic_steps=1))
    cycle = in_memory(config, mixture, runtime)
    both = bare_players(config, Networks(config.model, config.seed).to(runtime.device))
    return {name: (player, work) for (name, player), work in zip(both.items(), cycle, strict=True)}

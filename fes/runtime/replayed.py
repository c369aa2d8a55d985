"""A player on one GPU whose steps are recorded once, as CUDA graphs, and then replayed.

A step of a small batch is a thousand kernels of some microseconds each, and a CPU takes longer to launch them
than the GPU to run them. Replayed, they are launched as one.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fes.batch import Batch
from fes.draws import Noise
from fes.learning.objectives import Measurements
from fes.runtime.player import Player

_REHEARSALS = 2
"""Passes that are thrown away before one is recorded: libraries choose their algorithms there."""

_LIVING: "weakref.WeakSet[torch.cuda.CUDAGraph]" = weakref.WeakSet()
"""The graphs of all players. They work in the same memory, in turn: the largest step decides how much it is,
not the sum of all. Nothing but what was measured outlives a replay, and that is copied before the next."""


class Recording(NamedTuple):
    """A step as a graph: where it reads its work from, and where it leaves what it measured."""

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    names: Sequence[str]
    measured: Tensor

    def replay(self, batch: Batch, noise: Noise) -> Measurements:
        """The step with other work."""
        for place, part in zip(self.inputs, (*batch, *noise), strict=True):
            place.copy_(part, non_blocking=True)
        self.graph.replay()
        return dict(zip(self.names, self.measured.clone().unbind(), strict=True))


class ReplayedPlayer(Player):
    """A `Player` of one process, in float32 or bf16, whose objective asks Python for nothing that changes.

    Its first step is an ordinary one, which makes the optimiser's state; what is asked for the first time
    after it is recorded.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for group in self.optimiser.param_groups:
            group["capturable"] = True  # Adam then counts its steps on the GPU
        self._ready = False
        self._recordings: dict[tuple[tuple[str, bool], ...], Recording] = {}

    def step(self, batch: Batch, noise: Noise, **asked: bool) -> Measurements:
        """As `Player.step`."""
        if not self._ready:
            self._ready = True
            return super().step(batch, noise, **asked)
        key = tuple(sorted(asked.items()))
        if key not in self._recordings:
            self._recordings[key] = self._record(batch, noise, **asked)
        return self._recordings[key].replay(batch, noise)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Player.load_state_dict`. What was recorded reads and writes the state of before, and goes."""
        super().load_state_dict(state)
        for each in self.optimiser.state.values():
            each["step"] = each["step"].to(self._device)  # on the CPU where the run was not replayed
        self._ready, self._recordings = False, {}

    def _record(self, batch: Batch, noise: Noise, **asked: bool) -> Recording:
        batch, noise = Batch(*(part.clone() for part in batch)), Noise(*(part.clone() for part in noise))
        self._rehearse(batch, noise, **asked)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=next((each.pool() for each in _LIVING), None)):
            measured = super().step(batch, noise, **asked)
            values = torch.stack([value.float() for value in measured.values()])
        _LIVING.add(graph)
        return Recording(graph, (*batch, *noise), tuple(measured), values)

    def _rehearse(self, batch: Batch, noise: Noise, **asked: bool) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_REHEARSALS):
                self._backward(batch, noise, **asked)
                self.optimiser.zero_grad(set_to_none=True)
        torch.cuda.current_stream().wait_stream(aside)

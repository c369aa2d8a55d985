"""What memory a step will take, found by taking it with tensors that have shapes and no contents.

Every tensor that the step makes is counted from when it is made until nothing holds it: weights, Adam's
state, activations, and the graph of the penalty. What libraries take for themselves is not counted: a little
is allowed for the workspaces of convolutions, and the context of a GPU (about 0.5 GiB) comes on top.
"""

import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fes.batch import Batch
from fes.blocks import coarsest, resolved
from fes.config import Config, Stage
from fes.draws import noise
from fes.guide import Guide
from fes.hardware import Precision
from fes.judge import new_judge
from fes.networks import Networks
from fes.players import bare_players
from fes.runtime.player import Player
from fes.stages import staged
from fes.validity import guided

GIB = 2**30
_ADAMS = 2
"""Numbers that Adam keeps for each weight."""
WORKSPACES = 0.08 * GIB
"""Bytes for convolutions beside the tensors: on an H100 they took 0.06 to 0.14 GiB (bench/memory.py)."""
TRIALS = 0.6 * GIB
"""Bytes that cuDNN takes besides, where they are free, while it tries algorithms in the first steps: up to
0.57 GiB on an H100. Steps that need the room get it."""
_USABLE = 0.9
"""Share of a GPU's memory that tensors can be said to fit into: its allocator held up to 10 % more than it
gave there, and filled to the last byte few networks still ran."""
_PROBES = 4, 8
"""Pictures at once that a larger number is extrapolated from."""


class Memory(NamedTuple):
    """Bytes that the tensors of one process take."""

    kept: int
    """From step to step: weights, their average, Adam's state, the guide."""
    peak: int
    """At the most in a step, `kept` included."""


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside and still held: `now`, and the most, `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(
        self, call: Any, kinds: Any, positional: tuple = (), named: dict | None = None
    ) -> Any:
        made = call(*positional, **(named or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._note(each.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._held:  # another view of what is there already
            return
        self._held.add(place)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._held.discard(place)
        self.now -= size


def memory_of(config: Config, pictures: int, precision: Precision = "no") -> Memory:
    """What a process takes that works on so many pictures at once, by a step of each player.

    Args:
        config: with the resolution and the channels of the pictures.
        precision: "no", or a half precision, of which the bytes are the same.
    """
    config = _guided(config)
    guide = _guide(config)
    with FakeTensorMode(allow_non_fake_inputs=True), Live() as live:
        return measured(live, config, pictures, "no" if precision == "no" else "bf16", guide)


def _guided(config: Config) -> Config:
    """The config of a stage in which the guide pulls, where one does: it takes more than others."""
    if config.loss.guide_weight or not guided(config):
        return config
    stages: tuple[Stage, ...] = ("closing", "opening", "gan")
    return staged(config, next(name for name in stages if getattr(config.stages, name).guide_weight))


def _guide(config: Config) -> Guide | None:
    """One of the usual kind, where the run has any."""
    if not config.loss.guide_weight:
        return None
    resolution, channels = resolved(config.model)
    return Guide(new_judge("residual", coarsest(resolution) * 16, channels, seed=0), noise=0.5)


def measured(live: Live, config: Config, pictures: int, precision: Precision, guide: Guide | None) -> Memory:
    """As `memory_of`, with tensors of whatever kind are made here; the guide was made before."""
    resolution, channels = resolved(config.model)
    networks = Networks(config.model, config.seed)
    averaged = [*networks.encoder.parameters(), *networks.generator.parameters()]
    guides = [*guide.judge.state_dict().values(), guide.grains] if guide else []
    live.now += sum(each.nbytes for each in (*averaged, *guides))
    players, adams = [], 0
    for objective, adam in bare_players(config, networks, guide=guide).values():
        learning = adam.param_groups[0]["params"]
        adams += sum(_ADAMS * each.nbytes for each in learning)
        # What the weights become does not matter; Adam's own state is counted, and was there before the step.
        players.append(Player(objective, torch.optim.SGD(learning, lr=0.0), precision=precision))
    image = torch.zeros(pictures, channels, resolution, resolution, dtype=torch.uint8)
    label = torch.zeros(pictures, dtype=torch.int64)
    work = Batch(image, label, image.clone(), label.clone()), noise(0, 0, pictures, config.model.latent_dim)
    live.now += adams
    kept = live.peak = live.now
    for player in players:
        player.step(*work)
    return Memory(kept, live.peak)


def _line(config: Config, precision: Precision) -> tuple[Memory, float]:
    """What few pictures take, and what each one more does: that is constant."""
    few, more = (memory_of(config, count, precision) for count in _PROBES)
    return few, (more.peak - few.peak) / (_PROBES[1] - _PROBES[0])


def room_for(config: Config, limit: float, precision: Precision = "no") -> int:
    """How many pictures at once a process can work on in so many bytes."""
    return _fitting(*_line(config, precision), limit)


def _fitting(few: Memory, each: float, limit: float) -> int:
    return max(0, int(_PROBES[0] + (_USABLE * limit - few.peak - WORKSPACES) / each))


def describe_memory(config: Config, pictures: int, precision: Precision, limit: float, of: str) -> str:
    """One line for people: what a process takes, and what fits into `limit` bytes, those `of` a GPU."""
    few, each = _line(config, precision)
    peak = few.peak + each * (pictures - _PROBES[0]) + WORKSPACES
    return (
        f"GPU memory of a process, its context aside: about {peak / GIB:.2f} GiB with {pictures} pictures at "
        f"once, {few.kept / GIB:.2f} of it for weights and optimisers (while cuDNN tries algorithms in the "
        f"first steps, up to {TRIALS / GIB:.1f} GiB more, where it is free); {of} has room for about "
        f"{_fitting(few, each, limit):,} (--micro-batch)"
    )

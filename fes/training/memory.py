"""What memory a step will take, found by taking it with tensors that have shapes and no contents.

Every tensor that the step makes is counted from when it is made until nothing holds it: weights, Adam's
state, activations, and the graph of the penalty. What libraries take for themselves is not counted: a little
is allowed for the workspaces of convolutions, and the context of a GPU (about 0.5 GiB) comes on top.
"""

import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fes.batch import Batch
from fes.config import Config, Stage
from fes.config.validity import guided
from fes.draws import noise
from fes.hardware import Precision
from fes.judge import new_judge
from fes.learning.guide import Guide
from fes.learning.players import bare_players
from fes.learning.stages import staged
from fes.model.blocks import coarsest, resolved
from fes.model.networks import Networks
from fes.runtime.player import Player

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

    weights: int
    average: int
    optimisers: int
    """Adam's two numbers for each weight."""
    guide: int
    batch: int
    critics: int
    """Most that a step of the critics takes besides: activations, the penalty's graph, gradients."""
    autoencoder: int
    """Most that one of the autoencoder takes besides."""

    @property
    def kept(self) -> int:
        """From step to step."""
        return self.weights + self.average + self.optimisers + self.guide + self.batch

    @property
    def peak(self) -> int:
        """At the most in a step, `kept` included."""
        return self.kept + max(self.critics, self.autoencoder)

    def extrapolated(self, more: "Memory", pictures: int) -> "Memory":
        """What so many pictures take, where this is what the first of `_PROBES` takes, and `more` the second:
        what each one adds is constant."""
        few, many = _PROBES
        times = (pictures - few) / (many - few)
        return Memory(*(round(one + times * (other - one)) for one, other in zip(self, more, strict=True)))


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
        precision: "no", or a half precision, of which the bytes are the same. They are counted by the rules
            of a CPU's autocast; a GPU's, which leaves norms in float32, takes up to 7 % more.
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
    weights = live.now
    averaged = [*networks.encoder.parameters(), *networks.generator.parameters()]
    guides = [*guide.judge.state_dict().values(), guide.grains] if guide else []
    bare = bare_players(config, networks, guide=guide).values()
    learning = [adam.param_groups[0]["params"] for _, adam in bare]
    image = torch.zeros(pictures, channels, resolution, resolution, dtype=torch.uint8)
    label = torch.zeros(pictures, dtype=torch.int64)
    work = Batch(image, label, image.clone(), label.clone()), noise(0, 0, pictures, config.model.latent_dim)
    kept = weights, _bytes(averaged), _ADAMS * sum(map(_bytes, learning)), _bytes(guides), live.now - weights
    taken = []
    for (objective, _), own in zip(bare, learning, strict=True):
        before = live.peak = live.now
        # What the weights become does not matter; Adam's own state is counted, and was there before the step.
        Player(objective, torch.optim.SGD(own, lr=0.0), precision=precision).step(*work)
        taken.append(live.peak - before)
    return Memory(*kept, *taken)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.nbytes for each in tensors)


def _probed(config: Config, precision: Precision) -> tuple[Memory, Memory]:
    few, more = (memory_of(config, count, precision) for count in _PROBES)
    return few, more


def room_for(config: Config, limit: float, precision: Precision = "no") -> int:
    """How many pictures at once a process can work on in so many bytes."""
    return _fitting(*_probed(config, precision), limit)


def _fitting(few: Memory, more: Memory, limit: float) -> int:
    each = (more.peak - few.peak) / (_PROBES[1] - _PROBES[0])
    return max(0, int(_PROBES[0] + (_USABLE * limit - few.peak - WORKSPACES) / each))


def describe_memory(config: Config, pictures: int, precision: Precision, limit: float, of: str) -> str:
    """One line for people: what a process takes, and what fits into `limit` bytes, those `of` a GPU."""
    few, more = _probed(config, precision)
    found = few.extrapolated(more, pictures)
    kept = {"weights": found.weights, "their average": found.average, "Adam": found.optimisers}
    kept |= {"the guide": found.guide} if found.guide else {}
    parts = ", ".join(f"{name} {_gib(taken)}" for name, taken in kept.items())
    steps = f"{_gib(found.critics)}, or one of the autoencoder {_gib(found.autoencoder)}"
    return (
        f"GPU memory of a process, its context aside: about {(found.peak + WORKSPACES) / GIB:.2f} GiB with "
        f"{pictures} pictures at once ({parts}; a step of the critics, penalty's graph included, {steps}; "
        f"workspaces {_gib(WORKSPACES)}), and while cuDNN tries algorithms in the first steps up to "
        f"{_gib(TRIALS)} GiB more, where it is free; {of} has room for about {_fitting(few, more, limit):,} "
        "(--micro-batch)"
    )


def _gib(count: float) -> str:
    return f"{count / GIB:.2g}"

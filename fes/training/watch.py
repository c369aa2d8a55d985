"""What the live run is watched for: measurements that no healthy run gives, and ranks that drift apart.

The bounds come from runs. Gradient norms are 1.2 to 1.5 at the first step, at any resolution, and stay
between 0.4 and 3 in healthy ones; a critic is seldom worse than one that is 0 everywhere, whose objective is
the penalty weight. At ten or twenty times the default rate norms shoot up to 60 (1,000 to 10,000 penalty
weights) for some steps and come back; a critic whose penalty has no effect goes the same way, and on. At a
rate of 1 norms are beyond 10,000 from the first tick. The image critic's gap is above 0 in healthy runs, but
for some kimg at the beginning; where it stayed below, faces became caricatures.
"""

import hashlib
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fes.config import Config
from fes.errors import InputError
from fes.learning.stages import stage_before, staged

TICKS = 3
"""What may be chance in one tick is none in so many, one after the other."""
EXPLODED = 1e3
"""Penalty weights by which a critic is worse than one that is 0 everywhere; weights below 1 count as 1."""
LOST = 1e9
"""From so many no critic comes back."""
DEAD = 0.01
"""A gradient norm and a gap below this are those of a critic that tells nothing apart."""
BEHIND_KIMG = 20.0
"""For so long an image critic may take synthesised faces for better than real ones."""

STAND = "nothing was saved here, the states before stand"
"""How each sentence ends."""


@dataclass(frozen=True)
class _Seen:
    """What one tick tells of one critic."""

    norm: float
    penalty: float
    gap: float


class Watch:
    """Judges the measurements of each tick, which are equal on all ranks."""

    def __init__(self, config: Config) -> None:
        self._config, self._weight = config, config.loss.penalty_weight
        self._one_sided = config.loss.adversary == "wgan-gp-one-sided"
        self._seen = {critic: deque[_Seen](maxlen=TICKS) for critic in ("image", "latent")}
        self._behind: tuple[float, int] | None = None
        """Since when the image critic is behind, in kimg, and for how many ticks."""
        self._warned = False

    def fault(self, kimg: float, measurements: Mapping[str, float]) -> InputError | None:
        """What ends the run after a tick, in one sentence; None for a healthy one.

        Args:
            measurements: means since the last tick; those of a player that had no turn may be missing.
        """
        slower = self._slower(kimg)
        told = _not_finite(measurements, slower)
        for critic, seen in self._seen.items():
            names = [f"critic/{critic}_{name}" for name in ("gradient_norm", "penalty", "gap")]
            if all(name in measurements for name in names):
                seen.append(_Seen(*(measurements[name] for name in names)))
                told = told or self._of_critic(critic, tuple(seen), slower)
        return InputError(f"at {kimg:.3f} kimg {told}; {STAND}") if told else None

    def warning(self, kimg: float, measurements: Mapping[str, float]) -> str | None:
        """What to tell the user, once, of a run that goes on and is not well; None otherwise."""
        gap = measurements.get("critic/image_gap")
        if gap is not None:
            since, ticks = self._behind or (kimg, 0)
            self._behind = (since, ticks + 1) if gap < 0 else None
        since, ticks = self._behind or (kimg, 0)
        if self._warned or ticks < TICKS or kimg - since < BEHIND_KIMG:
            return None
        self._warned = True
        return (
            f"since {since:g} kimg the image critic takes synthesised faces for better than real "
            "ones (critic/image_gap below 0): the autoencoder outruns it, and faces become caricatures; take "
            "narrower networks, as recipes/fer2013.yaml has them"
        )

    def _of_critic(self, critic: str, seen: tuple[_Seen, ...], slower: str) -> str | None:
        newest, lasting = seen[-1], len(seen) == TICKS
        figures = f"gradient norm {newest.norm:.4g}, penalty {newest.penalty:.4g}, gap {newest.gap:.4g}"
        if newest.norm == newest.gap == 0 or (lasting and all(map(_is_dead, seen))):
            return f"the {critic} critic is dead ({figures}) and tells nothing apart; {slower}"
        if self._weight == 0:
            return None
        # A one-sided penalty is 0 for any image critic that is flat enough.
        moving = ("norm",) if critic == "image" and self._one_sided else ("norm", "penalty")
        if newest.norm == 0 or (lasting and any(_is_constant(seen, name) for name in moving)):
            return (
                f"the {critic} critic's penalty is off: not a bit of its figures moves ({figures}), which no "
                "setting brings about; look at what was changed in fes/learning or fes/model"
            )
        excess = [self._excess(each) for each in seen]
        if excess[-1] > LOST or (lasting and min(excess) > EXPLODED):
            return f"the {critic} critic's penalty explodes ({figures}; 1 is a good norm); {slower}"
        return None

    def _excess(self, seen: _Seen) -> float:
        """How much worse a critic is than one that is 0 everywhere, in penalty weights."""
        return (self._weight * seen.penalty - seen.gap) / max(self._weight, 1.0) - 1.0

    def _slower(self, kimg: float) -> str:
        """What to do about critics whose steps are too long: of the stage's own rate where it has one."""
        stage = stage_before(self._config, kimg)
        own = stage != "joint" and getattr(self._config.stages, stage).critic_rate is not None
        name = f"stages.{stage}.critic-rate" if own else "optimiser.critic-rate"
        rate = staged(self._config, stage).optimiser.critic_rate
        return f"take --{name} lower than {rate:g}, with --allow-change {name} where the run goes on"


def _not_finite(measurements: Mapping[str, float], slower: str) -> str | None:
    names = [name for name, value in measurements.items() if not math.isfinite(value)]
    more = f" and {len(names) - 1} more" if names[1:] else ""
    return f"the run diverges: {names[0]}{more} not finite; {slower}" if names else None


def _is_dead(seen: _Seen) -> bool:
    return seen.norm < DEAD and abs(seen.gap) < DEAD


def _is_constant(seen: Sequence[_Seen], name: str) -> bool:
    return len({getattr(each, name) for each in seen}) == 1


@dataclass(frozen=True)
class Held:
    """What a rank holds that all ranks should hold alike."""

    machine: str
    """Where the rank runs."""
    digests: Mapping[str, str]
    """A hash of each part, by name."""
    not_finite: tuple[str, ...] = ()
    """Names of weights that are not finite."""


def hold(machine: str, weights: Mapping[str, torch.nn.Module], others: Mapping[str, Any]) -> Held:
    """What this rank holds: modules, and what else it keeps of tensors, numbers and words, nested."""
    tensors = {name: module.state_dict() for name, module in weights.items()}
    digests = {name: digest(value) for name, value in {**tensors, **others}.items()}
    broken = (
        f"{part}.{name}"
        for part, own in tensors.items()
        for name, tensor in own.items()
        if not torch.isfinite(tensor).all()
    )
    return Held(machine, digests, tuple(broken))


def digest(value: object) -> str:
    """A hash of tensors, to the bit and on any device, of numbers and words, nested in dicts and lists."""
    told = hashlib.blake2b(digest_size=16)
    _feed(told, value)
    return told.hexdigest()


def _feed(told: "hashlib._Hash", value: object) -> None:
    if isinstance(value, torch.Tensor):
        told.update(f"{value.dtype}{list(value.shape)}".encode())
        told.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        for name, each in value.items():
            told.update(f"{name!r}:".encode())
            _feed(told, each)
    elif isinstance(value, list | tuple):
        told.update(f"{len(value)};".encode())
        for each in value:
            _feed(told, each)
    else:
        told.update(f"{value!r};".encode())


def unlike(kimg: float, held: Sequence[Held]) -> InputError | None:
    """What ends the run where weights are not finite, or ranks hold others; None where all is well.

    Args:
        held: what each rank holds, by rank.
    """
    broken = next((each.not_finite for each in held if each.not_finite), ())
    if broken:
        more = f" and {len(broken) - 1} more" if broken[1:] else ""
        return InputError(f"at {kimg:.3f} kimg the weights {broken[0]}{more} are not finite; {STAND}")
    odd, others = odd_ranks([each.digests for each in held])
    if not odd:
        return None
    parts = [name for name in held[0].digests if len({each.digests[name] for each in held}) > 1]
    return InputError(
        f"at {kimg:.3f} kimg {_ranks(odd, held)} no longer hold{'s' * (len(odd) == 1)} the same "
        f"{', '.join(parts)}{' as the others' if others else ''}, to the bit: a fault of memory, or machines "
        f"that are not alike in GPU, driver or versions; {STAND}, and the same command goes on from them; if "
        "it comes again, leave that machine out"
    )


def odd_ranks(digests: Sequence[Mapping[str, str]]) -> tuple[list[int], bool]:
    """Ranks whose digests are not those of the majority, and whether there is a majority; else all ranks."""
    every = [tuple(each.items()) for each in digests]
    most, count = Counter(every).most_common(1)[0]
    majority = 2 * count > len(every)
    return [rank for rank, one in enumerate(every) if one != most or not majority], majority


def _ranks(ranks: Sequence[int], held: Sequence[Held]) -> str:
    shown = [f"{rank} ({held[rank].machine})" for rank in ranks[:8]]
    more = [f"{len(ranks) - 8} more"] if len(ranks) > 8 else []
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(shown + more)}"

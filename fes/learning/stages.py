"""The stages of a run: which terms a step trains, with which weights and rates; how new blocks fade in."""

import dataclasses
import math
from collections.abc import Iterator

from fes.clock import Clock
from fes.config import Config, Stage


def stage_at(config: Config, step: int) -> Stage:
    """The stage that a step belongs to. Stages begin with a turn of the critics."""
    clock = Clock.of(config)
    began = clock.kimg(step - step % clock.cycle)
    return next(name for name, end in _ends(config) if began < end)


def stage_before(config: Config, kimg: float) -> Stage:
    """The stage of the step that a moment ends."""
    return next(name for name, end in _ends(config) if kimg <= end)


def _ends(config: Config) -> Iterator[tuple[Stage, float]]:
    """The stages in their order, and the kimg that each lasts to."""
    end, stages = 0.0, config.stages
    first: dict[Stage, float] = {
        "autoencoder": stages.autoencoder.kimg,
        "gan": stages.gan.kimg,
        "opening": stages.opening.kimg,
    }
    for name, length in first.items():
        end += length
        yield name, end
    yield "joint", math.inf if stages.closing.from_kimg is None else stages.closing.from_kimg
    yield "closing", math.inf


def share_of_new_blocks(config: Config, step: int) -> float:
    """How far the blocks of a network that grew have faded in before a step, from 0 to 1."""
    clock = Clock.of(config)
    return min(1.0, clock.kimg(step - step % clock.cycle) / config.grow_kimg)


def staged(config: Config, stage: Stage) -> Config:
    """The config with the weights and rates of a stage."""
    if stage == "joint":
        return config
    own = {name: value for name, value in vars(getattr(config.stages, stage)).items() if value is not None}
    return dataclasses.replace(config, loss=_with(config.loss, own), optimiser=_with(config.optimiser, own))


def _with(section: object, values: dict[str, float]) -> object:
    """A section of the config, with those of the values that it has."""
    return dataclasses.replace(
        section, **{name: values[name] for name in vars(section).keys() & values.keys()}
    )

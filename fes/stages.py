"""The stages of a run: which terms a step trains, with which weights and rates; how new blocks fade in."""

import dataclasses

from fes.clock import Clock
from fes.config import Config, Stage


def stage_at(config: Config, step: int) -> Stage:
    """The stage that a step belongs to. Stages begin with a turn of the critics."""
    clock = Clock.of(config)
    began = clock.kimg(step - step % clock.cycle)
    end = 0.0
    for name, stage in vars(config.stages).items():
        end += stage.kimg
        if began < end:
            return name
    return "joint"


def stage_before(config: Config, kimg: float) -> Stage:
    """The stage of the step that a moment ends."""
    end = 0.0
    for name, stage in vars(config.stages).items():
        end += stage.kimg
        if kimg <= end:
            return name
    return "joint"


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

"""Which settings make sense, and which a run may change when it goes on."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter

from fes.commandline.advice import half_of_a_guide
from fes.config import Config, LossConfig, OptimiserConfig, StagesConfig
from fes.errors import InputError

_OF_THE_HEAD = "expression_weight"
BASES = 48, 64
"""The networks can be built for pictures of these many pixels a side, doubled any number of times."""


def changeable() -> list[str]:
    """Settings, as `loss.image_weight`, that a run may change on purpose when it goes on.

    Those of the loss, of the optimiser and of the average, and what stages have in their place. Of the
    others, some decide which samples and draws a step sees, or what the networks look like: with those
    changed it is another run.
    """
    sections = {"loss": LossConfig, "optimiser": OptimiserConfig}
    names = [f"{name}.{each.name}" for name, kind in sections.items() for each in fields(kind)]
    stages = [f"stages.{stage}.{name}" for stage, own in vars(StagesConfig()).items() for name in vars(own)]
    return [
        *names,
        *(each for each in stages if not each.endswith((".kimg", _OF_THE_HEAD))),
        "ema_halflife_kimg",
    ]


def may_change(name: str, then: object, now: object) -> bool:
    """Whether a run may go on with another value of a setting: the optimiser knows what learns, so the head
    that tells expressions cannot begin or cease to."""
    return name in changeable() and not (name == f"loss.{_OF_THE_HEAD}" and bool(then) != bool(now))


def check_changes(names: Sequence[str]) -> None:
    """Raises `InputError` for a setting, as `loss.image_weight`, that is none of the changeable ones."""
    for name in names:
        if name not in changeable():
            raise InputError(
                f"--allow-change {_spelt(name)}: no setting of this name may change; {_meant(name)}"
            )


def changes_told() -> str:
    """What may be named after `--allow-change`, for people."""
    own = [_spelt(name) for name in changeable() if not name.startswith("stages.")]
    return f"these may: {', '.join(own)}, and what stages have in their place, as stages.opening.image-weight"


def _meant(name: str) -> str:
    """The changeable setting whose last part is like that of the name, or all."""
    by_part = {each.rpartition(".")[2]: each for each in reversed(changeable())}
    near = difflib.get_close_matches(name.rpartition(".")[2], by_part, n=1, cutoff=0.7)
    return f"did you mean '{_spelt(by_part[near[0]])}'?" if near else changes_told()


_LEAST = {
    "batch": 1,
    "critic_steps": 1,
    "grid_faces": 1,
    "model.latent_dim": 1,
    "model.latent_critic_features": 1,
    "shuffle_window": 1,
    "stream.workers": 0,
    "stream.most_bad_samples": 0,
    "evaluation.faces": 1,
}
"""What settings have to be at least."""
_FIRST_STAGES = "autoencoder", "gan", "opening"
_MAY_BE_ZERO = {f"stages.{stage}.kimg" for stage in _FIRST_STAGES}
_SECTIONS_OF_NUMBERS = "loss", "optimiser", "clock", *(f"stages.{stage}" for stage in vars(StagesConfig()))
_NUMBERS = (
    "ema_halflife_kimg",
    "grow_kimg",
    "stream.patience",
    "stream.shards_gb",
    "augment.adapt_kimg",
    "evaluation.seconds",
)
_WEIGHTS_OF_STAGES = {
    "autoencoder": ("reconstruction_weight", "latent_weight"),
    "gan": ("image_weight", "expression_weight", "guide_weight"),
}
_OF_SKIPS = {"paint_weight": ("mask", "warp"), "strain_weight": ("warp",)}
"""Weights of the loss that only some kinds of skip know."""
_SHARES = (
    *("augment.class_balance", "augment.strength", "loss.guide_painting", "loss.paint_free"),
    *("stages.closing.guide_painting", "stages.closing.paint_free"),
)


def check(config: Config, of_levels: bool = False) -> Config:
    """The config itself, if its values make sense.

    Args:
        of_levels: whether it is a level of several, most of which begin with the networks of another.

    Raises:
        InputError: naming the flag, the value it has and the values it may have.
    """
    _check_numbers(config)
    check_seed(config.seed)
    check_shape(config.model.resolution, config.model.channels, "--model.")
    check_features(config.model.max_features, config.model.min_features, "--model.")
    _check_stages(config)
    _check_files(config)
    if not of_levels:
        _check_fade(config)
    for section in ("loss", "stages.closing"):
        _check_skip(config, section)
    _check_bounds(config)
    return config


def _check_numbers(config: Config) -> None:
    """That each lies where its kind may, whatever the others are."""
    for name, least in _LEAST.items():
        value = attrgetter(name)(config)
        if value is not None and value < least:
            raise InputError(f"{_flag(name)} is {value}: it must be at least {least}")
    numbers = [f"{each}.{key}" for each in _SECTIONS_OF_NUMBERS for key in vars(attrgetter(each)(config))]
    for name in sorted({*numbers, *_NUMBERS}):
        _check_number(name, attrgetter(name)(config))
    for name in _SHARES:
        share = attrgetter(name)(config)
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"{_flag(name)} is {share}: it must be from 0 to 1")


def _check_files(config: Config) -> None:
    """That of what a run can begin with, or be measured by, nothing is missing or twofold."""
    if config.evaluation.second_judge and not config.evaluation.judge:
        raise InputError("--evaluation.second-judge is a second one: give the first as --evaluation.judge")
    taken = [name for name, path in vars(config.start).items() if path and name != "guide"]
    if config.init_from and taken:
        flags = " and ".join(_flag(f"start.{name}") for name in taken)
        raise InputError(f"--init-from gives all networks: leave out {flags}, or --init-from")
    if (config.start.guide is None) == guided(config):
        model = config.model
        told = half_of_a_guide(config.start.guide, _pulling(config), model.resolution, model.channels)
        raise InputError(told)


def _check_fade(config: Config) -> None:
    """That there is something beside which new blocks fade in, where it is told how long they do."""
    if config.grow_kimg != Config.grow_kimg and not config.init_from:
        raise InputError(
            f"--grow-kimg is {config.grow_kimg:g}, for which new blocks fade in beside the networks of "
            "--init-from, and there are none: give a run of a lower resolution there, or leave it out"
        )


def _check_bounds(config: Config) -> None:
    """That there is something to bound where a term has a bound."""
    loss, closing = config.loss, config.stages.closing
    if (loss.guide_clear, closing.guide_clear) != (None, None) and loss.guide_margin is None:
        raise InputError(
            "--loss.guide-clear bounds what --loss.guide-margin asks for, which is not given: give one, "
            "as 0, or leave both out"
        )
    strained = loss.strain_weight or closing.strain_weight
    if (loss.strain_limit, closing.strain_limit) != (None, None) and not strained:
        raise InputError(
            "--loss.strain-limit says where strain counts twice, and it does not count: give "
            "--loss.strain-weight too, or leave it out"
        )


def _check_skip(config: Config, section: str) -> None:
    """That the skip knows what a section with weights of the loss asks for."""
    asked, skip = attrgetter(section)(config), config.model.skip
    for name, skips in _OF_SKIPS.items():
        weight = getattr(asked, name)
        if weight and skip not in skips:
            flag = _flag(f"{section}.{name}")
            raise InputError(f"{flag} is {weight:g}: leave it out, or take --model.skip {' or '.join(skips)}")
    if asked.guide_painting not in (None, 1) and skip != "warp":
        raise InputError(
            f"{_flag(f'{section}.guide_painting')} is {asked.guide_painting:g}, and with --model.skip {skip} "
            "a guide can do nothing but paint: leave it out, or take --model.skip warp"
        )


def guided(config: Config) -> bool:
    """Whether a guide pulls at any time of the run."""
    return bool(_pulling(config))


def _pulling(config: Config) -> list[str]:
    """The flags of those weights with which a guide pulls at some time of the run."""
    stages = config.stages
    weights = {
        "loss": config.loss.guide_weight,
        "stages.gan": stages.gan.kimg and stages.gan.guide_weight,
        "stages.opening": stages.opening.kimg and stages.opening.guide_weight,
        "stages.closing": stages.closing.from_kimg and stages.closing.guide_weight,
    }
    return [_flag(f"{section}.guide_weight") for section, weight in weights.items() if weight]


def _check_stages(config: Config) -> None:
    stages, total = config.stages, config.clock.total_kimg
    flags = ", ".join(f"--stages.{name}.kimg" for name in _FIRST_STAGES)
    before = sum(getattr(stages, name).kimg for name in _FIRST_STAGES)
    if before > total:
        raise InputError(
            f"{flags} are {before:g} together: they must not exceed --clock.total-kimg, which is {total:g}"
        )
    closing = stages.closing.from_kimg
    if closing is not None and closing < before:
        raise InputError(
            f"--stages.closing.from-kimg is {closing:g}: it must not be less than {flags} together, "
            f"which are {before:g}"
        )
    for stage, weights in _WEIGHTS_OF_STAGES.items():
        own = getattr(stages, stage)
        if own.kimg and not any(_in_stage(config, own, weight) for weight in weights):
            names = ", ".join(_flag(f"stages.{stage}.{weight}") for weight in weights)
            raise InputError(f"{names} are all 0: the stage would teach nothing; leave it out, or give one")


def _in_stage(config: Config, stage: object, weight: str) -> float:
    """A weight as it is in a stage: the stage's own, or the run's."""
    own = getattr(stage, weight)
    return getattr(config.loss, weight) if own is None else own


def _flag(name: str) -> str:
    return f"--{_spelt(name)}"


def _spelt(name: str) -> str:
    """A setting's name as its flag spells it."""
    return name.replace("_", "-")


def _check_number(name: str, value: float | str | None) -> None:
    if value is None or isinstance(value, bool | str):
        return
    flag = _flag(name)
    positive = (
        flag.endswith(("kimg", "-rate", "-gb", "-norm", "-limit", ".patience", ".seconds"))
        and name not in _MAY_BE_ZERO
    )
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        wanted = "a positive number" if positive else "a number that is not negative"
        raise InputError(f"{flag} is {value}: it must be {wanted}")
    if "beta" in flag and value >= 1:
        raise InputError(f"{flag} is {value}: it must be below 1")


def check_seed(seed: int) -> None:
    """Raises `InputError` for a seed that is no number of 64 bits."""
    if not -(2**63) <= seed < 2**63:
        raise InputError(f"--seed is {seed}: it must be a number of 64 bits")


def check_shape(resolution: int | None, channels: int | None, prefix: str = "--") -> None:
    """Raises `InputError` for pictures that no network reads; `prefix` begins the flags that it names."""
    if channels not in (None, 1, 3):
        raise InputError(f"{prefix}channels is {channels}: it must be 1 (grey) or 3 (RGB)")
    if resolution is not None:
        check_resolution(resolution, f"{prefix}resolution")


def check_resolution(resolution: int, flag: str) -> None:
    """Raises `InputError`, naming the flag, for a height and width that no network reads."""
    if not is_resolution(resolution):
        raise InputError(
            f"{flag} is {resolution}: it must be 48 or 64 times a power of two "
            "(48, 64, 96, 128, 192, 256, ...)"
        )


def check_features(most: int, fewest: int, prefix: str = "--") -> None:
    """Raises `InputError` for numbers of feature maps that no network has; `prefix` as in `check_shape`."""
    if fewest < 1:
        raise InputError(f"{prefix}min-features is {fewest}: it must be at least 1")
    if most < fewest:
        raise InputError(
            f"{prefix}max-features is {most}: it must be at least {fewest}, which is {prefix}min-features"
        )


def is_resolution(value: int) -> bool:
    """Whether the networks can be built for pictures of this many pixels a side."""
    return any(value >= base and value % base == 0 and (value // base).bit_count() == 1 for base in BASES)

"""The command line of a training run: flags, a yaml file, and what the data decide."""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tyro

from fes.commandline import check_words, parsed
from fes.config import Config
from fes.config.keys import check_keys
from fes.config.levels import chain, has_levels, split
from fes.config.tree import from_tree, read_yaml
from fes.config.validity import changes_told, check, check_changes
from fes.data.mixture import Mixture, read_places
from fes.errors import InputError
from fes.hardware import Hardware, check_hardware
from shards.remote.addresses import PIPE

Kind = TypeVar("Kind", Config, Hardware)

_PLACE = "put it before fes/train.py"
_OF_THE_LAUNCHER = {
    "--mixed-precision": _PLACE,
    "--num-processes": _PLACE,
    "--num-machines": _PLACE,
    "--machine-rank": _PLACE,
    "--main-process-ip": _PLACE,
    "--main-process-port": _PLACE,
    "--config-file": _PLACE,
    "--multi-gpu": _PLACE,
    "--max-restarts": _PLACE,
    "--zero-stage": _PLACE,
    "--gradient-accumulation-steps": "take --micro-batch instead",
}
"""Flags of `accelerate launch` that people give to train.py, and what to do."""


@dataclass(frozen=True)
class Arguments(Config, Hardware):
    """Train a network that draws any face with any of seven expressions."""

    config: Path | None = None
    """A yaml file of these settings, but for those of the hardware; flags win over it."""
    dry_run: bool = False
    """Show the settings, the networks' sizes and the data, and stop."""
    allow_change: tuple[str, ...] = ()
    """Settings that may differ from those that the run was begun with, e.g. `optimiser.critic-rate`."""


@dataclass(frozen=True)
class Asked:
    """What a command line asks for."""

    config: Config
    """What is to be learnt."""
    hardware: Hardware
    """How it is to be computed."""
    dry_run: bool = False
    """Whether to show it and stop."""
    allow_change: tuple[str, ...] = ()
    """Settings, as `loss.image_weight`, that may differ from those of the run so far."""


def parse(arguments: Sequence[str]) -> Asked:
    """What `parse_levels` finds, or the last of it."""
    return parse_levels(arguments)[-1]


def parse_levels(arguments: Sequence[str]) -> list[Asked]:
    """What a command line asks for, checked: a run, or one for each level of its file (`fes.config.levels`).

    Raises:
        InputError: an unknown flag or key, a flag that is missing, or a yaml file or a value that cannot be
            used.
        SystemExit: with code 0 after the help that was asked for.
    """
    _refuse_flags_of_the_launcher(arguments)
    check_words(arguments, Arguments, prefixed=True, pairs=True)
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path, nargs="?")  # one without a value is told of below
    early.add_argument("--data", nargs="?")
    known = early.parse_known_args(arguments)[0]
    tree = read_yaml(known.config) if known.config else {}
    check_keys(tree, str(known.config))
    if not has_levels(tree):
        return [_parse(arguments, known, tree)]
    asked = [_parse(arguments, known, level, of_levels=True) for level in split(tree, str(known.config))]
    chained = chain([each.config for each in asked], str(known.config))
    return [dataclasses.replace(each, config=config) for each, config in zip(asked, chained, strict=True)]


def _parse(
    arguments: Sequence[str], known: argparse.Namespace, tree: object, of_levels: bool = False
) -> Asked:
    file = known.config
    settings = from_tree(Config, tree, str(file), missing=tyro.MISSING)
    default = Arguments(**vars(settings), config=file)
    given = parsed(Arguments, arguments, "train.py", default=default)
    if known.data is None:
        _refuse_commands(settings.data, file)
    asked = Asked(
        config=check(_part(given, Config), of_levels),
        hardware=check_hardware(_part(given, Hardware)),
        dry_run=given.dry_run,
        allow_change=tuple(",".join(given.allow_change).replace("-", "_").replace(",", " ").split()),
    )
    if not any(asked.allow_change) and any(_flag(word) == "--allow-change" for word in arguments):
        raise InputError(f"--allow-change names no setting that may change; {changes_told()}")
    check_changes(asked.allow_change)
    return asked


def _refuse_flags_of_the_launcher(arguments: Sequence[str]) -> None:
    for word in arguments:
        advice = _OF_THE_LAUNCHER.get(_flag(word))
        if advice:
            raise InputError(f"{word.partition('=')[0]} belongs to the launcher: {advice}")


def _flag(word: str) -> str:
    """The flag of a word without its value, with dashes."""
    return word.partition("=")[0].replace("_", "-")


def _part(parsed: Arguments, kind: type[Kind]) -> Kind:
    """The fields of one of the dataclasses that the arguments are made of."""
    return kind(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(kind)})


def _refuse_commands(data: object, file: Path | None) -> None:
    """A yaml file may be somebody else's, and what it holds must not be run."""
    if isinstance(data, str) and any(place.startswith(PIPE) for place, _ in read_places(data)):
        raise InputError(
            f"{file}: data holds a command ('{PIPE}'), and commands are not taken from a file: give it by "
            "--data, on the command line"
        )


def resolve(config: Config, mixture: Mixture) -> Config:
    """The config with the resolution and the channels of the data where it leaves them open.

    The places of the data stand in it without passwords and commands: it is going to be shown and kept.
    """
    model = config.model
    if model.resolution is None:
        model = dataclasses.replace(model, resolution=mixture.resolution)
    if model.channels is None:
        model = dataclasses.replace(model, channels=mixture.channels)
    return dataclasses.replace(config, data=mixture.place, model=model)

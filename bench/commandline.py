"""What the command lines of bench/ share: what cannot be measured is told in one sentence, before anything
is measured.

Options are looked at by their kind: whole numbers are counts, others are positive, and names that several
scripts share, as `resolution` and `device`, mean the same in all of them.
"""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
import tyro

from fes.commandline import check_words, parsed, readers_may_leave
from fes.config.validity import check_resolution, check_shape
from fes.errors import InputError, nearest, told_in_one_sentence

Kind = TypeVar("Kind")

_MAY_BE_ZERO = ("step",)
_SHARES = ("opening",)
_MAY_BE_NONE = ("only",)
"""Lists of names that stand for all where they are empty."""
DEVICES = ("cuda", "cpu")


@contextlib.contextmanager
def options_of(script: str, kind: type[Kind], arguments: Sequence[str] | None = None) -> Iterator[Kind]:
    """What a command line of `python -m bench.SCRIPT` asks for, checked; None: that of this process.

    An `InputError`, also one out of the body, ends the process with code 2 and its sentence on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with told_in_one_sentence(f"bench.{script}"), readers_may_leave():
        check_words(arguments, kind)
        style = (tyro.conf.FlagCreatePairsOff,)
        options = parsed(kind, arguments, f"python -m bench.{script}", config=style)
        check_options(options)
        yield options


def check_options(options: object) -> None:
    """Raises `InputError`, naming the flag, for values that nothing can be measured with.

    Args:
        options: a dataclass, whose fields' names are those of the flags.
    """
    for name, value in vars(options).items():
        flag = f"--{name.replace('_', '-')}"
        if value == () and name not in _MAY_BE_NONE:
            raise InputError(f"{flag} names none: give at least one")
        for each in value if isinstance(value, tuple) else (value,):
            _check_value(name, flag, each)
    most, fewest = getattr(options, "features", (1, 1))
    if most < fewest:
        raise InputError(
            f"--features is {most} {fewest}: the first, the most, must not be less than the last"
        )


def check_names(flag: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises `InputError` for a name that is none of the known ones, with the nearest that is."""
    for name in names:
        if name not in known:
            raise InputError(f"{flag} '{name}': there is none of this name{nearest(name, known)}")


def _check_value(name: str, flag: str, value: object) -> None:
    if name in ("resolution", "resolutions"):
        check_resolution(value, flag)
    elif name == "channels":
        check_shape(None, value)
    elif name == "device":
        _check_device(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        least = 0 if name in _MAY_BE_ZERO else 1
        if value < least:
            raise InputError(f"{flag} is {value}: it must be at least {least}")
    elif isinstance(value, float):
        _check_number(name, flag, value)


def _check_number(name: str, flag: str, value: float) -> None:
    if name in _SHARES:
        if not 0 <= value <= 1:
            raise InputError(f"{flag} is {value}: it must be from 0 to 1")
    elif not 0 < value < math.inf:
        raise InputError(f"{flag} is {value}: it must be a positive number")


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise InputError(f"--device is {device}: it must be {' or '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda, and this machine has no GPU that torch can use: take cpu")

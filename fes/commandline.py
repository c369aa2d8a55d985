"""What the command lines share: a misspelt word is told in one sentence, with the nearest right one.

tyro names missing flags before unknown ones, so that `--sorce x` reads as a lack of `--source`.
"""

import contextlib
import dataclasses
import difflib
import os
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import tyro

from fes.errors import InputError, nearest
from shards.schema import Square

Commands = type | Mapping[str, "Commands"]
"""A dataclass whose fields are the flags, or commands by name."""
_POSITIONAL = typing.get_args(tyro.conf.Positional[int])[1]
"""How tyro marks a field that is written without a flag."""


def check_words(
    arguments: Sequence[str], commands: Commands, prefixed: bool = False, pairs: bool = False
) -> None:
    """Looks for words that mean nothing, before anything else is made of a command line.

    Args:
        prefixed: whether the flags of a nested dataclass bear its field's name, as `--model.latent-dim`.
        pairs: whether what `--quick` switches on, `--no-quick` switches off.

    Raises:
        InputError: a command or a flag that does not exist, with the nearest one that does; or a flag for
            what is written without one.
    """
    for at, word in enumerate(arguments):
        if isinstance(commands, type) or word.startswith("-"):
            break
        if word not in commands:
            raise InputError(
                f"there is no command '{' '.join(arguments[: at + 1])}'{nearest(word, commands)}"
            )
        commands = commands[word]
    if isinstance(commands, type):
        _refuse_flags_of_positionals(arguments, commands)
        _check_flags(arguments, ["--help", *_flags(commands, prefixed, pairs)])


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """What is printed after the reader of a pipe has left, as in `fes-shards show DIR | head`, goes nowhere.

    The exit code stays that of the command.
    """
    stream = sys.stdout
    sys.stdout = _Unread(stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = stream


class _Unread:
    """A stream that takes text also when nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            return self._leave(len(text))

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self, written: int = 0) -> int:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        return written


FOUND, MIDDLE = "found", "middle"
"""Words for a part of a picture: the face that is found in it, and its central square."""


def part_of_picture(flag: str, text: str) -> Square | str:
    """FOUND, MIDDLE, or LEFT,TOP,SIDE -> that word, or a square of a picture, in its pixels.

    Raises:
        InputError: the text that was given with the flag is none of them.
    """
    if text in (FOUND, MIDDLE):
        return text
    try:
        left, top, side = (int(number) for number in text.split(","))
        if min(left, top) < 0 or side < 1:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{flag} {text} is no square: give it as LEFT,TOP,SIDE, such as 150,150,212, or write '{FOUND}' "
            f"for the largest face that is found, or '{MIDDLE}' for the central square"
        ) from None
    return left, top, side


def _refuse_flags_of_positionals(arguments: Sequence[str], kind: type) -> None:
    bare = {f"--{name.replace('_', '-')}" for name in _positionals(kind)}
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag in bare:
            raise InputError(
                f"{flag} is no flag: write what it stands for without it, and --help shows where"
            )


def _positionals(kind: type) -> Iterator[str]:
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if _POSITIONAL in typing.get_args(hint)[1:]:
            yield name


def _flags(kind: type, prefixed: bool, pairs: bool, prefix: str = "--") -> list[str]:
    flags = []
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        name = prefix + spec.name.replace("_", "-")
        if dataclasses.is_dataclass(hints[spec.name]):
            flags += _flags(hints[spec.name], prefixed, pairs, f"{name}." if prefixed else prefix)
        else:
            flags.append(name)
            if pairs and hints[spec.name] is bool:
                flags.append(f"{prefix}no-{spec.name.replace('_', '-')}")
    return flags


def _check_flags(arguments: Sequence[str], flags: Sequence[str]) -> None:
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in flags:
            alike, _, likest = max((_likeness(flag, known), -len(known), known) for known in flags)
            hint = f"did you mean '{likest}'? " if alike >= 0.5 else ""
            raise InputError(f"there is no flag {flag}; {hint}--help lists them all")


def _likeness(flag: str, known: str) -> float:
    """How alike two flags are, in 0..1: as a whole, in their last part, or as its beginning."""
    flag, known = flag.strip("-"), known.strip("-")
    last = known.rpartition(".")[2]
    if flag and last.startswith(flag):
        return 1.0
    return max(difflib.SequenceMatcher(None, flag, other).ratio() for other in (known, last))

"""What the command lines share: a misspelt word is told in one sentence, with the nearest right one.

tyro names missing flags before unknown ones, so that `--sorce x` reads as a lack of `--source`.
"""

import dataclasses
import difflib
import itertools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from fes import __version__
from fes.commandline.helptexts import give_help_texts
from fes.commandline.misread import complaints_in_one_sentence
from fes.errors import InputError, nearest
from shards.schema import Square

Commands = type | Mapping[str, "Commands"]
"""A dataclass whose fields are the flags, or commands by name."""
_POSITIONAL = typing.get_args(tyro.conf.Positional[int])[1]
"""How tyro marks a field that is written without a flag."""
_HELP = "-h", "--help", "-H", "--help-verbose"
_OF_TYRO = "--tyro-"
"""How its own flags begin, which print what completes words in a shell."""
NEAR = 0.65
"""Likeness from which on a word may be meant: `--batch-size` is as near as that to `--batch`, and `--epochs`,
which is 0.5 like `blocks`, is near to nothing."""
_ONCE = {
    "--data": "leave one out; several, where a command takes them, are written as --data A,B",
    "--config": "put the settings of both into one file, as one is read",
}
"""Flags of which people give two and mean both, and what to do. Of any other the last one counts, as wrappers
expect that append their own."""
Kind = TypeVar("Kind")


def parsed(kind: type[Kind], arguments: Sequence[str], prog: str, **more: Any) -> Kind:
    """A dataclass, or one of a union of some, filled from the words of a command line.

    Args:
        more: what `tyro.cli` takes besides, such as `default` and `config`.

    Raises:
        InputError: there are words for which there is no place; a flag is missing, or its value does not
            parse.
        SystemExit: with code 0 after the help that was asked for.
    """
    give_help_texts(kind)
    with complaints_in_one_sentence(prog, arguments):
        filled, rest = tyro.cli(kind, args=arguments, prog=prog, return_unknown_args=True, **more)
    if rest:
        _refuse(rest, kind, prog)
    return filled


def parsed_command(
    every: type[Kind],
    commands: Mapping[str, Commands],
    arguments: Sequence[str],
    program: str,
    description: str,
    config: Sequence[Any],
) -> Kind:
    """What `parsed` fills, of the command that is named: whatever is told names its help, not the program's.

    Args:
        every: the union of all commands, whose help shows them.
        commands: the same by name.

    Raises:
        InputError: as `check_words`; or no command is named.
        SystemExit: as `parsed`.
    """
    check_words(arguments, commands)
    words, meant = _walk(arguments, commands)
    prog = " ".join([program, *words])
    if isinstance(meant, type):
        return parsed(meant, arguments[len(words) :], prog, config=config)
    if not any(word in _HELP or word.startswith(_OF_TYRO) for word in arguments):
        raise InputError(
            f"name a command after '{prog}': {', '.join(meant)}; '{prog} --help' tells what each does"
        )
    told = f"{description} --version tells which version this is."
    return parsed(every, arguments, program, description=told, config=config)


def tell_version(arguments: Sequence[str], program: str) -> None:
    """Where `--version` is asked for, prints which one this is, and ends."""
    if list(arguments) == ["--version"]:
        print(f"{program} {__version__}")
        raise SystemExit(0)


def check_words(
    arguments: Sequence[str], commands: Commands, prefixed: bool = False, pairs: bool = False
) -> None:
    """Looks for words that mean nothing, before anything else is made of a command line.

    Args:
        prefixed: whether the flags of a nested dataclass bear its field's name, as `--model.latent-dim`.
        pairs: whether what `--quick` switches on, `--no-quick` switches off.

    Raises:
        InputError: a command or a flag that does not exist, with the nearest one that does; a flag for what
            is written without one; a second --data or --config; or a file whose name is empty.
    """
    _, meant = _walk(arguments, commands)
    if isinstance(meant, type):
        _refuse_flags_of_positionals(arguments, meant)
        flags = dict(_flags(meant, prefixed))
        off = [_switched_off(flag) for flag, hint in flags.items() if pairs and hint is bool]
        _check_flags(arguments, ["--help", *flags, *off])
        _refuse_twice(arguments, flags)
        _refuse_empty_paths(arguments, flags)


def _walk(arguments: Sequence[str], commands: Commands) -> tuple[Sequence[str], Commands]:
    """The words that name a command, and what they name.

    Raises:
        InputError: there is no such command.
    """
    at = 0
    while not isinstance(commands, type) and at < len(arguments) and not arguments[at].startswith("-"):
        if arguments[at] not in commands:
            raise InputError(
                f"there is no command '{' '.join(arguments[: at + 1])}'{nearest(arguments[at], commands)}"
            )
        commands = commands[arguments[at]]
        at += 1
    return arguments[:at], commands


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


def _flags(kind: type, prefixed: bool, prefix: str = "--") -> Iterator[tuple[str, object]]:
    """The flags of a dataclass, and the type of what follows each."""
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        name, hint = prefix + spec.name.replace("_", "-"), hints[spec.name]
        if dataclasses.is_dataclass(hint):
            yield from _flags(hint, prefixed, f"{name}." if prefixed else prefix)
        else:
            yield name, hint


def _switched_off(flag: str) -> str:
    """`--augment.flips` -> `--augment.no-flips`."""
    before, last = re.fullmatch(r"(--(?:.*\.)?)([^.]*)", flag).groups()
    return f"{before}no-{last}"


def _refuse_twice(arguments: Sequence[str], flags: Mapping[str, object]) -> None:
    """Of two data sets, or of two files of settings, the first would be dropped without a word."""
    given = [argument.partition("=")[0] for argument in arguments]
    for flag, advice in _ONCE.items():
        if flag in flags and given.count(flag) > 1:
            raise InputError(f"{flag} is given twice: {advice}")


def _refuse_empty_paths(arguments: Sequence[str], flags: Mapping[str, object]) -> None:
    """Of an empty name, as of a variable of a shell that is not set, `Path` makes this folder."""
    paths = {flag for flag, hint in flags.items() if Path in (hint, *typing.get_args(hint))}
    for word, following in itertools.zip_longest(arguments, arguments[1:]):
        flag, equals, value = word.partition("=")
        if flag.replace("_", "-") in paths and (value if equals else following) == "":
            raise InputError(f"{flag} is empty: name a file or folder after it")


def _refuse(rest: Sequence[str], kind: type, prog: str) -> None:
    """Raises `InputError`, which names words for which a command has no place."""
    told = ", ".join(rest)
    if rest[0].startswith("-"):
        raise InputError(f"there is no flag {rest[0]}; '{prog} --help' lists them all")
    if isinstance(kind, type) and (name := next(_positionals(kind), None)):
        raise InputError(f"one {name.replace('_', ' ')} at a time: leave out {told}")
    raise InputError(f"{told} follows no flag: leave it out; '{prog} --help' lists the flags")


def _check_flags(arguments: Sequence[str], flags: Sequence[str]) -> None:
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in flags:
            alike, _, likest = max((likeness(flag, known), -len(known), known) for known in flags)
            hint = f"did you mean '{likest}'? " if alike >= NEAR else ""
            raise InputError(f"there is no flag {flag}; {hint}--help lists them all")


def likeness(flag: str, known: str) -> float:
    """How alike two flags are, or two settings, in 0..1: as a whole, in their last part, or as its
    beginning."""
    flag, known = flag.strip("-"), known.strip("-")
    last = known.rpartition(".")[2]
    if flag and last.startswith(flag):
        return 1.0
    return max(difflib.SequenceMatcher(None, flag, other).ratio() for other in (known, last))

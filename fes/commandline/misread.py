"""What tyro says in boxes of a command line that it cannot read, in one sentence."""

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Sequence

from fes.errors import InputError, nearest
from fes.telling import tell

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"[─-]{5,}")
_CHOICES = re.compile(r"'([^']*)'")
_NUMBERS = {
    "INT": ("a whole number", "whole numbers"),
    "FLOAT": ("a number", "numbers"),
}


@contextlib.contextmanager
def complaints_in_one_sentence(prog: str, arguments: Sequence[str]) -> Iterator[None]:
    """Turns tyro's complaint, with which it ends the program, into an `InputError`. One that is of no known
    kind is printed as it is.

    Raises:
        InputError: a flag is missing, or has no value, or none of its kind.
        SystemExit: with code 2, after a complaint of another kind.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as end:
        if end.code == 2 and (told := sentence(said.getvalue(), prog, arguments)):
            said = io.StringIO()
            raise InputError(told) from None
        raise
    finally:
        if text := said.getvalue():
            tell(text.removesuffix("\n"))


def sentence(box: str, prog: str, arguments: Sequence[str]) -> str:
    """What a box of tyro's complains of, and where to read on; nothing where it is of no known kind."""
    _, *lines = [line.strip("│╭╮╰╯").rstrip() for line in _COLOURS.sub("", box).splitlines()] or [""]
    if lines and _RULE.fullmatch(lines[0].strip()):  # of terminals that know no lines for boxes
        lines = lines[1:]
    rules = [at for at, line in enumerate(lines) if _RULE.fullmatch(line.strip())]
    told = _told(lines[: rules[0]], " ".join(lines[rules[0] + 1 :]), arguments) if rules else ""
    return told and f"{told}; '{prog} --help' tells more"


def _told(lines: Sequence[str], more: str, arguments: Sequence[str]) -> str:
    words = " ".join(" ".join(lines).split())
    if found := re.match(r"Error parsing ([^ :]+): (.*)", words):
        return _of_no_kind(found[1], found[2], more, _given(found[1], arguments))
    if found := re.match(r"invalid choice .* for argument '(.*)'\. Expected one of \((.*)\) ?\.", words):
        choices = sorted(_CHOICES.findall(found[2]))
        value = next((word for word in _given(found[1], arguments) if word not in choices), "")
        return f"{found[1]} is '{value}'{nearest(value, choices)}"
    if found := re.match(r"Missing value for argument '(.*)'\. Expected (\d+) value", words):
        what = "its value" if found[2] == "1" else f"its {found[2]} values"
        return f"{found[1]} has no value: write {what} after it"
    return _missing(lines) if words.startswith("Missing from ") else ""


def _given(flag: str, arguments: Sequence[str]) -> list[str]:
    """The words after a flag, where it was given last: a box breaks what is long, and escapes what is odd."""
    found: list[str] = []
    for at, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == flag:
            rest = itertools.takewhile(lambda each: not each.startswith("--"), arguments[at + 1 :])
            found = [value] if equals else list(rest)
    return found


def _of_no_kind(flag: str, reason: str, more: str, given: Sequence[str]) -> str:
    """Of a value that does not parse; `more` holds the flag with what should follow it, as `INT`."""
    wanted = re.search(rf"{re.escape(flag)} (.*?)  ", more)
    kind = next((kind for kind in _NUMBERS if wanted and kind in wanted[1]), None)
    if kind is None:
        return f"{flag}: {reason}"
    several = "..." in wanted[1]
    value = " ".join(given if several else given[:1])  # what follows may be no part of it
    must_be = _NUMBERS[kind][several] + (", or None" if "None" in wanted[1] else "")
    return f"{flag} is '{value}': it must be {must_be}"


def _missing(lines: Sequence[str]) -> str:
    """Of flags that have to be given: each with the first clause of its help."""
    helps: dict[str, str] = {}
    # After `Missing from fes evaluate:`, which may be broken.
    begin = next((at for at, line in enumerate(lines) if line.endswith(":")), len(lines))
    for line in lines[begin + 1 :]:
        if len(line) - len(line.lstrip()) < 8:
            name = line.split()[0]
            helps[name] = ""
        else:
            helps[name] += f" {line.strip()}"
    told = [name + _clause(text.replace("(required)", "").strip()) for name, text in helps.items()]
    return f"{' and '.join(told)} {'is' if len(told) == 1 else 'are'} missing" if told else ""


def _clause(text: str) -> str:
    """`The folder to write to; made where it is not there.` -> ` (the folder to write to)`."""
    first = re.split(r"[.:;](?: |$)", text)[0]
    return f" ({first[:1].lower()}{first[1:]})" if first else ""

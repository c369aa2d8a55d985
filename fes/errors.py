"""What a user did that cannot work, told in one sentence.

Anything raised as `InputError` reaches the user as that sentence alone, with exit code 2; `Lost` is
told alike, with a code that schedulers answer with another start.
Every other exception is a fault of fes and keeps its traceback.
"""

import contextlib
import difflib
import time
from collections.abc import Iterable, Iterator

from fes.telling import tell

WHILE = 20.0
"""Seconds that a process leaves to the one that tells: launchers end all others as soon as one has ended, and
would end that one before it has come so far."""


class InputError(ValueError):
    """Input that cannot be used; the message says what, where, and what to do."""

    code = 2
    """The exit code of the program that it ends."""


class Lost(InputError):
    """What a run cannot go on without is gone, through no fault of the user's, and may be back when it is
    started again: the same command goes on from the newest state."""

    code = 134
    """128 + SIGABRT: schedulers start again what ends with a signal."""

    def __init__(self, message: str, code: int = code) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(InputError):
    """An address that may be right did not answer; a run that has begun knows that it is."""


class DamagedSample(InputError):
    """One sample is not what was written, and never will be: reading on without it is possible.

    A fault of the network, the disk or the machine is none: it may be gone at the next attempt, and would
    look otherwise to another rank.
    """


class NoRoom(InputError):
    """A GPU has no room for so many pictures at once."""

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures
        remedy = f"take --micro-batch {pictures // 2}, and the same command goes on"
        if pictures == 1:
            remedy = "take smaller networks (--model.max-features)"
        super().__init__(
            f"the GPU has no room for {pictures} picture{'s' * (pictures > 1)} at once: {remedy}"
        )


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint for a misspelt name: `"; did you mean 'x'?"`, or the choices where none is near. Who has typed
    its beginning means it."""
    choices = list(choices)
    begun = [choice for choice in choices if name and choice.startswith(name)]
    close = begun or difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; choose from {', '.join(choices)}"


@contextlib.contextmanager
def told_in_one_sentence(program: str, silent: bool = False) -> Iterator[None]:
    """Turns an `InputError` into its sentence on stderr and its exit code; where it is `silent`, as another
    process tells the same, into a while of waiting and that code."""
    try:
        yield
    except InputError as error:
        if silent:
            time.sleep(WHILE)
        else:
            tell(f"{program}: {error}")
        raise SystemExit(error.code) from None

"""How command lines end before their work does: on Ctrl-C, on SIGTERM, and without somebody who reads on."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from fes.telling import silence, tell


class Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers send it: what answers Ctrl-C answers this."""


@contextlib.contextmanager
def interrupted(sentence: Callable[[], str]) -> Iterator[None]:
    """Turns Ctrl-C, and SIGTERM where it is `terminable`, into a sentence, as it is then, on stderr, and the
    exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt as stop:
        tell(sentence())
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        raise SystemExit(128 + number) from None


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM is `Terminated`, unless it is ignored; afterwards it does what it did before."""
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> None:
    raise Terminated


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
        silence(self._stream)
        return written

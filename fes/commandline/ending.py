"""How command lines end before their work does: on Ctrl-C, on SIGTERM, and without somebody who reads on."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from fes.errors import InputError
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
def readers_may_leave(disks_may_fill: bool = False) -> Iterator[None]:
    """What is printed after the reader of a pipe has left, as in `fes-shards show DIR | head`, goes nowhere.

    The exit code stays that of the command.

    Args:
        disks_may_fill: what is printed is a log, and the work goes on where a full disk has no room for it.

    Raises:
        InputError: it is what the command is for, and cannot be written.
    """
    stream = sys.stdout
    sys.stdout = unread = _Unread(stream, disks_may_fill)
    try:
        yield
    finally:
        sys.stdout = stream
        unread.flush()
        if unread.held_back:
            silence(stream)


class _Unread:
    """A stream that takes text also when nobody reads it any more, and maybe when there is no room for it."""

    def __init__(self, stream: TextIO, disks_may_fill: bool) -> None:
        self._stream, self._disks_may_fill = stream, disks_may_fill
        self.held_back = False
        """Whether the stream could not write what it was given last."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._tried(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, write: Callable[[], object]) -> None:
        self.held_back = False
        try:
            write()
        except BrokenPipeError:
            silence(self._stream)
        except OSError as error:
            self.held_back = True
            if not self._disks_may_fill:
                silence(self._stream)
                raise InputError(
                    f"what is printed cannot be written: {error.strerror}; make room, and give the same "
                    "command again"
                ) from None

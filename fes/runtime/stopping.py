"""Signals that ask a run to stop, how ranks agree that they do, and how they leave."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NoReturn, TypeVar

from fes.errors import Lost

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
SOON = 2.0
"""Seconds within which a wish to stop should be known to all ranks."""
ORDERLY = 10.0
"""Seconds for which one of several ranks waits for data though it was asked to stop: without them the others,
who are in the step already, cannot save what was computed since the last state."""
LOOKS_EVERY = 0.25
"""Seconds between two looks at whether data that are waited for have come."""
FLUSHING = 1.0
"""Seconds that a process leaves to whoever reads what it has told, when it has to go."""
MOST_STEPS = 64
"""Steps between two agreements, at most: each waits for the slowest rank, and for the device."""
_INSISTING = (
    "\nstops and saves after this step; Ctrl-C once more ends it at once, and what came after the last state "
    "is lost"
)


Data = TypeVar("Data")


class _GivenUp(BaseException):
    """The waiting is over. Nothing that catches what goes wrong with data may take this for that."""


class Stopping:
    """What a rank was asked, and when ranks ask one another."""

    def __init__(self, ranks: int, largest: Callable[[Sequence[float]], list[float]]) -> None:
        """
        Args:
            largest: the largest value over ranks, of each of some numbers; a collective.
        """
        self._ranks, self._largest = ranks, largest
        self._signal = 0
        self._waits_since: float | None = None
        self._asks_at, self._asked_at, self._asked = 0, 0, 0.0

    def catch_signals(self) -> None:
        """From now on Ctrl-C, SIGTERM and SIGUSR1 ask to stop; on one rank a second Ctrl-C insists. Steps may
        be counted from 0 again."""
        self._asks_at, self._asked_at, self._asked = 0, 0, 0.0
        for number in SIGNALS:
            signal.signal(number, self._note)
        signal.setitimer(signal.ITIMER_REAL, 0)  # of a run before, in this process
        signal.signal(signal.SIGALRM, self._look)

    def _note(self, number: int, _: FrameType | None) -> None:
        # The same wish may come twice: from a terminal or a scheduler, and passed on by the launcher.
        self._signal = number
        if number == signal.SIGINT and self._ranks == 1:
            signal.signal(number, signal.default_int_handler)
            if sys.stderr.isatty():  # a step may last, and who hears nothing insists
                with contextlib.suppress(OSError, RuntimeError):  # it may come in the midst of another line
                    print(_INSISTING, file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_REAL, LOOKS_EVERY, LOOKS_EVERY)

    def _look(self, *_: object) -> None:
        patience = SOON if self._ranks == 1 else ORDERLY
        if self._signal and self._waits_since is not None and time.monotonic() - self._waits_since > patience:
            raise _GivenUp

    @contextlib.contextmanager
    def catching(self) -> Iterator[None]:
        """Inside, signals are caught; afterwards they do what they did before."""
        before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)}
        self.catch_signals()
        try:
            yield
        finally:
            alarm = before.pop(signal.SIGALRM)
            for number, answer in before.items():
                signal.signal(number, answer)
            signal.setitimer(signal.ITIMER_REAL, 0)  # from here on nothing sets it
            signal.signal(signal.SIGALRM, alarm)

    def waited(self, get: Callable[[], Data]) -> Data:
        """Data that the main thread waits for: a signal that asks to stop ends that, too, if not at once.

        Raises:
            Lost: it did, with the exit code that belongs to the signal.
        """
        self._waits_since = time.monotonic()
        try:
            try:
                return get()
            finally:  # from here on nobody gives up; who does until then is still met below
                self._waits_since = None
        except _GivenUp:
            signal.setitimer(signal.ITIMER_REAL, 0)
            name = signal.Signals(self._signal).name
            told = f"{name} came, and data that were waited for did not: the same command goes on"
            raise Lost(told, self.exit_code) from None

    def before(self, step: int) -> bool:
        """Whether any rank was asked to stop; the same answer on all ranks, asked at every step."""
        asked = bool(self._signal) if self._ranks == 1 else step >= self._asks_at and self._agree(step)
        if asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return asked

    def _agree(self, step: int) -> bool:
        now = time.monotonic()
        seconds_per_step = (now - self._asked) / max(step - self._asked_at, 1) if self._asked else SOON
        agreed, slowest = self._largest([float(self._signal), seconds_per_step])
        self._asks_at = step + min(MOST_STEPS, max(1, int(SOON / max(slowest, 1e-6))))
        self._asked_at, self._asked = step, now
        if agreed:  # else one may have come in the meantime, and is told at the next agreement
            self._signal = int(agreed)
        return bool(agreed)

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that ended as this one: 128 plus the signal, or 0."""
        return 128 + self._signal if self._signal else 0


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Ends one of several processes with the code of what is inside, without taking the interpreter apart.

    Now and then a process that had finished was aborted while its interpreter was taken apart ("terminate
    called without an active exception", in a thread without a line of Python: probably one of the group of
    processes). The run then counts as failed, and the launcher starts the rank again.
    """
    try:
        yield
    except SystemExit as end:
        if os.environ.get("WORLD_SIZE", "1") == "1" or not isinstance(end.code, int):
            raise
        atexit._run_exitfuncs()
        _flush()
        os._exit(end.code)


def leave_at_once(code: int) -> NoReturn:
    """Ends this process from any thread, whatever the others wait for: also who reads what it told."""
    try:
        flushing = threading.Thread(target=_flush, daemon=True)
        flushing.start()
        flushing.join(FLUSHING)
    finally:
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # also one that is closed, or none
            stream.flush()

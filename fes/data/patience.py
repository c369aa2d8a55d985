"""Tells, while something is waited for, that it does not come."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Awaited = TypeVar("Awaited")


class Watchdog(Generic[Awaited]):
    """A thread that speaks up after `patience` seconds of waiting, and again whenever these have doubled.

    A context manager; outside of it there is no thread.
    """

    def __init__(self, patience: float, tell: Callable[[Awaited, float], None]) -> None:
        """`tell` is called, in the thread, with what is waited for and for how many seconds."""
        self._patience, self._tell = patience, tell
        self._waiting: tuple[Awaited, float] | None = None
        self._closed = threading.Event()

    def __enter__(self) -> "Watchdog[Awaited]":
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # The thread is not waited for: whoever collects garbage may be this very thread.
        self._closed.set()

    def waits_for(self, awaited: Awaited) -> None:
        """The waiting begins."""
        self._waiting = awaited, time.monotonic()

    def has_it(self) -> None:
        """The waiting is over."""
        self._waiting = None

    def _watch(self) -> None:
        heard, patience = None, self._patience
        pause = patience
        while not self._closed.wait(min(pause, threading.TIMEOUT_MAX)):
            waiting = self._waiting
            if waiting is not heard:
                heard, patience = waiting, self._patience
            if waiting is None:
                pause = patience
                continue
            awaited, since = waiting
            if time.monotonic() - since >= patience:
                self._tell(awaited, patience)
                patience *= 2
            pause = max(0.0, since + patience - time.monotonic())

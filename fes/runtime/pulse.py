"""What the main thread of a rank is at: noted by it, and read by the thread that tells the other ranks."""

import contextlib
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

UNTRIED = 600.0
"""Seconds that anything may take in the first steps: kernels are compiled, algorithms tried."""
FIRST = 8
"""Steps that are the first: each player has had its turn, unless it has very few."""
RECENT = 32
SLOWER = 10.0
"""How many times the longest of the recent steps one may take before the ranks count as hanging."""


class Beat(NamedTuple):
    """What a main thread was at."""

    step: int
    """The step that it takes, or that is next."""
    moves: int
    """Another number whenever it has gone on."""
    expected_soon: bool
    """Whether it is in a training step, or in an exchange between ranks. All else may take hours: reading,
    decoding, saving, evaluating."""
    patience: float
    """Seconds that it may be expected for."""
    place: str
    """Where it stands: file, line and function."""


class Pulse:
    """The notes of one main thread."""

    def __init__(self) -> None:
        self._step = self._moves = self._taken = 0
        self._expected_soon = False
        self._began: float | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)

    def begins(self) -> None:
        """A run begins: its first steps may take as long as first ones do."""
        self._taken, self._began = 0, None
        self._recent.clear()

    def reaches(self, step: int) -> None:
        """What precedes a step begins: data, and what is due between two steps."""
        self._step = step
        if self._began is not None:
            self._taken += 1
            if self._taken > FIRST:
                self._recent.append(time.monotonic() - self._began)
        self._began = None
        self._move(expected_soon=False)

    def takes_step(self) -> None:
        """The step itself begins; it lasts until the next one is reached."""
        self._began = time.monotonic()
        self._move(expected_soon=True)

    @contextlib.contextmanager
    def among_ranks(self) -> Iterator[None]:
        """Inside, ranks exchange something."""
        before = self._expected_soon
        self._move(expected_soon=True)
        yield
        self._move(expected_soon=before)

    def beat(self) -> Beat:
        """Where the main thread is now; asked for by another one."""
        patience = SLOWER * max(self._recent) if self._recent else UNTRIED
        return Beat(self._step, self._moves, self._expected_soon, patience, _place())

    def _move(self, expected_soon: bool) -> None:
        self._expected_soon = expected_soon
        self._moves += 1


def _place() -> str:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    if frame is None:
        return "its end"
    file = os.sep.join(Path(frame.f_code.co_filename).parts[-3:])
    return f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"


def stragglers(beats: Mapping[int, Beat]) -> list[int]:
    """Of ranks that do not go on, those that most likely keep the others; empty where none stands out.

    They have come less far than others; or, in the same step, stand elsewhere than most.
    """
    first = min(beat.step for beat in beats.values())
    behind = [rank for rank, beat in beats.items() if beat.step == first]
    if len(behind) < len(beats):
        return behind
    (place, count), *_ = Counter(beat.place for beat in beats.values()).most_common(1)
    return [rank for rank, beat in beats.items() if beat.place != place] if 2 * count > len(beats) else []

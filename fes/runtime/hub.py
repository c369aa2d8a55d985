"""Where rank 0 hears all ranks, itself included, and finds out which of them is gone or hangs.

Every few seconds it asks each rank for a beat: one short message each way, so that hundreds of ranks cost no
more than some packets. What it finds is a fate, the code with which all ranks leave.
"""

import selectors
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fes.errors import Lost
from fes.runtime.links import Wire
from fes.runtime.pulse import Beat, stragglers

LOST = Lost.code
"""The exit code of ranks that leave because of another one."""
FAULT = 1
"""That of ranks that leave because of a fault of the program on another one, as that one's."""
TURNS = 6
"""Beats in the time after which a silent rank counts as gone."""
SETTLING = 0.3
"""Seconds from the end of a rank that said no goodbye to the judgement: where all are being killed, or
several, that shows in between."""
PARTING = 2.0
"""Seconds that ranks have to hear their fate before this process may end."""
MOST_NAMED = 4

GO_ON = "and the same command goes on from the newest state"
LOOK = "look at its traceback first"


def seconds_between_beats(timeout: float) -> float:
    """How often a rank is asked, given the seconds after which a silent one counts as gone."""
    return min(5.0, timeout / TURNS)


@dataclass(frozen=True)
class Fate:
    """How all ranks end, and what there is to tell about it."""

    code: int
    sentence: str | None = None


@dataclass
class _Heard:
    """What is known of one rank."""

    wire: Wire
    beat: Beat | None = None
    missed: int = 0
    """Questions without an answer. Counted rather than timed: where this very process, or the whole machine,
    stood still for an hour, nobody is blamed for it."""
    ended: str | None = None
    """How it ended, where it said no goodbye."""
    again: bool = True
    """Whether it may do better when all are started again."""
    parted: bool = False
    """Whether nothing more is to be heard of it."""


class Hub:
    """The hearing thread of rank 0."""

    def __init__(
        self, wires: Mapping[int, Wire], names: Sequence[str], timeout: float, say: Callable[[str], None]
    ) -> None:
        """
        Args:
            names: of the ranks, for people.
            timeout: seconds after which a silent rank counts as gone.
            say: is called with the one sentence that is told, in the thread.
        """
        self.fate: Fate | None = None
        self._ranks = {rank: _Heard(wire) for rank, wire in wires.items()}
        self._names, self._timeout, self._say = names, timeout, say
        self._interval = seconds_between_beats(timeout)
        self._moves: list[int] = []
        self._still = 0.0
        self._selector = selectors.DefaultSelector()
        for rank, heard in self._ranks.items():
            heard.wire.link.setblocking(False)
            self._selector.register(heard.wire.link, selectors.EVENT_READ, rank)
        self._thread = threading.Thread(target=self._hear_all, name="hub", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Until all ranks have said goodbye, or have been told their fate."""
        self._thread.join(seconds)

    def _hear_all(self) -> None:
        while self.fate is None and not all(heard.parted for heard in self._ranks.values()):
            for heard in self._ranks.values():
                heard.missed += 1
                heard.wire.send({"ask": None})
            if self._listen(self._interval) and not self.fate:
                time.sleep(SETTLING)
                self._drain()
            self.fate = self.fate or self._lost() or self._hung()
        if self.fate:
            self._pronounce(self.fate)

    def _listen(self, seconds: float) -> bool:
        """Hears what comes in some seconds; ends early, with True, where it calls for a judgement."""
        deadline = time.monotonic() + seconds
        known = self._ended()
        while True:
            left = max(0.0, deadline - time.monotonic())
            self._drain(left)
            if self.fate or self._ended() != known:
                return True
            if not left or all(heard.parted for heard in self._ranks.values()):
                return False

    def _drain(self, patience: float = 0.0) -> None:
        while events := self._selector.select(patience):
            for key, _ in events:
                self._hear(self._ranks[key.data])
            patience = 0.0

    def _hear(self, heard: _Heard) -> None:
        try:
            messages = heard.wire.receive()
        except BlockingIOError:
            return  # woken up for nothing
        except OSError:
            if not heard.parted:
                heard.ended = heard.ended or "the process has ended"
            self._part(heard)
            return
        heard.missed = 0
        for message in messages:
            self._take(heard, message)

    def _take(self, heard: _Heard, message: dict[str, Any]) -> None:
        if "beat" in message:
            heard.beat = Beat(*message["beat"])
            return
        heard.wire.send({"heard": None})
        if "fault" in message:
            heard.ended, heard.again = f"it ended with {message['fault']}", message["again"]
        elif message["goodbye"]:
            self.fate = Fate(message["goodbye"])
        self._part(heard)

    def _part(self, heard: _Heard) -> None:
        if not heard.parted:
            heard.parted = True
            self._selector.unregister(heard.wire.link)
            heard.wire.close()

    def _ended(self) -> dict[int, str]:
        return {rank: heard.ended for rank, heard in self._ranks.items() if heard.ended}

    def _lost(self) -> Fate | None:
        silent = f"no sign of life for {self._timeout:g} s"
        silence = {
            r: silent for r, heard in self._ranks.items() if not heard.parted and heard.missed >= TURNS
        }
        gone = {**silence, **self._ended()}
        again = any(self._ranks[rank].again for rank in gone)
        return Fate(LOST if again else FAULT, sentence_on_lost(self._names, gone, again)) if gone else None

    def _hung(self) -> Fate | None:
        beats = {rank: heard.beat for rank, heard in self._ranks.items() if not heard.parted and heard.beat}
        moves = [beat.moves for beat in beats.values()]
        self._still = self._still + self._interval if moves == self._moves else 0.0
        self._moves = moves
        if not beats or not all(beat.expected_soon for beat in beats.values()):
            return None
        if self._still < max(self._timeout, *(beat.patience for beat in beats.values())):
            return None
        return Fate(LOST, sentence_on_hung(self._names, beats, self._still))

    def _pronounce(self, fate: Fate) -> None:
        if fate.sentence:
            self._say(fate.sentence)
        for heard in self._ranks.values():
            heard.wire.send({"leave": fate.code})
        deadline = time.monotonic() + PARTING
        # Each hangs up when it has heard. Were this process to end first, its fate could be lost on the way.
        while any(not heard.parted and heard.missed < TURNS for heard in self._ranks.values()):
            if time.monotonic() > deadline:
                return
            self._listen(0.1)


def sentence_on_lost(names: Sequence[str], gone: Mapping[int, str], again: bool = True) -> str:
    """Tells which ranks are gone, from the reasons by rank, and whether to start them again."""
    reasons = " or ".join(dict.fromkeys(gone.values()))
    who = f"{_named(names, list(gone))} {'are' if len(gone) > 1 else 'is'} gone"
    return f"{who}: {reasons}; the others leave, {GO_ON if again else LOOK}"


def sentence_on_hung(names: Sequence[str], beats: Mapping[int, Beat], seconds: float) -> str:
    """Tells which ranks keep the others, from where all of them have stood for some seconds."""
    behind = stragglers(beats)
    first = behind[0] if behind else min(beats)
    who = f"{_named(names, behind)} hang{'s' * (len(behind) == 1)}" if behind else "all ranks hang"
    where = f"in step {beats[first].step} at {beats[first].place}"
    about = f"rank {first} for {seconds:.0f} s" if len(behind) != 1 else f"for {seconds:.0f} s"
    return f"{who}, {about} {where}; all leave, {GO_ON}"


def _named(names: Sequence[str], ranks: Sequence[int]) -> str:
    named = [names[rank] for rank in ranks[:MOST_NAMED]]
    if len(ranks) > MOST_NAMED:
        named.append(f"{len(ranks) - MOST_NAMED} others")
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)

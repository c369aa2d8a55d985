"""Each rank's sign of life, and how it leaves when another has none or does not go on.

A thread answers rank 0's questions (`fes.runtime.hub`) while the main thread trains. Where that waits for
ever in a collective of which a rank is missing, the thread ends the process.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch.distributed

from fes.errors import InputError
from fes.runtime.hub import LOST, PARTING, SETTLING, TURNS, Hub, seconds_between_beats, sentence_on_lost
from fes.runtime.links import Meeting, Wire, accept, connect
from fes.runtime.pulse import Pulse
from fes.runtime.stopping import leave_at_once
from fes.telling import tell


def join_heartbeats(
    rank: int,
    names: Sequence[str],
    server: socket.socket | None,
    meeting: Meeting,
    timeout: float,
    pulse: Pulse,
    program: str,
    speaks: bool,
) -> "Heartbeat":
    """This rank's heartbeat; all ranks have to join.

    Args:
        names: of all ranks, for people.
        server: on rank 0, where the others connect to.
        timeout: seconds after which a silent rank counts as gone.
        program: begins what is told.
        speaks: whether this rank tells where rank 0 is gone.

    Raises:
        InputError: it cannot reach rank 0; on rank 0, not all have come.
    """

    def say(sentence: str) -> None:
        tell(f"{program}: {sentence}")

    if server is None:
        own, hub = connect(meeting, rank, os.environ["MASTER_ADDR"]), None
    else:
        links = accept(server, meeting, len(names))
        own, other = socket.socketpair()
        hub = Hub({each: Wire(link) for each, link in {0: other, **links}.items()}, names, timeout, say)
    return Heartbeat(Wire(own), pulse, timeout, hub, names[0], say if speaks else lambda _: None)


@contextlib.contextmanager
def limited(seconds: float, sentence: str) -> Iterator[None]:
    """Ends this process, with a sentence, where what is inside takes longer; it may be stuck in C code."""

    def give_up() -> None:
        tell(f"train.py: {sentence}")
        leave_at_once(LOST)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


GRACE = 3.0
"""Seconds for a main thread to close its files, where it leaves by itself."""


class Heartbeat:
    """The thread of one rank. A context manager around what ranks do together."""

    def __init__(
        self,
        wire: Wire,
        pulse: Pulse,
        timeout: float,
        hub: Hub | None,
        first: str,
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            wire: to the hub.
            pulse: the notes of this rank's main thread.
            timeout: seconds after which a silent hub counts as gone, with its rank.
            hub: on rank 0, the hub itself.
            first: the name of rank 0, for people.
            say: is called with what to tell where the hub is gone.
        """
        self._wire, self._pulse, self._timeout = wire, pulse, timeout
        self._hub, self._first, self._say = hub, first, say
        self._code: int | None = None
        self._answered = threading.Event()
        wire.link.settimeout(seconds_between_beats(timeout))

    def __enter__(self) -> "Heartbeat":
        threading.Thread(target=self._answer_all, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None or issubclass(kind, SystemExit):
            self._part({"goodbye": 0})
            if self._hub and self._hub.fate:
                self._leave(self._hub.fate.code)
        elif issubclass(kind, InputError):
            self._part({"goodbye": error.code})  # it is told by this rank: the others leave without a word
        elif issubclass(kind, KeyboardInterrupt):
            self._part({"goodbye": 130})
        else:
            if _is_about_another_rank(error):
                self._answered.wait(self._timeout + 2 * seconds_between_beats(self._timeout) + SETTLING)
            self._part({"fault": kind.__name__, "again": _may_be_gone_next_time(error)})

    def _part(self, message: dict[str, Any]) -> None:
        """Ends this rank's part in an orderly way, unless there is a fate to meet."""
        if self._code is None:
            self._wire.send(message)
            self._answered.wait()
        if self._code is not None:
            self._leave(self._code)
        if self._hub:
            self._hub.wait()

    def _answer_all(self) -> None:
        missed = 0
        while missed < TURNS:
            try:
                messages = self._wire.receive()
            except TimeoutError:
                missed += 1
            except OSError:
                time.sleep(SETTLING)
                return self._mourn("the process has ended")
            else:
                missed = 0
                for message in messages:
                    if self._answer(message):
                        return None
        self._wire.send({"goodbye": LOST})  # should it wake up once more
        return self._mourn(f"no sign of life for {self._timeout:g} s")

    def _answer(self, message: dict[str, Any]) -> bool:
        """Does what the hub asks; whether that was the last it asks."""
        if "ask" in message:
            self._wire.send({"beat": self._pulse.beat()})
            return False
        self._wire.close()
        if "leave" in message:
            self._meet(message["leave"])
        self._answered.set()
        return True

    def _mourn(self, reason: str) -> None:
        """The hub is gone: nobody knows of all ranks any more."""
        self._wire.close()
        self._say(sentence_on_lost([self._first], {0: reason}))
        self._meet(LOST)

    def _meet(self, code: int) -> None:
        self._code = code
        self._answered.set()
        time.sleep(GRACE)
        self._leave(code)

    def _leave(self, code: int) -> None:
        if self._hub:
            self._hub.wait(PARTING + 1.0)
        # Not by an exception: where a rank is missing, the end of a group of processes may wait for it.
        leave_at_once(code)


def _may_be_gone_next_time(error: BaseException | None) -> bool:
    """Whether an exception tells of the machine or of the network, rather than of the program."""
    if "device-side assert" in str(error):
        return False  # a wrong index, which would come again
    device = getattr(torch, "AcceleratorError", torch.distributed.DistError)
    return _is_about_another_rank(error) or isinstance(error, device)


def _is_about_another_rank(error: BaseException | None) -> bool:
    """Whether an exception tells that a collective is broken."""
    # gloo has no exception of its own.
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)

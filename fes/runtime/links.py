"""The connections of all ranks to the first one, over which they say that they live.

Connections of their own, beside the process group's: a main thread that waits in a collective holds the
locks of the group's store.
"""

import contextlib
import json
import os
import secrets
import socket
import time
import weakref
from dataclasses import dataclass
from typing import Any

from fes.errors import InputError

MEETING = 60.0
"""Seconds for all ranks to connect, once they know where."""
_STRANGER = 5.0
"""Seconds that somebody may take to say who he is."""
_TOKEN_BYTES = 16
_RANK_DIGITS = 8
_WELCOME = b"w"


@dataclass(frozen=True)
class Meeting:
    """What a rank needs to know to connect."""

    port: int
    token: str
    """Tells ranks of this run from others who find the port."""


def listen(ranks: int) -> tuple[socket.socket, Meeting]:
    """Where ranks can connect to this one."""
    if socket.has_dualstack_ipv6():
        server = socket.create_server(("", 0), family=socket.AF_INET6, backlog=ranks, dualstack_ipv6=True)
    else:
        server = socket.create_server(("", 0), backlog=ranks)
    return server, Meeting(server.getsockname()[1], secrets.token_hex(_TOKEN_BYTES))


def connect(meeting: Meeting, rank: int, host: str, patience: float = MEETING) -> socket.socket:
    """This rank's connection; raises `InputError` where there can be none."""
    try:
        link = socket.create_connection((host, meeting.port), timeout=patience)
        with contextlib.ExitStack() as unless_welcome:
            unless_welcome.enter_context(link)
            link.sendall(f"{meeting.token}{rank:{_RANK_DIGITS}d}".encode())
            if link.recv(len(_WELCOME)) != _WELCOME:
                raise ConnectionResetError("somebody else listens there")
            unless_welcome.pop_all()
    except OSError as error:
        raise InputError(
            f"cannot reach rank 0 at {host}, port {meeting.port} ({error}): let the machines of the run "
            "reach one another at all ports"
        ) from None
    return link


def accept(
    server: socket.socket, meeting: Meeting, ranks: int, patience: float = MEETING
) -> dict[int, socket.socket]:
    """Connections by rank, of all but this one, the first; nobody can connect from then on.

    Raises:
        InputError: not all have come; each of those knows the reason.
    """
    links: dict[int, socket.socket] = {}
    deadline = time.monotonic() + patience
    with server:
        while len(links) < ranks - 1 and time.monotonic() < deadline:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            with contextlib.suppress(OSError):
                link, _ = server.accept()
                rank = _rank_of(link, meeting)
                if rank is not None:
                    links[rank] = link
    missing = [str(rank) for rank in range(1, ranks) if rank not in links]
    if missing:
        raise InputError(f"rank{'s' * (len(missing) > 1)} {', '.join(missing)} did not connect to rank 0")
    return links


def _rank_of(link: socket.socket, meeting: Meeting) -> int | None:
    link.settimeout(_STRANGER)
    expected = 2 * _TOKEN_BYTES + _RANK_DIGITS
    said = b""
    with contextlib.suppress(OSError):
        while len(said) < expected and (more := link.recv(expected - len(said))):
            said += more
        if len(said) == expected and secrets.compare_digest(said[: 2 * _TOKEN_BYTES], meeting.token.encode()):
            link.sendall(_WELCOME)
            return int(said[2 * _TOKEN_BYTES :])
    link.close()
    return None


class Wire:
    """Short messages over a connection: json, one a line."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._begun = b""
        _OPEN.add(self)

    def send(self, message: Any) -> None:
        """Sends, or does not: who is not there any more does not answer, and is found by that."""
        with contextlib.suppress(OSError):
            self.link.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[Any]:
        """The messages that have come, at least a part of one.

        Raises:
            TimeoutError: nothing came in the connection's time.
            ConnectionError: it is closed.
        """
        more = self.link.recv(65536)
        if not more:
            raise ConnectionResetError("closed")
        *lines, self._begun = (self._begun + more).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Hangs up."""
        with contextlib.suppress(OSError):  # else processes that were forked would keep the line
            self.link.shutdown(socket.SHUT_RDWR)
        self.link.close()


_OPEN: "weakref.WeakSet[Wire]" = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """Processes that read ahead outlive a killed parent for seconds, and its end must show at once."""
    for wire in _OPEN:
        wire.link.close()


os.register_at_fork(after_in_child=_leave_to_the_parent)

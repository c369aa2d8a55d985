"""Where the ranks of one attempt of a job find one another.

A launcher that starts ranks again gives them the same store, in which the addresses of those before them
still stand; torch takes them for new, and the ranks wait for the dead (pytorch #135712, #167288). Here rank 0
gives each attempt a name. Ranks have it from a live rank 0 alone, and look for addresses under that name.

The connections over which they have it stay until the group of processes stands (`Gathering`): who dies in
between leaves no address, and the others would wait for it for as long as ranks ever wait.

A launcher that is told to end while it starts its ranks leaves them alone: torchrun knows of them once all
have begun. They find that nobody listens at the store that it held, and leave as well; where the launcher of
another machine holds it, or one that came after holds one at the same port, they cannot know.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from torch.distributed import DistError, PrefixStore, Store, register_rendezvous_handler, rendezvous

from fes.errors import InputError
from fes.runtime.hub import LOST
from fes.runtime.links import Meeting, accept, connect, listen
from fes.runtime.stopping import leave_at_once
from fes.telling import tell

METHOD = "fes://"
"""What makes torch's process group look here, as its `init_method`."""
_KEY = "fes/meeting"
_PAUSE = 0.1
_THROUGH = b"t"
_gatherings: list["Gathering"] = []
"""That of this process, while it lasts: torch makes its group of processes, and hands nothing on."""
JOINING = timedelta(minutes=30)
"""How long the first ranks wait for the last: images are pulled, indices fetched."""
REFUSED = 5.0
"""Seconds for which a launcher's store may refuse a rank, and between two looks: it stood before the rank
began."""


def _store_of_this_attempt(_url: str, timeout: timedelta, **_: Any) -> Iterator[tuple[Store, int, int]]:
    try:
        with _leaving_with_the_store():
            store, rank, ranks = next(rendezvous("env://", timeout=JOINING))
            name, links = _name_attempt(store, ranks) if rank == 0 else _ask_name(store, rank)
    except DistError as error:
        raise InputError(
            f"the processes did not all come together within {JOINING.seconds // 60} minutes "
            f"({' '.join(str(error).split())}): look whether all were started, and reach "
            f"{os.environ.get('MASTER_ADDR')}, port {os.environ.get('MASTER_PORT')}"
        ) from None
    store.set_timeout(timeout)
    _gatherings.append(Gathering(links, leave))
    yield PrefixStore(name, store), rank, ranks


@contextlib.contextmanager
def _leaving_with_the_store() -> Iterator[None]:
    """Inside, a rank leaves where nobody listens at its launcher's store: torch would try for as long as
    ranks may take to join."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        yield
        return
    place, over = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), threading.Event()
    threading.Thread(target=_watch, args=(place, over), name="store", daemon=True).start()
    try:
        yield
    except DistError:
        over.set()
        _leave_if_refused(place, threading.Event())
        raise
    finally:
        over.set()


def _watch(place: tuple[str, int], over: threading.Event) -> None:
    while not over.is_set():
        _leave_if_refused(place, over)
        over.wait(REFUSED)


def _leave_if_refused(place: tuple[str, int], over: threading.Event) -> None:
    if not _refuses(place):
        return
    deadline = time.monotonic() + REFUSED
    while time.monotonic() < deadline:
        time.sleep(_PAUSE)
        if over.is_set() or not _refuses(place):
            return
    host, port = place
    leave(
        f"nobody listens at {host}, port {port}, where the launcher of this process should: it has ended, or "
        "the name means another machine here"
    )


def _refuses(place: tuple[str, int]) -> bool:
    """Whether a machine answers that nobody listens there. One that does not answer may do so yet."""
    try:
        socket.create_connection(place, timeout=REFUSED, all_errors=True).close()
    except ExceptionGroup as errors:  # one for each address of the name
        return bool(errors.subgroup(ConnectionRefusedError)) and not errors.subgroup(TimeoutError)
    except (OSError, UnicodeError):  # the name has none, for now
        pass
    return False


def _name_attempt(store: Store, ranks: int) -> tuple[str, list[socket.socket]]:
    server, meeting = listen(ranks)
    store.set(_KEY, f"{meeting.port} {meeting.token}")
    links = accept(server, meeting, ranks, JOINING.total_seconds())
    return meeting.token, list(links.values())


def _ask_name(store: Store, rank: int) -> tuple[str, list[socket.socket]]:
    deadline = time.monotonic() + JOINING.total_seconds()
    while True:
        port, token = store.get(_KEY).decode().split()  # maybe of an attempt before this one
        try:
            return token, [connect(Meeting(int(port), token), rank, os.environ["MASTER_ADDR"])]
        except InputError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


class Gathering:
    """The links of a rank to those it met, kept until it knows that all have come through.

    Rank 0 has a link to each, the others one to rank 0: where one breaks, both sides leave, and so do all.
    """

    def __init__(self, links: Sequence[socket.socket], leave: Callable[[], None]) -> None:
        """`leave` is called, in a thread, where a rank is gone that had not come through."""
        self._links, self._leave, self._over = list(links), leave, False
        for link in self._links:
            _notice_silence(link)
        threading.Thread(target=self._watch, name="gathering", daemon=True).start()

    def end(self) -> None:
        """This rank has come through; what becomes of the others is no longer asked here."""
        self._over = True
        for link in self._links:
            with contextlib.suppress(OSError):
                link.sendall(_THROUGH)

    def _watch(self) -> None:
        with selectors.DefaultSelector() as waiting, contextlib.ExitStack() as closing:
            for link in self._links:
                waiting.register(closing.enter_context(link), selectors.EVENT_READ)
            while waiting.get_map():
                for key, _ in waiting.select():
                    waiting.unregister(key.fileobj)
                    if not _came_through(key.fileobj) and not self._over:
                        self._leave()


def _notice_silence(link: socket.socket) -> None:
    """Makes a link break within a minute where the machine at its other end is cut off."""
    link.setblocking(True)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _came_through(link: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return link.recv(len(_THROUGH)) == _THROUGH
    return False


def leave(why: str = "a process ended before all had met: the others leave") -> None:
    """Ends this process as one that is to be started again."""
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one on each machine tells
        tell(f"train.py: {why}; the same command begins again")
    leave_at_once(LOST)


def end_gathering() -> None:
    """The group of processes stands on this rank."""
    while _gatherings:
        _gatherings.pop().end()


with contextlib.suppress(RuntimeError):  # it is registered
    register_rendezvous_handler(METHOD.removesuffix("://"), _store_of_this_attempt)

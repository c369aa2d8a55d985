"""Where the ranks of one attempt of a job find one another.

A launcher that starts ranks again gives them the same store, in which the addresses of those before them
still stand; torch takes them for new, and the ranks wait for the dead (pytorch #135712, #167288). Here rank 0
gives each attempt a name. Ranks have it from a live rank 0 alone, and look for addresses under that name.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from torch.distributed import DistError, PrefixStore, Store, register_rendezvous_handler, rendezvous

from fes.errors import InputError
from fes.runtime.links import Meeting, accept, connect, listen

METHOD = "fes://"
"""What makes torch's process group look here, as its `init_method`."""
_KEY = "fes/meeting"
_PAUSE = 0.1
JOINING = timedelta(minutes=30)
"""How long the first ranks wait for the last: images are pulled, indices fetched."""


def _store_of_this_attempt(_url: str, timeout: timedelta, **_: Any) -> Iterator[tuple[Store, int, int]]:
    try:
        store, rank, ranks = next(rendezvous("env://", timeout=JOINING))
        name = _name_attempt(store, ranks) if rank == 0 else _ask_name(store, rank)
    except DistError as error:
        raise InputError(
            f"the processes did not all come together within {JOINING.seconds // 60} minutes "
            f"({' '.join(str(error).split())}): look whether all were started, and reach "
            f"{os.environ.get('MASTER_ADDR')}, port {os.environ.get('MASTER_PORT')}"
        ) from None
    store.set_timeout(timeout)
    yield PrefixStore(name, store), rank, ranks


def _name_attempt(store: Store, ranks: int) -> str:
    server, meeting = listen(ranks)
    store.set(_KEY, f"{meeting.port} {meeting.token}")
    for link in accept(server, meeting, ranks, JOINING.total_seconds()).values():
        link.close()
    return meeting.token


def _ask_name(store: Store, rank: int) -> str:
    deadline = time.monotonic() + JOINING.total_seconds()
    while True:
        port, token = store.get(_KEY).decode().split()  # maybe of an attempt before this one
        try:
            connect(Meeting(int(port), token), rank, os.environ["MASTER_ADDR"]).close()
        except InputError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return token


with contextlib.suppress(RuntimeError):  # it is registered
    register_rendezvous_handler(METHOD.removesuffix("://"), _store_of_this_attempt)

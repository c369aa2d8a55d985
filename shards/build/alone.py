"""One writer at a time in a folder of shards: builds, indexes and repairs lock it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fes.errors import InputError


@contextlib.contextmanager
def alone_in(folder: Path, instead: str = "") -> Iterator[None]:
    """Holds a lock on the folder, which the system takes back from a process that ends in whatever way.

    A folder that cannot be opened is not held, nor one on a disk that knows no locks: whoever goes on with it
    tells what is wrong. Raises InputError where another holds it; `instead` is what to do but wait.
    """
    with _locked(folder, fcntl.LOCK_EX) as free:
        if not free:
            raise InputError(f"another fes-shards is writing to {folder}: wait for it{instead}")
        yield


def is_written(folder: Path) -> bool:
    """Whether a build, an index or a repair is at work in a folder."""
    with _locked(folder, fcntl.LOCK_SH) as free:  # shared: who asks is not to be taken for one who writes
        return not free


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Whether nobody stands in the way of such a lock, which is held meanwhile."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        yield _lock(handle, how)
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk that knows no locks
        return True
    return True

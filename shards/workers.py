"""Spreads work over processes, in order; each has whatever all of it needs from its start."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from fes.errors import InputError

_FORKS = multiprocessing.get_context("fork")
"""How they start, whatever Python starts others by: a forked process has the whole source of a data set
without its being pickled and sent. It reads, decodes and compresses, and waits for no lock that another
thread of the parent may hold at that time."""
Job, Item, Result = TypeVar("Job"), TypeVar("Item"), TypeVar("Result")


def spread(
    work: Callable[[Job, Item], Result], job: Job, items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """The results of `work(job, item)`, in the order of the items; in this process where one is enough.

    Raises whatever `work` raises, and InputError where a process is killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        with _scarcity_told():
            yield from (work(job, item) for item in items)
        return
    with (
        _scarcity_told(),
        ProcessPoolExecutor(workers, mp_context=_FORKS, initializer=_take, initargs=(work, job)) as pool,
    ):
        try:
            yield from pool.map(_work, items)
        finally:
            pool.shutdown(cancel_futures=True)


_taken: tuple[Callable, object]  # what a worker process does, given to it once rather than with every item


def _take(work: Callable, job: object) -> None:
    global _taken
    _taken = work, job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()


def _leave_with_the_parent() -> None:
    """A parent that is killed tells nobody: without this its workers would wait for more work for ever.

    Asking for the parent's number would be too late where it is killed before this process first asks.
    """
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(item: object) -> object:
    work, job = _taken
    return work(job, item)


@contextlib.contextmanager
def _scarcity_told() -> Iterator[None]:
    try:
        yield
    except (BrokenProcessPool, MemoryError) as error:
        killed = "a worker process was killed, most likely for lack of memory"
        trouble = killed if isinstance(error, BrokenProcessPool) else "there is not enough memory"
        raise InputError(
            f"{trouble}: run the same command again, with fewer --workers if it has that flag"
        ) from error

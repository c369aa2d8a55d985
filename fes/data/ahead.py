"""Processes that read ahead: what they find is handed over in order, and what they wait for is known.

Pictures are handed over in memory that is laid out once. Tensors sent through a queue would cost as much
time as reading small pictures that are decoded already.
"""

import atexit
import ctypes
import itertools
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import RawArray
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from fes.data.patience import Watchdog
from fes.errors import InputError, Lost
from fes.machine import cores

AHEAD = 4  # steps that each process may be ahead
LOOKS_EVERY = 0.1
"""Seconds between a process's looks at whether it is still needed."""
FORK = "fork"
"""How processes that read ahead start, whatever Python starts others by. Such a process answers signals from
its first moment, as the trainer does; nothing that it reads has to be pickled; and no server of Python's,
which a scheduler's signals would end, is needed. It touches neither GPUs, whose context does not survive a
fork, nor locks that another thread of the trainer may hold at that time."""

Note = Callable[[int, int], None]
"""Is called with the numbers of a data set and of its shard before that is read."""


class Stall(NamedTuple):
    """For how many seconds no batch came, from which worker (None: this process itself), and the numbers of
    the data set and the shard that it reads (None: none)."""

    seconds: float
    worker: int | None
    reads: tuple[int, int] | None


def read_ahead(
    read: Callable[[int, np.ndarray, Note], object],
    shape: tuple[int, ...],
    start: int,
    *,
    workers: int,
    patience: float,
    tell: Callable[[Stall], None],
) -> Iterator[tuple[np.ndarray, Any]]:
    """What `read` finds at the steps `start`, `start` + 1, ..., without end.

    Args:
        read: is called with a step, room for its pictures and a `Note`; fills the room and returns
            something small that pickles.
        shape: the room's, uint8.
        workers: processes that read ahead, though never more than there are cores; 0: none.
        patience: seconds without a step's result after which `tell` is called, and again at twice that,
            four times, ... It is called in another thread.

    Yields:
        The room of a step, whose content stays until the next one is asked for, and what `read` returned.

    Raises:
        InputError: `read` does.
        Lost: a process dies.
    """
    job = _Job(read, shape, start, min(workers, cores()))

    def stalled(step: int, seconds: float) -> None:
        process = job.process_of(step)
        tell(Stall(seconds, process if job.workers else None, job.log.at(process)))

    results = _in_processes(job) if job.workers else map(job.__getitem__, itertools.count(start))
    atexit.register(job.log.close)
    try:
        with Watchdog(patience, stalled) as watchdog:
            for step in itertools.count(start):
                watchdog.waits_for(step)
                result = _next(results, job.workers)
                watchdog.has_it()
                if isinstance(result, InputError):
                    raise result
                yield job.room(step), result
    finally:
        job.log.close()
        atexit.unregister(job.log.close)
        del results  # an exception keeps this frame, which must not keep the processes


class _Log:
    """What each process reads just now, and whether it is still needed, in memory that all share."""

    _NOTHING = -1
    _SHARDS = 2**32  # more than a data set has

    def __init__(self, processes: int) -> None:
        self._entries = RawArray(ctypes.c_int64, [self._NOTHING] * processes)
        self._closed = RawArray(ctypes.c_int8, 1)

    def note(self, process: int, part: int, shard: int) -> None:
        # One write, so that nobody sees half of it.
        self._entries[process] = part * self._SHARDS + shard

    def rest(self, process: int) -> None:
        self._entries[process] = self._NOTHING

    def at(self, process: int) -> tuple[int, int] | None:
        entry = self._entries[process]
        return None if entry == self._NOTHING else divmod(entry, self._SHARDS)

    def close(self) -> None:
        self._closed[0] = 1

    @property
    def closed(self) -> bool:
        return bool(self._closed[0])


class _Job(Dataset):
    """Step -> what is found there, with the pictures put where all processes see them.

    Hands over an `InputError`: raised in a worker it would arrive as a traceback.
    """

    def __init__(self, read: Callable, shape: tuple[int, ...], start: int, workers: int) -> None:
        self.workers, self.start, self._read = workers, start, read
        processes = max(workers, 1)
        # While the trainer looks at one step's pictures, a worker may be at the next of those allowed to it.
        self._shape = processes, AHEAD + 1 if workers else 1, *shape
        self._rooms = RawArray(ctypes.c_uint8, math.prod(self._shape))
        self.log = _Log(processes)

    def process_of(self, step: int) -> int:
        """Steps are dealt to the processes in turn."""
        return (step - self.start) % self._shape[0]

    def room(self, step: int) -> np.ndarray:
        turn = (step - self.start) // self._shape[0]
        rooms = np.frombuffer(self._rooms, np.uint8).reshape(self._shape)
        return rooms[self.process_of(step), turn % self._shape[1]]

    def __getitem__(self, step: int) -> object:
        process = self.process_of(step)
        try:
            return self._read(step, self.room(step), partial(self.log.note, process))
        except InputError as error:
            return error
        finally:
            self.log.rest(process)


def _in_processes(job: _Job) -> Iterator[object]:
    loader = DataLoader(
        job,
        multiprocessing_context=FORK,
        batch_size=None,
        sampler=itertools.count(job.start),
        num_workers=job.workers,
        collate_fn=_unchanged,
        worker_init_fn=partial(_serve_the_trainer, job.log),
        prefetch_factor=AHEAD,
    )
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)
    # torch would raise the death of a worker wherever the trainer happens to be; `_next` finds it as well.
    before = signal.getsignal(signal.SIGCHLD)
    results = iter(loader)
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return results


def _next(results: Iterator[object], workers: int) -> object:
    try:
        return next(results)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise Lost(
            "a process that reads ahead was killed, most likely for lack of memory or of room in /dev/shm: "
            "the same command goes on from the last state, and needs less with "
            f"--stream.workers {workers // 2}"
        ) from error


def _serve_the_trainer(log: _Log, _: int) -> None:
    """For a process that reads ahead: schedulers and terminals send their signals to it as well, and the
    trainer, which answers them, still needs its batch. When it needs no more, this process ends."""
    signal.setitimer(signal.ITIMER_REAL, 0)  # one that came before this may have been answered in here
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if log.closed else None)
    threading.Thread(target=_leave_with_the_trainer, args=(log,), daemon=True).start()


def _leave_with_the_trainer(log: _Log) -> None:
    """Who waits for a shard may do so for an hour, and the end of the trainer is told to nobody."""
    trainer = multiprocessing.parent_process()
    while trainer.is_alive() and not log.closed:
        time.sleep(LOOKS_EVERY)
    os._exit(0)


def _unchanged(result: object) -> object:
    return result

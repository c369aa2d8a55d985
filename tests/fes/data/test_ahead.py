"""Processes that read ahead: in order, told when they stall, told when they die, and gone when not needed."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fes.data.ahead import AHEAD, Note, Stall, read_ahead
from fes.errors import InputError, Lost

pytestmark = pytest.mark.alone

ROOM = 3, 1, 2, 2


class Steps:
    """Reads a step's number into its pictures; waits at the step `slow` and cannot read the step `bad`."""

    def __init__(self, slow: int = -1, seconds: float = 0.0, bad: int = -1) -> None:
        self.slow, self.seconds, self.bad = slow, seconds, bad

    def __call__(self, step: int, room: np.ndarray, note: Note) -> tuple[int, int]:
        note(1, 100 + step)
        if step == self.slow:
            time.sleep(self.seconds)
        if step == self.bad:
            raise InputError("shard-3.tar is cut short: build it again")
        room[:] = step % 256
        return step, os.getpid()


def reading(
    read: object,
    start: int = 0,
    *,
    workers: int = 2,
    patience: float = 60.0,
    tell: object = lambda stall: None,
):
    return read_ahead(read, ROOM, start, workers=workers, patience=patience, tell=tell)


def children() -> set[int]:
    return {process.pid for process in multiprocessing.active_children()}


def all_gone(pids: set[int]) -> bool:
    """Whether no such process is left, if not now then soon."""
    for _ in range(300):
        if not children() & pids:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def no_others() -> None:
    """Ends what tests before left: processes of an iterator that nothing has collected yet."""
    gc.collect()
    for process in multiprocessing.active_children():
        process.kill()
        process.join(10)


@pytest.fixture(autouse=True)
def quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch waits this long for processes that do not end by themselves; usually 5 s."""
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("start", [0, 7])
def test_steps_come_in_order_with_their_pictures(workers, start):
    with contextlib.closing(reading(Steps(), start, workers=workers)) as arriving:
        for step, (room, (found, _)) in zip(range(start, start + 300), arriving, strict=False):
            assert found == step
            assert (room.shape, room.dtype) == (ROOM, np.uint8)
            assert (room == step % 256).all()


def test_a_step_s_pictures_stay_while_processes_read_on():
    with contextlib.closing(reading(Steps(), workers=1)) as arriving:
        for step, (room, _) in zip(range(3 * AHEAD), arriving, strict=False):
            time.sleep(0.02)  # the process is at the step that it must not pass
            assert (room == step).all()


def test_processes_take_turns():
    with contextlib.closing(reading(Steps())) as arriving:
        pids = [pid for _, (_, pid) in itertools.islice(arriving, 8)]
    assert pids == pids[:2] * 4
    assert len({*pids, os.getpid()}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_input_errors_are_told_in_the_same_sentence(workers):
    with pytest.raises(InputError) as caught:
        list(reading(Steps(bad=5), workers=workers))
    assert str(caught.value) == "shard-3.tar is cut short: build it again"


@pytest.mark.parametrize(("workers", "slow"), [(0, 3), (2, 3), (2, 4)])
def test_a_stall_tells_which_process_reads_what(workers, slow):
    told = queue.Queue()
    steps = reading(Steps(slow, 0.8), workers=workers, patience=0.1, tell=told.put)
    with contextlib.closing(steps) as arriving:
        list(itertools.islice(arriving, slow + 1))
    reads = 1, 100 + slow
    # A machine under load may take its time with other steps as well.
    stalls = [stall for stall in told.queue if stall.reads == reads]
    assert stalls[0] == Stall(0.1, slow % 2 if workers else None, reads)
    assert {stall.worker for stall in stalls} == {stalls[0].worker}


def test_a_process_that_reads_nothing_is_told_so():
    told = queue.Queue()

    class Silent(Steps):
        def __call__(self, step: int, room: np.ndarray, note: Note) -> tuple[int, int]:
            time.sleep(0.3)
            return step, 0

    with contextlib.closing(reading(Silent(), workers=1, patience=0.1, tell=told.put)) as arriving:
        next(arriving)
    assert told.get_nowait() == Stall(0.1, 0, None)


def test_the_trainer_s_own_time_is_no_stall():
    told = queue.Queue()
    with contextlib.closing(reading(Steps(), workers=0, patience=0.1, tell=told.put)) as arriving:
        for _ in itertools.islice(arriving, 2):
            time.sleep(0.4)
    assert told.empty()


def test_a_process_that_is_killed_is_told_in_one_sentence():
    arriving = reading(Steps(), workers=2)
    next(arriving)
    os.kill(min(children()), signal.SIGKILL)
    time.sleep(0.1)  # its death must not be raised here, amid the trainer's work
    with pytest.raises(Lost, match=r"killed, .* /dev/shm.* goes on .* --stream\.workers 1$") as caught:
        list(itertools.islice(arriving, 100))
    assert "\n" not in str(caught.value)


def test_other_troubles_of_a_process_keep_their_traceback():
    class Faulty(Steps):
        def __call__(self, step: int, room: np.ndarray, note: Note) -> tuple[int, int]:
            raise RuntimeError("a fault of fes")

    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*a fault of fes"):
        list(reading(Faulty(), workers=1))


@pytest.mark.parametrize("how", ["closed", "forgotten", "failed"])
def test_processes_and_threads_end_with_the_iterator(how):
    arriving = reading(Steps(bad=20))
    next(arriving)
    pids = children()
    assert len(pids) == 2
    if how == "closed":
        arriving.close()
    elif how == "forgotten":
        del arriving
    else:
        with pytest.raises(InputError) as caught:
            list(arriving)
        assert caught.value.__traceback__  # which must not keep the processes
    assert all_gone(pids)
    assert [
        thread for thread in threading.enumerate() if thread.name == "watchdog" and not _ends(thread)
    ] == []


def _ends(thread: threading.Thread) -> bool:
    thread.join(2)
    return not thread.is_alive()


@pytest.mark.usefixtures("any_start_method")
def test_processes_leave_signals_to_the_trainer_however_python_starts_processes():
    with contextlib.closing(reading(Steps())) as arriving:
        for pid in [pid for _, (_, pid) in itertools.islice(arriving, 2)]:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                os.kill(pid, number)
        assert [step for _, (step, _) in itertools.islice(arriving, 40)] == list(range(2, 42))


@pytest.mark.usefixtures("any_start_method")
def test_what_processes_read_need_not_be_sent_to_them():
    class Unsent(Steps):
        def __reduce__(self) -> str:
            raise TypeError("it is pickled")

    with contextlib.closing(reading(Unsent(), workers=1)) as arriving:
        assert next(arriving)[1][0] == 0


def test_a_process_that_hangs_does_not_keep_the_iterator_open():
    arriving = reading(Steps(slow=1, seconds=600.0))
    next(arriving)
    pids = children()
    arriving.close()
    assert all_gone(pids)


def test_a_process_that_waits_for_long_ends_with_a_trainer_that_is_killed(tmp_path: Path):
    program = (
        "import itertools, time\n"
        "from fes.data.ahead import read_ahead\n"
        "def read(step, room, note):\n"
        "    print(__import__('os').getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "next(read_ahead(read, (1, 1), 0, workers=2, patience=60.0, tell=print))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as trainer:
        trainer.stdout.readline()
        trainer.kill()
        begun = time.monotonic()
        trainer.stdout.read()  # until nobody is left who could write
    assert time.monotonic() - begun < 10


def test_a_program_that_ends_amid_batches_ends(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "from fes.data.ahead import read_ahead\n"
        "def read(step, room, note):\n"
        "    return step\n"
        "if __name__ == '__main__':\n"
        "    quiet = dict(patience=60.0, tell=print)\n"
        "    arriving = read_ahead(read, (1, 1), 0, workers=2, **quiet)\n"
        "    next(arriving)\n"
        "    raise SystemExit(3)\n"
    )
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, str(program)], env=environment, timeout=60).returncode == 3


def test_no_more_processes_start_than_there_are_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with contextlib.closing(reading(Steps(), workers=9)) as arriving:
        next(arriving)
        assert len(children()) == 1

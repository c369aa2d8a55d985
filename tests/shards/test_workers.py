import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.workers import spread


def add(job: int, item: int) -> int:
    return job + item


def where(_: None, item: int) -> tuple[int, int]:
    return item, os.getpid()


def refuse(_: None, item: int) -> int:
    if item == 3:
        raise InputError("number 3 is bad: take another")
    return item


def die(_: None, item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def answer_ctrl_c(_: None, item: int) -> object:
    return signal.getsignal(signal.SIGINT)


class Unsent:
    """A job that cannot be sent to another process."""

    def __reduce__(self) -> str:
        raise TypeError("it is pickled")


def give_back(job: Unsent, item: int) -> tuple[bool, int]:
    return isinstance(job, Unsent), item


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_order_of_the_items_from_any_number_of_processes(workers: int) -> None:
    assert list(spread(add, 10, range(20), workers)) == list(range(10, 30))
    assert list(spread(add, 10, [], workers)) == []


def test_work_is_done_in_other_processes_only_where_there_is_more_than_one() -> None:
    assert {process for _, process in spread(where, None, range(9), 1)} == {os.getpid()}
    assert os.getpid() not in {process for _, process in spread(where, None, range(9), 2)}


def test_an_error_reaches_whoever_asks_for_the_results() -> None:
    results: Iterator[int] = spread(refuse, None, range(9), 2)
    with pytest.raises(InputError, match="number 3 is bad"):
        list(results)


def test_a_killed_process_is_told_in_a_sentence() -> None:
    with pytest.raises(InputError, match="a worker process was killed"):
        list(spread(die, None, range(9), 2))


def test_ctrl_c_is_left_to_the_parent() -> None:
    assert set(spread(answer_ctrl_c, None, range(4), 2)) == {signal.SIG_IGN}


@pytest.mark.usefixtures("any_start_method")
def test_what_all_work_needs_is_not_sent_to_processes_however_python_starts_them() -> None:
    assert list(spread(give_back, Unsent(), range(4), 2)) == [(True, item) for item in range(4)]


SPREAD_SLEEP = """
import os, sys, time
from shards.workers import spread

os.register_at_fork(after_in_child=lambda: time.sleep(float(sys.argv[1])))

def sleep(job, item):
    time.sleep(60)

list(spread(sleep, None, range(9), 2))
"""


def children_of(pid: int) -> list[int]:
    told = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for child in told.split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("seconds_to_start", [0, 1])  # of a worker, which the parent does not live to see
def test_workers_of_a_parent_that_is_killed_end_too(number: signal.Signals, seconds_to_start: int) -> None:
    command = [sys.executable, "-c", SPREAD_SLEEP, str(seconds_to_start)]
    parent = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    wait_until(lambda: len(children_of(parent.pid)) == 2)
    workers = children_of(parent.pid)
    parent.send_signal(number)
    parent.wait()
    wait_until(lambda: not any(map(is_running, workers)))

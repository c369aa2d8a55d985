import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
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


def sleep(_: None, item: int) -> None:
    time.sleep(60)


def spread_sleep(pids: Path) -> None:
    """Starts two workers that have much to do."""

    def children() -> list[int]:
        told = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return [int(pid) for pid in told.split()]

    threading.Thread(target=lambda: list(spread(sleep, None, range(9), 2)), daemon=True).start()
    while len(children()) < 2:
        time.sleep(0.01)
    time.sleep(0.3)
    pids.write_text(" ".join(map(str, children())))
    time.sleep(60)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_of_a_parent_that_is_killed_end_too(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("fork").Process(target=spread_sleep, args=(tmp_path / "pids",))
    parent.start()
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        time.sleep(0.01)
    workers = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(map(is_running, workers))
    parent.kill()
    parent.join()
    until = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_running, workers))

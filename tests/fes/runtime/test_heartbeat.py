"""A rank that dies or hangs is told once, by name, and the others leave; nothing else looks like that."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import torch

from fes.batch import Batch
from fes.errors import InputError, Lost, told_in_one_sentence
from fes.hardware import Hardware
from fes.runtime.heartbeat import _may_be_gone_next_time, limited
from fes.runtime.processes import Runtime
from tests.fes.launching import Ranks, started, until

pytestmark = pytest.mark.alone

TIMEOUT = 3.0


def noted(folder: Path, what: str) -> bool:
    return (folder / what).exists()


def train(folder: Path, fault: str = "", steps: int = 1_000_000, timeout: float = TIMEOUT) -> None:
    """Steps of a run, each with a collective, until something happens on rank 1, or all are told to stop."""
    torch.set_num_threads(1)
    runtime = Runtime(Hardware(rank_timeout=timeout))
    runtime.begins_run()
    batch = Batch(*(torch.zeros(1) for _ in Batch._fields))
    with told_in_one_sentence("train.py"), runtime.watched("train.py"):
        batches = runtime.placed(
            slow_at_first(batch, timeout if fault == "reads" and runtime.rank == 1 else 0.0)
        )
        for step in range(steps):
            if runtime.stopping(step):
                break
            if fault == "saves" and step == 40:
                runtime.from_main(lambda: time.sleep(2 * timeout))
            next(batches)
            if step >= 40 and runtime.rank == 1:
                happens(fault)
            runtime.mean(torch.ones(1))
            (folder / f"steps{runtime.rank}").write_text(str(step))
    runtime.close()
    raise SystemExit(runtime.exit_code)


def slow_at_first(batch: Batch, seconds: float):
    for number in range(1_000_000):
        if number == 40:
            time.sleep(2 * seconds)
        yield batch


def happens(fault: str) -> None:
    """What befalls rank 1 in a step."""
    if fault == "hangs":
        stand_still()
    if fault == "fails":
        raise MemoryError("no room")
    if fault == "damage":
        raise InputError("sample 7 is damaged")
    if fault == "lost":
        raise Lost("a process that reads ahead was killed")


def stand_still() -> None:
    time.sleep(1000)


def name_of(family: Ranks, rank: int) -> str:
    return f"rank {rank} (host {socket.gethostname()}, process {family.processes[rank].pid})"


def the_sentence(family: Ranks) -> str:
    """The only thing that was told."""
    (line,) = family.told
    assert line.startswith("train.py: ")
    return line.removeprefix("train.py: ")


LEAVE = "; the others leave, and the same command goes on from the newest state"
LOOK = "; the others leave, look at its traceback first"


@pytest.mark.parametrize(("victim", "count"), [(2, 4), (0, 3)])
def test_when_a_rank_is_killed_the_others_leave_at_once_and_one_tells(
    victim: int, count: int, tmp_path: Path
) -> None:
    with started(count, tmp_path / "told", train, tmp_path, "", 1_000_000, 60.0) as family:
        until(lambda: noted(tmp_path, "steps0"), family)
        os.kill(family.processes[victim].pid, signal.SIGKILL)
        killed = time.monotonic()
        assert family.codes(but=victim) == [134] * (count - 1)
        assert time.monotonic() - killed < 30
        assert the_sentence(family) == f"{name_of(family, victim)} is gone: the process has ended{LEAVE}"


def train_unread(folder: Path) -> None:
    """As ranks do whose launcher has ended, or `tee` behind it: who writes has nobody to read it."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, sys.stderr.fileno())
    sys.stdout = os.fdopen(writer, "w")
    print("unread")
    train(folder, timeout=60.0)


@pytest.mark.parametrize("victim", [0, 2])
def test_when_a_rank_is_killed_the_others_leave_also_where_nobody_reads_what_they_tell(
    victim: int, tmp_path: Path
) -> None:
    with started(3, tmp_path / "told", train_unread, tmp_path) as family:
        until(lambda: noted(tmp_path, "steps0"), family)
        os.kill(family.processes[victim].pid, signal.SIGKILL)
        assert family.codes(but=victim) == [134] * 2


@pytest.mark.parametrize("victim", [0, 2])
def test_a_rank_without_a_sign_of_life_is_gone(victim: int, tmp_path: Path) -> None:
    with started(3, tmp_path / "told", train, tmp_path) as family:
        until(lambda: noted(tmp_path, "steps0"), family)
        os.kill(family.processes[victim].pid, signal.SIGSTOP)
        assert family.codes(but=victim) == [134] * 2
        assert the_sentence(family) == f"{name_of(family, victim)} is gone: no sign of life for 3 s{LEAVE}"
        os.kill(family.processes[victim].pid, signal.SIGCONT)  # it wakes up, and finds the others gone
        assert family.codes() == [134] * 3
        assert len(family.told) == 1


def test_a_rank_that_hangs_in_a_step_is_told_with_the_place(tmp_path: Path) -> None:
    with started(3, tmp_path / "told", train, tmp_path, "hangs") as family:
        assert family.codes() == [134] * 3
        told = the_sentence(family)
        assert told.startswith(f"{name_of(family, 1)} hangs, for ")
        assert "in step 40 at fes/runtime/test_heartbeat.py:" in told
        assert "in stand_still; all leave" in told


@pytest.mark.parametrize("fault", ["reads", "saves"])
def test_ranks_wait_for_one_that_reads_or_saves_for_long(fault: str, tmp_path: Path) -> None:
    with started(2, tmp_path / "told", train, tmp_path, fault, 64) as family:
        assert family.codes() == [0, 0]
        assert family.told == []


def test_a_run_that_ends_tells_nothing(tmp_path: Path) -> None:
    with started(4, tmp_path / "told", train, tmp_path, "", 10) as family:
        assert family.codes() == [0] * 4
        assert family.told == []


def test_a_run_that_is_told_to_stop_tells_nothing(tmp_path: Path) -> None:
    with started(3, tmp_path / "told", train, tmp_path) as family:
        until(lambda: noted(tmp_path, "steps0"), family)
        os.kill(family.processes[1].pid, signal.SIGTERM)
        assert family.codes() == [143] * 3
        assert family.told == []


def test_where_a_rank_ends_with_an_error_the_others_leave_and_tell_it(tmp_path: Path) -> None:
    with started(3, tmp_path / "told", train, tmp_path, "fails") as family:
        assert family.codes() == [1, 1, 1]  # as it would come again: no scheduler is to repeat it
        (told,) = [line for line in family.told if line.startswith("train.py")]
        assert told == f"train.py: {name_of(family, 1)} is gone: it ended with MemoryError{LOOK}"
        assert "MemoryError: no room" in family.told


def test_where_input_of_one_rank_cannot_be_used_its_sentence_is_all_that_is_told(tmp_path: Path) -> None:
    with started(3, tmp_path / "told", train, tmp_path, "damage") as family:
        assert family.codes() == [2, 2, 2]
        assert the_sentence(family) == "sample 7 is damaged"


def test_where_one_rank_loses_what_it_cannot_do_without_all_ask_to_be_started_again(tmp_path: Path) -> None:
    with started(3, tmp_path / "told", train, tmp_path, "lost") as family:
        assert family.codes() == [134] * 3
        assert the_sentence(family) == "a process that reads ahead was killed"


def wait_for(seconds: float, limit: float) -> None:
    with limited(limit, "nothing comes through"):
        time.sleep(seconds)


def test_what_takes_longer_than_its_limit_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    with started(1, tmp_path / "too long", wait_for, 1000.0, 0.2) as family:
        assert family.codes() == [134]
        assert family.told == ["train.py: nothing comes through"]
    with started(1, tmp_path / "in time", wait_for, 0.2, 1000.0) as family:
        assert family.codes() == [0]
        assert family.told == []


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), True),
        (torch.distributed.DistNetworkError("the connection was closed"), True),
        (RuntimeError("[gloo] connection closed by peer"), True),
        (RuntimeError("index 7 is out of bounds"), False),
        (None, False),
    ],
)
def test_what_a_program_does_wrong_on_a_gpu_is_not_tried_again_and_what_breaks_is(error, again):
    assert _may_be_gone_next_time(error) == again

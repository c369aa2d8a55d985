"""Ranks that are asked to stop all do, whenever the signal comes, and soon."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from fes.errors import Lost
from fes.runtime import stopping
from fes.runtime.processes import Runtime
from fes.runtime.stopping import MOST_STEPS, SOON, Stopping
from tests.fes.launching import started, until

pytestmark = pytest.mark.alone


def count_steps(folder: Path) -> None:
    """Steps on two ranks, of which the second is slow; tells when the first is about to wait for it."""
    torch.set_num_threads(1)
    runtime = Runtime()
    runtime.begins_run()
    for step in range(1000):
        if runtime.rank == 1:
            time.sleep(0.3)
        if step == 4 and runtime.rank == 0:
            (folder / "waits").touch()
        if runtime.stopping(step):
            break
    os.write(1, b"stopped at %d\n" % step)  # at once: both write to one file
    runtime.close()
    raise SystemExit(runtime.exit_code)


def test_a_signal_that_comes_while_a_rank_waits_for_another_is_not_lost(tmp_path):
    with started(2, tmp_path / "told", count_steps, tmp_path) as ranks:
        until((tmp_path / "waits").exists, ranks)
        time.sleep(0.1)  # the other rank is asleep for longer than that
        os.kill(ranks.processes[0].pid, signal.SIGTERM)
        assert ranks.codes() == [143, 143]
        (one, other) = ranks.told
    assert one == other


@pytest.mark.parametrize(
    ("seconds_per_step", "steps"), [(1e-9, MOST_STEPS), (SOON / 10, 10), (SOON, 1), (60.0, 1)]
)
def test_ranks_ask_one_another_as_often_as_their_slowest_needs(seconds_per_step, steps):
    asked = []

    def largest(values):
        asked.append(True)
        return [values[0], seconds_per_step]

    asking = Stopping(2, largest)
    stopped = [asking.before(step) for step in range(3 * steps)]
    assert not any(stopped)
    assert len(asked) == 3


def test_a_signal_of_another_rank_is_that_of_all():
    asking = Stopping(2, lambda values: [float(signal.SIGUSR1), 1.0])
    assert asking.before(0)
    assert asking.exit_code == 138


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(stopping, "SOON", 0.2)
    monkeypatch.setattr(stopping, "ORDERLY", 0.7)
    monkeypatch.setattr(stopping, "LOOKS_EVERY", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("ranks", "seconds"), [(1, 0.2), (2, 0.7)])
@pytest.mark.parametrize("already", [0.0, 1.0])
def test_a_signal_ends_the_waiting_for_data_that_do_not_come_with_its_own_code(ranks, seconds, already):
    asking = Stopping(ranks, list)
    asking.catch_signals()
    begun = time.monotonic()
    threading.Timer(already, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Lost, match="SIGTERM came, and data that were waited for did not") as lost:
        wait_and_mistake_what_ends_it(asking)
    assert lost.value.code == 143
    assert max(seconds, already) <= time.monotonic() - begun < max(seconds, already) + 5


def wait_and_mistake_what_ends_it(asking: Stopping) -> None:
    def read() -> None:
        try:
            time.sleep(60)
        except Exception:  # as readers of damaged files do
            time.sleep(60)

    asking.waited(read)


@pytest.mark.usefixtures("impatient")
def test_data_that_come_soon_after_a_signal_are_taken():
    asking = Stopping(1, list)
    asking.catch_signals()
    time.sleep(0.3)

    def signalled() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        return "data"

    for _ in range(4):
        assert asking.waited(signalled) == "data"
    assert asking.before(7)
    assert asking.exit_code == 143


LEAVING = """
import atexit, sys
from fes.runtime.stopping import leaving

class Part:
    def __del__(self):
        print("taken apart")

part = Part()
atexit.register(print, "at exit")
with leaving():
    print("inside")
    raise SystemExit(eval(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("processes", "code", "told", "returned"),
    [
        (2, "3", ["inside", "at exit"], 3),
        (2, "0", ["inside", "at exit"], 0),
        (1, "3", ["inside", "at exit", "taken apart"], 3),
        (2, "'a sentence'", ["inside", "at exit", "taken apart"], 1),
    ],
)
def test_one_of_several_processes_leaves_with_its_code_and_what_it_printed_and_is_not_taken_apart(
    processes, code, told, returned
):
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, code],
        env=os.environ | {"WORLD_SIZE": str(processes)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stdout.splitlines(), done.returncode) == (told, returned)


STUCK = """
import os, sys, threading, time
from fes.runtime.stopping import leave_at_once

if sys.argv[1] == "closed":
    sys.stdout = None
    sys.stderr.close()
threading.Timer(0.5, leave_at_once, [7]).start()
while sys.argv[1] == "full":
    print("x" * 10_000)
time.sleep(1000)
"""


@pytest.mark.parametrize("stdout", ["open", "closed", "full"])
def test_a_process_leaves_at_once_whatever_becomes_of_what_it_told(stdout):
    command = [sys.executable, "-c", STUCK, stdout]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # whose reader stands still
        try:
            assert process.wait(60) == 7
        finally:
            process.kill()

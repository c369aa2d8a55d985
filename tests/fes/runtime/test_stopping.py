"""Ranks that are asked to stop all do, whenever the signal comes, and soon."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

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

    stopping = Stopping(2, largest)
    stopped = [stopping.before(step) for step in range(3 * steps)]
    assert not any(stopped)
    assert len(asked) == 3


def test_a_signal_of_another_rank_is_that_of_all():
    stopping = Stopping(2, lambda values: [float(signal.SIGUSR1), 1.0])
    assert stopping.before(0)
    assert stopping.exit_code == 138


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

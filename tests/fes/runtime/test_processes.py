"""What the runtime makes of the launcher's wishes: in processes of their own, as a launcher starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fes.errors import Lost
from fes.runtime.processes import fault_of_all, readers_for

pytestmark = pytest.mark.alone

REPOSITORY = Path(__file__).parents[3]
START = """
from fes.errors import told_in_one_sentence
from fes.runtime.processes import Runtime
with told_in_one_sentence("train.py"):
    runtime = Runtime()
    print(runtime.ranks, runtime.is_main, runtime.device)
"""


def start(program: str = START, **launcher: str) -> subprocess.CompletedProcess[str]:
    """A process that a launcher started with these variables."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **launcher}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


NO_DATA, CUT, MISSING = ("no such data", 2), ("a is cut short", 2), ("b is missing", 2)
AWAY = "cannot be reached", 134


@pytest.mark.parametrize(
    ("faults", "told", "code"),
    [
        ([NO_DATA, NO_DATA], "no such data", 2),
        ([None, NO_DATA], "rank 1: no such data", 2),
        ([CUT, None, MISSING, CUT], "ranks 0, 3: a is cut short; rank 2: b is missing", 2),
        ([AWAY, AWAY], "cannot be reached", 134),
        ([None, AWAY], "rank 1: cannot be reached", 134),
        ([AWAY, CUT], "rank 0: cannot be reached; rank 1: a is cut short", 2),
    ],
)
def test_faults_are_told_with_the_ranks_that_have_them_and_are_of_users_unless_a_start_may_heal_all(
    faults: list[tuple[str, int] | None], told: str, code: int
) -> None:
    fault = fault_of_all(faults)
    assert (str(fault), fault.code, isinstance(fault, Lost)) == (told, code, code != 2)


def test_ranks_wait_for_one_that_decodes_for_hours() -> None:
    program = START + (
        "import torch.distributed as d\n"
        "print(d.distributed_c10d._get_default_group()._get_backend(runtime.device).options._timeout)"
    )
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    done = start(program, ACCELERATE_USE_CPU="true", **address, **ranks)
    assert "1 day" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("device", "cores", "readers"),
    [("cpu", 1, 2), ("cpu", 64, 2), ("cuda", 1, 2), ("cuda", 4, 3), ("cuda", 7, 6), ("cuda", 64, 6)],
)
def test_a_gpu_has_as_many_readers_as_its_cores_spare(device: str, cores: int, readers: int) -> None:
    assert readers_for(torch.device(device), cores) == readers


def test_readers_are_as_asked_and_else_as_suits() -> None:
    program = START + "print(runtime.readers(0), runtime.readers(5), runtime.readers(None))"
    done = start(program, ACCELERATE_USE_CPU="true")
    assert done.stdout.split()[-3:] == ["0", "5", "2"]


def test_without_a_launcher_there_is_one_rank() -> None:
    done = start(ACCELERATE_USE_CPU="true")
    assert done.stdout.split() == ["1", "True", "cpu"]


LEAVE = """
import torch
from fes.errors import InputError
runtime.close = lambda: print(runtime.device, repr(end))
for end in (None, SystemExit(2), InputError("a"), ValueError("b")):
    for runtime.device in map(torch.device, ("cpu", "cuda")):
        try:
            with runtime:
                if end:
                    raise end
        except BaseException:
            pass
"""


def test_after_a_fault_a_rank_with_a_gpu_does_not_wait_for_others_to_leave() -> None:
    done = start(START.replace("    print(", "    0 and print(") + LEAVE, ACCELERATE_USE_CPU="true")
    left = ["cpu None", "cuda None", "cpu SystemExit(2)", "cpu InputError('a')"]
    assert done.stdout.splitlines() == left, done.stderr


def test_a_refusal_is_one_sentence_and_exit_code_2() -> None:
    done = start(ACCELERATE_USE_CPU="true", ACCELERATE_MIXED_PRECISION="fp16")
    assert done.returncode == 2, done.stderr
    assert "fp16" in done.stderr
    assert done.stderr.count("\n") == 1

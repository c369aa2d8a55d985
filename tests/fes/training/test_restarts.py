"""A launcher that starts the ranks again brings a job back, to the very bits of an undisturbed one."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fes.train import main
from tests.fes.launching import PATIENCE, REPOSITORY, run_ranks

pytestmark = pytest.mark.alone

TINY = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 1}
clock: {total_kimg: 0.96, tick_kimg: 0.1, snapshot_kimg: 10, state_kimg: 0.24}
"""
TORCHRUN = ["torch.distributed.run", "--standalone", "--max-restarts", "2", "--nproc-per-node", "4", "--"]
ACCELERATE = ["accelerate.commands.launch", "--config_file", "launch/cpu.yaml", "--max_restarts", "2"]


def flags(data: Path, folder: Path) -> list[str]:
    """Of a short run in a folder."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    return ["--config", str(folder / "tiny.yaml"), "--data", str(data), "--run", str(folder / "run")]


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the last state that tells of weights, averages and optimisers."""
    last = folder / "run" / "state-000000.960"
    names = ("networks.safetensors", "average.safetensors", "players.pt")
    return {name: hashlib.sha256((last / name).read_bytes()).hexdigest() for name in names}


def rank_below(launcher: subprocess.Popen[bytes], rank: int) -> int:
    """The process of a rank, from what the system knows of the launcher's children."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (found,) = [pid for pid in children if f"RANK={rank}" in variables(pid)]
    return int(found)


def variables(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def ended(launcher: subprocess.Popen[bytes], victim: int, state: Path) -> int:
    """Kills a rank once there is a state; returns its process number when all is over."""
    deadline = time.monotonic() + PATIENCE
    while not state.exists():
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed = rank_below(launcher, victim)
    os.kill(killed, signal.SIGKILL)
    launcher.wait(2 * PATIENCE)
    return killed


@pytest.mark.parametrize(
    ("launch", "count", "victim"),
    [(TORCHRUN, 4, 2), (ACCELERATE, 2, 0)],
    ids=["torchrun", "accelerate launch"],
)
def test_a_job_of_which_a_rank_is_killed_ends_with_the_weights_of_one_undisturbed(
    launch: Sequence[str], count: int, victim: int, drawn_folder: Path, tmp_path: Path
) -> None:
    run_ranks(count, tmp_path / "told of whole", main, flags(drawn_folder, tmp_path / "whole"))
    command = [sys.executable, "-m", *launch, "fes/train.py", *flags(drawn_folder, tmp_path / "parts")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "true"}
    with (tmp_path / "told").open("wb") as told:
        launcher = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=told, stderr=told, start_new_session=True
        )
    try:
        killed = ended(launcher, victim, tmp_path / "parts" / "run" / "state-000000.240")
    finally:
        launcher.terminate()  # it ends its ranks; were it killed, they would stay
        with contextlib.suppress(subprocess.TimeoutExpired):
            launcher.wait(PATIENCE)
        launcher.kill()
        launcher.wait()
    lines = (tmp_path / "told").read_text().splitlines()
    assert launcher.returncode == 0, "\n".join(lines)
    (line,) = [line for line in lines if line.startswith("train.py")]
    assert line.startswith(f"train.py: rank {victim} (host ")
    assert f"process {killed}) is gone: the process has ended; the others leave" in line
    assert any(line.startswith("goes on from") for line in lines)
    assert sums(tmp_path / "parts") == sums(tmp_path / "whole")

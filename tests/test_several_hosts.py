"""Several hosts, a launcher on each: cables are pulled, and the weights are those of a run on one host."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fes import train
from tests.fes.launching import REPOSITORY, run_ranks
from tests.hosts import Hosts, connected_hosts

pytestmark = pytest.mark.alone

SETTINGS = """
batch: 12
critic_steps: 2
grid_faces: 2
shuffle_window: 64
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 0}
clock: {tick_kimg: 0.3, snapshot_kimg: 10, state_kimg: 0.3}
"""
VARIABLES = {
    "ACCELERATE_USE_CPU": "true",
    "OMP_NUM_THREADS": "1",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONPATH": str(REPOSITORY),
}
PROFILE = REPOSITORY / "launch" / "multi_node.yaml"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(PROFILE)]
PATIENCE = 240.0
"""Seconds that anything may take on a busy machine; where nothing is said of what took too long."""


@pytest.fixture
def words(drawn_folder: Path, tmp_path: Path) -> list[str]:
    """The command line of a run, but for its folder and length."""
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    return ["--config", str(tmp_path / "settings.yaml"), "--data", str(drawn_folder)]


def launched(hosts: Hosts, words: list[str]) -> list[subprocess.Popen[bytes]]:
    """One launcher on each host, with a rank each; host 0 is where they meet."""
    ranks = str(len(hosts.names))
    flags = {"num_machines": ranks, "num_processes": ranks, "main_process_ip": hosts.names[0]}
    flags |= {"main_process_port": "29500", "max_restarts": "3"}
    command = [*LAUNCH, *(word for name, value in flags.items() for word in (f"--{name}", value))]
    return [
        hosts.start(host, [*command, "--machine_rank", str(host), train.__file__, *words], VARIABLES)
        for host in range(len(hosts.names))
    ]


def hashes_on_one_host(ranks: int, words: list[str], folder: Path, kimg: str) -> dict[str, str]:
    """What a run ends with that nobody disturbs, with all its ranks on this host."""
    run_ranks(ranks, folder, train.main, [*words, "--run", str(folder), "--clock.total-kimg", kimg])
    return hashes(folder, kimg)


def hashes(run: Path, kimg: str) -> dict[str, str]:
    """By file, the sha256 of the weights, their average and the optimisers in a run's state."""
    state = run / f"state-{float(kimg):010.3f}"
    return {
        name: hashlib.sha256((state / name).read_bytes()).hexdigest()
        for name in ("networks.safetensors", "average.safetensors", "players.pt")
    }


def wait_until(
    there: Callable[[], bool],
    hosts: Hosts,
    launchers: list[subprocess.Popen[bytes]],
    within: float = PATIENCE,
) -> None:
    """Waits for something that comes in some seconds, while all launchers run."""
    deadline = time.monotonic() + within
    while not there():
        told = "\n".join(hosts.told(host)[-3000:] for host in range(len(hosts.names)))
        assert all(launcher.poll() is None for launcher in launchers), told
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def ended_well(hosts: Hosts, launchers: list[subprocess.Popen[bytes]]) -> None:
    """Waits for launchers that have to succeed; where they hang, each process tells where it stands."""
    deadline = time.monotonic() + PATIENCE
    while any(launcher.poll() is None for launcher in launchers) and time.monotonic() < deadline:
        time.sleep(0.1)
    codes = [launcher.poll() for launcher in launchers]
    if None in codes:
        for host in range(len(hosts.names)):
            hosts.start(host, ["pkill", "-ABRT", "python"], {}).wait(PATIENCE)
        time.sleep(2.0)
    told = "\n".join(hosts.told(host)[-6000:] for host in range(len(hosts.names)))
    assert codes == [0] * len(codes), told


def test_launchers_bring_back_a_run_whose_ranks_left_when_a_host_was_cut_off(
    words: list[str], tmp_path: Path
) -> None:
    run, kimg = tmp_path / "run", "1.2"
    lost = ["train.py: rank 1 (host host1, process ", "train.py: rank 0 (host host0, process "]
    with connected_hosts(2, tmp_path) as hosts:
        more = ["--run", str(run), "--clock.total-kimg", kimg, "--rank-timeout", "5"]
        launchers = launched(hosts, [*words, *more])
        wait_until(lambda: any(run.glob("state-*")), hosts, launchers)
        hosts.cut(1)
        # Each side counts the other as gone: nobody can know which of them is.
        for host, sentence in enumerate(lost):
            wait_until(partial(hosts.has_told, host, sentence), hosts, launchers, within=60)
        hosts.restore(1)
        ended_well(hosts, launchers)
        told = [hosts.told(host) for host in (0, 1)]
    for sentence, host in zip(lost, told, strict=True):
        (line,) = (line for line in host.splitlines() if line.startswith("train.py"))
        assert line.startswith(sentence)
        assert host.count("(exitcode: 134)") == 1
    assert f"goes on from {run}" in told[0]
    assert hashes(run, kimg) == hashes_on_one_host(2, words, tmp_path / "whole", kimg)


def test_a_host_that_is_cut_off_for_some_seconds_only_delays_the_run(
    words: list[str], tmp_path: Path
) -> None:
    run, kimg = tmp_path / "run", "0.9"
    with connected_hosts(3, tmp_path) as hosts:
        launchers = launched(hosts, [*words, "--run", str(run), "--clock.total-kimg", kimg])
        wait_until(lambda: any(run.glob("state-*")), hosts, launchers)
        hosts.cut(2)
        time.sleep(3)
        assert "finished" not in hosts.told(0)
        hosts.restore(2)
        ended_well(hosts, launchers)
        assert "goes on from" not in hosts.told(0)
    assert hashes(run, kimg) == hashes_on_one_host(3, words, tmp_path / "whole", kimg)

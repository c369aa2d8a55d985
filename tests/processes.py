"""Starts commands for tests, and ends them all, whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PATIENCE = 240.0
"""Seconds that anything may take on a busy machine."""
CORES = sorted(os.sched_getaffinity(0))
ON_ONE_CORE = (
    "taskset",
    "--cpu-list",
    str(CORES[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(CORES)]),
)
"""What a command begins with that is to leave the other cores to the tests beside it: on the CPU, ranks take
a thread for each core that they may use, and with more threads than cores all crawl."""


class Processes:
    """Commands that were started, each in a group of its own; `folder` gets what they say."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self, *words: str, cores: Sequence[int] = CORES[:2], **variables: str
    ) -> subprocess.Popen[bytes]:
        """Starts a command on some cores, and so with a number of threads that every machine has."""
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), *words]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
        with (self._folder / f"{len(self._started)}.txt").open("wb") as file:
            process = subprocess.Popen(
                pinned, cwd=REPOSITORY, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        self._started.append(process)
        return process

    def told(self, process: subprocess.Popen[bytes]) -> str:
        """What a command has said so far."""
        return (self._folder / f"{self._started.index(process)}.txt").read_text()

    def code(self, process: subprocess.Popen[bytes]) -> int:
        """A command's exit code, once it has ended."""
        return process.wait(PATIENCE)

    def until(self, happened: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
        """Waits for something that happens while a command runs."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert process.poll() is None, self.told(process)
            assert time.monotonic() < deadline, self.told(process)
            time.sleep(0.02)

    def end(self) -> None:
        """Ends all that still run: launchers end their ranks, which are in other groups."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port(first: int = 0, count: int = 1) -> int:
    """A port that nobody listens at: any, or one of `count` from the first on."""
    for port in range(first, first + count):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
    raise AssertionError("no port is free")

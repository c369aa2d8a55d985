"""Starts the ranks of a run for tests, and kills them.

Ranks are forked from one process that has imported everything: importing torch takes seconds, and a run of
tiny networks less than one.
"""

import atexit
import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds, on a machine that is busy with much else

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.fes.rank", "tests.fes.launching", "torch._dynamo", "torch.onnx"])
# Nobody else may set it: there is one such process, and the last to set it wins.


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, by rank, and where their words go."""

    processes: list[ForkServerProcess]
    out_file: Path
    err_file: Path

    @property
    def out(self) -> str:
        """What they have written to stdout so far."""
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        """What they have written to stderr so far."""
        return self.err_file.read_text()

    @property
    def told(self) -> list[str]:
        """The lines of both."""
        return (self.out + self.err).splitlines()

    @property
    def running(self) -> bool:
        """Whether none has ended."""
        return all(process.is_alive() for process in self.processes)

    def codes(self, but: int | None = None) -> list[int | None]:
        """The exit codes, once all have ended, or all but one."""
        until = time.monotonic() + PATIENCE
        waited = [process for rank, process in enumerate(self.processes) if rank != but]
        for process in waited:
            process.join(max(0.0, until - time.monotonic()))
        assert not any(process.is_alive() for process in waited), self.out + self.err
        return [process.exitcode for process in waited]

    def signal(self, number: int) -> None:
        """Sends a signal to all, and to the processes that they have started."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def kill(self) -> None:
        """Kills all, and the processes that they have started; returns when they are gone."""
        for process in self.processes:
            process.kill()  # one may not have its group of processes yet
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.join(PATIENCE)


@contextlib.contextmanager
def started(
    count: int, folder: Path, program: Callable[..., None], *arguments: object, **variables: str
) -> Iterator[Ranks]:
    """Calls a program in `count` processes that know of each other, on the CPU, with one thread each.

    What they write goes to files in `folder`; `variables` are put into their environment. They are killed
    at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranks = Ranks([], folder / "out.txt", folder / "err.txt")
    for file in (ranks.out_file, ranks.err_file):
        file.write_bytes(b"")
    variables |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    if count > 1:
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
        variables["LOCAL_WORLD_SIZE"] = str(count)
    try:
        for rank in range(count):
            own = variables | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {})
            call = ranks.out_file, ranks.err_file, own, program, arguments
            ranks.processes.append(_FORKS.Process(target=_be_a_rank, args=call))
            ranks.processes[-1].start()
        yield ranks
    finally:
        ranks.kill()


def run_ranks(count: int, folder: Path, program: Callable[..., None], *arguments: object) -> Ranks:
    """Calls a program as `started` does; it has to end well in all processes."""
    with started(count, folder, program, *arguments) as ranks:
        assert ranks.codes() == [0] * count, ranks.out + ranks.err
    return ranks


def until(happens: Callable[[], object], ranks: Ranks) -> None:
    """Waits until something happens, while no rank ends."""
    limit = time.monotonic() + PATIENCE
    while not happens():
        assert ranks.running, ranks.out + ranks.err
        assert time.monotonic() < limit, ranks.out + ranks.err
        wait([process.sentinel for process in ranks.processes], timeout=0.002)


@contextlib.contextmanager
def torchrun(count: int, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a command by torchrun in `count` processes on the CPU; ends it, and them, if need be."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    launcher.append("--")  # else torchrun takes a script's --run for the beginning of its own --run-path
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*launcher, *command], env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()  # torchrun ends its ranks; were it killed, they would stay
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PATIENCE)
            process.kill()


def _be_a_rank(
    out: Path, err: Path, variables: dict[str, str], program: Callable[..., None], arguments: Sequence[object]
) -> None:
    os.setsid()
    for number, path in ((1, out), (2, err)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(variables)
    multiprocessing.set_start_method(None, force=True)  # else readers would start as ranks do
    # Ranks with several threads each, on few cores, wait for one another most of the time.
    os.sched_getaffinity = lambda _: {0}
    try:
        program(*arguments)
    finally:
        atexit._run_exitfuncs()  # a process that was forked would wait for its readers first


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

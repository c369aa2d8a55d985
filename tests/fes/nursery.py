"""Ranks as real processes, without a launcher that would end them: one process imports, and forks them."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

LIMIT = 240.0
"""Seconds that a test waits for what it waits for."""

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["fes.train", "torch._inductor"])  # what each would import by itself


class Ranks:
    """The processes of one run, and what they told."""

    def __init__(self, count: int, folder: Path, work: Callable[..., None], *arguments: object) -> None:
        """`work(*arguments)` is called in each, with the variables that a launcher sets."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._logs = [folder / f"rank{rank}.log" for rank in range(count)]
        self.processes = [
            _FORK.Process(target=_be, args=(rank, count, port, log, work, arguments))
            for rank, log in enumerate(self._logs)
        ]
        for process in self.processes:
            process.start()

    def told(self) -> list[str]:
        """Every line of stdout and stderr, by rank."""
        return [line for log in self._logs if log.exists() for line in log.read_text().splitlines()]

    def until(self, condition: Callable[[], object]) -> None:
        """Waits, as long as all ranks live."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.told())
            assert all(each.is_alive() for each in self.processes), "\n".join(self.told())
            time.sleep(0.02)

    def signal(self, rank: int, number: signal.Signals) -> None:
        os.kill(self.processes[rank].pid, number)

    def codes(self, but: int | None = None) -> list[int]:
        """The exit codes, once all but one have ended."""
        waited = [process for rank, process in enumerate(self.processes) if rank != but]
        deadline = time.monotonic() + LIMIT
        for process in waited:
            process.join(max(0.0, deadline - time.monotonic()))
        assert not any(process.is_alive() for process in waited), "\n".join(self.told())
        return [process.exitcode for process in waited]


@contextlib.contextmanager
def ranks(count: int, folder: Path, work: Callable[..., None], *arguments: object) -> Iterator[Ranks]:
    """Ranks that are killed in the end, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    family = Ranks(count, folder, work, *arguments)
    try:
        yield family
    finally:
        for process in family.processes:
            process.kill()
            process.join(LIMIT)


def _be(
    rank: int, count: int, port: int, log: Path, work: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    os.environ.update({name: str(value) for name, value in (here | address).items()})
    sys.stdout = sys.stderr = log.open("w", buffering=1)
    os.dup2(sys.stderr.fileno(), 2)
    try:
        work(*arguments)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None

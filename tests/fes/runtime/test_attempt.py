"""Ranks of one attempt find one another in a store that still holds what those before them wrote."""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from fes.runtime.attempt import _KEY, Gathering, _ask_name, _name_attempt
from tests.fes.launching import REPOSITORY

pytestmark = pytest.mark.alone


def test_a_rank_that_is_early_waits_for_the_rank_0_of_its_own_attempt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    patience = timedelta(seconds=60)
    server = TCPStore("127.0.0.1", 0, is_master=True, timeout=patience)
    names: dict[int, str] = {}
    links: list[socket.socket] = []

    def ask() -> None:
        store = TCPStore("127.0.0.1", server.port, is_master=False, timeout=patience)
        names[1], met = _ask_name(store, 1)
        links.extend(met)

    for _ in range(2):
        before = dict(names)
        early = threading.Thread(target=ask)
        early.start()
        early.join(0.5)  # in the second attempt it finds the address of the first
        assert names == before
        names[0], met = _name_attempt(server, 2)
        links.extend(met)
        early.join(60)
        assert names[0] == names[1]
        assert names != before
    assert server.get(_KEY)
    for link in links:
        link.close()


class Together:
    """Ranks that have met, with a link between rank 0 and each other, and which of them leave."""

    def __init__(self, ranks: int) -> None:
        pairs = [_pair() for _ in range(ranks - 1)]
        self.left = [threading.Event() for _ in range(ranks)]
        self.links = [[ours for ours, _ in pairs], *([theirs] for _, theirs in pairs)]
        self.gatherings = [Gathering(*each) for each in zip(self.links, self._leaving(), strict=True)]

    def _leaving(self) -> list[Callable[[], None]]:
        """A process that leaves closes all it has."""

        def leave(rank: int) -> None:
            self.left[rank].set()
            for link in self.links[rank]:
                _shut(link)

        return [partial(leave, rank) for rank in range(len(self.left))]


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        return server.accept()[0], theirs


def _shut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was faster
        link.shutdown(socket.SHUT_RDWR)


def test_where_a_rank_dies_before_all_have_met_all_leave():
    ranks = Together(4)
    _shut(ranks.links[2][0])
    assert all(left.wait(60) for left in ranks.left)


def test_ranks_that_came_through_ask_no_more_of_one_another():
    ranks = Together(3)
    for gathering in ranks.gatherings[:2]:
        gathering.end()
    time.sleep(0.2)
    _shut(ranks.links[1][0])  # it ends right after it came through, and rank 2 is late
    time.sleep(0.2)
    ranks.gatherings[2].end()
    for link in itertools.chain(*ranks.links):
        _shut(link)
    time.sleep(0.2)
    assert not any(left.is_set() for left in ranks.left)


@pytest.mark.parametrize("when", ["before it looks", "while it looks"])
def test_a_rank_leaves_where_its_launcher_has_ended_before_all_met(when: str, tmp_path: Path):
    """As one does that is told to end while it starts them: torchrun ends those alone that it knows of."""
    program = tmp_path / "meets.py"
    program.write_text(MEETS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "true"}
    command = [*launch, str(program), str(tmp_path), when]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as ranks:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("begun-*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ranks.kill()
        ranks.wait()
        (tmp_path / "orphaned").touch()
        told, _ = ranks.communicate(timeout=120)  # the pipe ends with the last of them
    assert told.decode().splitlines()[-1] == (
        "train.py: the launcher that started this process has ended, and the same command begins again"
    )


MEETS = """
import os, sys, time
from pathlib import Path
from fes.runtime import attempt
from fes.runtime.processes import Runtime

folder, rendezvous = Path(sys.argv[1]), attempt.rendezvous


def orphaned():
    (folder / f"begun-{os.environ['RANK']}").touch()
    while not (folder / "orphaned").exists():
        time.sleep(0.05)


def meet(*place, **settings):
    orphaned()
    return rendezvous(*place, **settings)


if sys.argv[2] == "before it looks":
    orphaned()
else:
    attempt.rendezvous = meet
Runtime()
"""


def test_launchers_of_two_machines_bring_back_a_job_whose_rank_dies_right_after_it_met_the_other(
    tmp_path: Path,
):
    """One launcher alone would end the other rank by itself; here nobody but that rank can know."""
    program = tmp_path / "dies.py"
    program.write_text(DIES_ONCE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    launch = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "true"}
    commands = [
        [sys.executable, "-m", *launch, "--node-rank", str(node), str(program), str(tmp_path)]
        for node in (0, 1)
    ]
    with (tmp_path / "told").open("wb") as told:
        launchers = [subprocess.Popen(each, env=environment, stdout=told, stderr=told) for each in commands]
        try:
            codes = [launcher.wait(120) for launcher in launchers]
        finally:
            for launcher in launchers:
                launcher.kill()
                launcher.wait()
    assert codes == [0, 0], (tmp_path / "told").read_text()[-3000:]
    assert (tmp_path / "died").exists()
    assert sorted(path.name for path in tmp_path.glob("met-*")) == ["met-0", "met-1"]
    assert "a process ended before all had met" in (tmp_path / "told").read_text()


DIES_ONCE = """
import os, sys
from pathlib import Path
from fes.runtime import attempt
from fes.runtime.processes import Runtime

folder, gather = Path(sys.argv[1]), attempt.Gathering


def die_or_gather(links, leave):
    if os.environ["RANK"] == "1" and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(9)
    return gather(links, leave)


attempt.Gathering = die_or_gather
with Runtime() as runtime:
    (folder / f"met-{runtime.rank}").touch()
"""

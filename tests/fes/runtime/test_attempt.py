"""Ranks of one attempt find one another in a store that still holds what those before them wrote."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from fes.runtime import attempt
from fes.runtime.attempt import _KEY, Gathering, _ask_name, _leave_if_refused, _name_attempt, _refuses
from tests.fes.launching import PATIENCE, REPOSITORY

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


@pytest.fixture
def orphans(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Two ranks that wait at some point, until their launcher has ended there; what they tell then."""
    program = tmp_path / "meets.py"
    program.write_text(MEETS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "true"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def orphaned(when: str) -> str:
        with subprocess.Popen([*launch, program, tmp_path, when], env=environment, **pipes) as launcher:
            try:
                until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
            finally:
                launcher.kill()
            launcher.wait()
            (tmp_path / "orphaned").touch()
            return launcher.communicate(timeout=PATIENCE)[0]  # the pipe ends with the last of them

    yield orphaned
    for begun in tmp_path.glob("begun-*"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(begun.suffix[1:]), signal.SIGKILL)


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


MEETS = """
import os, sys, time
from pathlib import Path
from fes.runtime import attempt
from fes.runtime.processes import Runtime

folder, when = Path(sys.argv[1]), sys.argv[2]
attempt.REFUSED = 1.0


def begun(and_waits=True):
    (folder / f"begun-{os.environ['RANK']}.{os.getpid()}").touch()
    while and_waits and not (folder / "orphaned").exists():
        time.sleep(0.05)


def first(do, *and_waits):
    def done(*words, **settings):
        begun(*and_waits)
        return do(*words, **settings)

    return done


if when == "before they look":
    begun()
elif when == "while they look":
    attempt.rendezvous = first(attempt.rendezvous)
else:
    attempt._name_attempt = first(attempt._name_attempt)
    attempt._ask_name = first(attempt._ask_name, False)
Runtime()
"""


@pytest.mark.parametrize("when", ["before they look", "while they look", "while they wait for each other"])
def test_ranks_leave_where_their_launcher_has_ended_before_they_met(
    when: str, orphans: Callable[[str], str]
) -> None:
    """As one does that is told to end while it starts them: torchrun ends those alone that it knows of."""
    told = orphans(when).splitlines()
    sentences = [line for line in told if line.startswith("train.py: ")]
    assert len(sentences) == 1
    assert sentences[0].startswith("train.py: nobody listens at ")
    assert "where the launcher of this process should: it has ended, or " in sentences[0]
    assert "Traceback" not in "".join(told)
    if when == "before they look":
        assert told[-1:] == sentences


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons for which this process would have left."""
    reasons: list[str] = []

    def leave(why: str) -> None:
        reasons.append(why)
        raise SystemExit

    monkeypatch.setattr(attempt, "REFUSED", 0.5)
    monkeypatch.setattr(attempt, "leave", leave)
    return reasons


def test_a_rank_stays_where_somebody_listens_also_where_that_takes_a_while(left: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        _leave_if_refused(place, threading.Event())
    late = threading.Timer(0.2, lambda: servers.append(socket.create_server(place)))
    servers: list[socket.socket] = []
    late.start()
    _leave_if_refused(place, threading.Event())
    late.join()
    servers.pop().close()
    assert left == []
    with pytest.raises(SystemExit):
        _leave_if_refused(place, threading.Event())
    assert len(left) == 1


def test_a_rank_that_has_met_the_others_does_not_leave(left: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
    over = threading.Event()
    over.set()
    _leave_if_refused(place, over)
    assert left == []


@pytest.mark.parametrize(
    ("errors", "refuses"),
    [
        ([ConnectionRefusedError()], True),
        ([OSError("no route"), ConnectionRefusedError()], True),
        ([ConnectionRefusedError(), OSError("no route")], True),
        ([TimeoutError(), ConnectionRefusedError()], False),
        ([TimeoutError()], False),
    ],
)
def test_a_machine_that_does_not_answer_has_not_refused(
    errors: list[OSError], refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise ExceptionGroup("one for each address", errors)

    monkeypatch.setattr(socket, "create_connection", connect)
    assert _refuses(("machine", 29500)) is refuses


def test_a_name_without_an_address_has_not_refused() -> None:
    assert not _refuses(("nobody.invalid", 29500))


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

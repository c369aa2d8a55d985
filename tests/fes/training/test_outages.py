"""Runs whose data lie on a server that goes away: they wait, stop when told to, and come back."""

import dataclasses
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fes.config import Config, StreamConfig
from fes.data import mixture
from fes.saved.state import list_states
from shards.remote.shelf import CachedShards
from tests.fes.runs import run, sentence, tensors, with_total
from tests.shards.remote.unreliable_server import UnreliableServer, serving

pytestmark = pytest.mark.usefixtures("one_core")

SOME = 7
"""Answers after which the server goes away: what a run begins with, and what its first steps read."""


@pytest.fixture
def server(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnreliableServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files = {path.name: path.read_bytes() for path in drawn_folder.iterdir()}
        yield server


@pytest.fixture(params=[0, 1], ids=["in the trainer", "by a reader"])
def config(
    request: pytest.FixtureRequest, tiny_config: Config, server: UnreliableServer, tmp_path: Path
) -> Config:
    """Two passes over a data set of which the cache holds three shards."""
    gb = 3 * max(len(file) for name, file in server.files.items() if name.endswith(".tar")) / 1e9
    stream = StreamConfig(workers=request.param, shards=tmp_path / "shards", shards_gb=gb)
    return dataclasses.replace(with_total(tiny_config, 0.336, stream=stream), data=server.address)


def with_outage(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    kind = partial(CachedShards, pause=0.02, attempts=2, outage=seconds)
    monkeypatch.setattr(mixture, "CachedShards", kind)


def step_of(state: Path) -> int:
    return json.loads((state / "state.json").read_text())["step"]


def after_the_outage_began(server: UnreliableServer, act: Callable[[], None]) -> None:
    """Does something in another thread, a while after the server was asked in vain."""

    def wait() -> None:
        while len(server.order) < server.answers + 3:
            time.sleep(0.01)
        time.sleep(0.5)
        act()

    threading.Thread(target=wait, daemon=True).start()


def test_a_run_waits_for_a_server_that_is_away_tells_so_and_ends_with_the_bits_of_one_undisturbed(
    config, server, monkeypatch, tmp_path, capsys
):
    with_outage(monkeypatch, 60.0)
    config = dataclasses.replace(config, stream=dataclasses.replace(config.stream, patience=0.25))
    server.answers = SOME
    after_the_outage_began(server, partial(setattr, server, "answers", None))
    assert run(config) == 0
    assert server.requests[server.order[SOME]] > 3
    told = capsys.readouterr().err
    assert re.search(
        rf"no batch for [\d.]+ s; \w+( 0)? reads drawn-train-\d+.tar of {server.address}", told
    ), told
    undisturbed = dataclasses.replace(config, run=tmp_path / "undisturbed")
    assert run(undisturbed) == 0
    ours, theirs = tensors(config.run), tensors(undisturbed.run)
    assert ours.keys() == theirs.keys()
    assert all(value.equal(theirs[name]) for name, value in ours.items())


def test_an_outage_beyond_all_patience_ends_a_run_with_a_state_and_a_code_to_start_it_again(
    config, server, monkeypatch, capsys
):
    with_outage(monkeypatch, 0.5)
    server.answers = SOME
    assert run(config) == 134
    assert "the same command goes on from the last state once it can be had again" in sentence(capsys)
    (last, *_) = reversed(list_states(config.run))
    assert step_of(last) > 0
    server.answers = None
    assert run(config) == 0
    assert f"goes on from {last}" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_waits_for_a_server_stops_with_a_state_when_it_is_told_to(
    config, server, monkeypatch, capsys, number, code
):
    with_outage(monkeypatch, 600.0)
    server.answers = SOME
    after_the_outage_began(server, partial(os.kill, os.getpid(), number))
    begun = time.monotonic()
    assert run(config) == code
    assert time.monotonic() - begun < 30
    assert f"{signal.Signals(number).name} came, and data" in sentence(capsys)
    assert step_of(list_states(config.run)[-1]) > 0


def test_a_server_that_is_away_when_a_run_begins_is_told_at_once(config, server, monkeypatch, capsys):
    with_outage(monkeypatch, 600.0)
    server.answers = 0
    assert run(config) == 2
    assert "index.json: tried 2 times" in sentence(capsys)


def test_a_server_that_is_away_when_a_run_is_to_go_on_is_told_at_once_with_the_code_of_another_start(
    config, server, capsys, monkeypatch
):
    with_outage(monkeypatch, 600.0)
    assert run(with_total(config, 0.016)) == 0
    server.answers = 0
    assert run(config) == 134
    assert "index.json: tried 2 times" in sentence(capsys)

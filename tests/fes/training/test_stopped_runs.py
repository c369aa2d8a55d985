"""Damaged pictures and signals: what stops a run, and how the same command goes on with it."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fes.config import StreamConfig
from fes.data.mixture import Mixture
from fes.runtime.processes import Runtime
from fes.saved.state import list_states
from shards.index import ShardIndex
from shards.schema import IMAGES
from tests.fes.runs import run, sentence, with_total, written
from tests.processes import ON_ONE_CORE

pytestmark = pytest.mark.usefixtures("one_core")

REPOSITORY = Path(__file__).parents[3]


# ---- damaged samples


@pytest.fixture
def damaged(drawn_folder, tmp_path) -> Path:
    """A copy of the data whose first training picture is not what was written."""
    folder = tmp_path / "damaged"
    shutil.copytree(drawn_folder, folder)
    split = ShardIndex.load(folder).split("train")
    with (folder / split.shards[0].name).open("r+b") as shard:
        shard.seek(int(split.places[0]["image_offset"]))
        shard.write(b"damage")
    return folder


def test_a_damaged_picture_ends_the_run_with_its_name_and_a_state(tiny_config, damaged, capsys):
    config = with_total(dataclasses.replace(tiny_config, data=str(damaged)), 1000.0)
    assert run(config) == 2
    assert re.search(rf"train-000000.tar: member 000000000\.({'|'.join(IMAGES)}) ", sentence(capsys))
    (last,) = list_states(config.run)
    skipping = dataclasses.replace(config, stream=StreamConfig(workers=0, on_bad_sample="skip"))
    step = json.loads((last / "state.json").read_text())["step"]
    assert run(with_total(skipping, (step + 2) * config.batch / 1000)) == 0
    assert f"goes on from {last}" in capsys.readouterr().out


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_damaged_picture_may_be_skipped_and_counted(tiny_config, damaged, tmp_path, capsys, cache):
    stream = StreamConfig(workers=0, on_bad_sample="skip", cache=cache and tmp_path / cache)
    config = dataclasses.replace(tiny_config, data=str(damaged), stream=stream)
    assert run(config) == 0
    assert "  skipped 1" in capsys.readouterr().out
    lines = [json.loads(line) for line in (config.run / "stats.jsonl").read_text().splitlines()]
    assert lines[-1]["data/skipped"] >= 1


def test_more_skipped_samples_than_allowed_end_the_run_and_lose_nothing(tiny_config, damaged, capsys):
    stream = StreamConfig(workers=0, on_bad_sample="skip", most_bad_samples=0)
    config = dataclasses.replace(tiny_config, data=str(damaged), stream=stream)
    assert run(config) == 2
    told = sentence(capsys)
    assert "--stream.most-bad-samples 0" in told
    assert "member 000000000." in told
    assert len(list_states(config.run)) >= 1
    assert run(config, "--stream.most-bad-samples", "100") == 0
    assert f"goes on from {list_states(config.run)[0].parent}" in capsys.readouterr().out


# ---- processes that are killed


def kill_a_reader_after_the_first_tick(stats: Path) -> None:
    while not stats.exists() or not stats.read_text():
        time.sleep(0.01)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def test_a_reader_that_is_killed_ends_the_run_with_a_state_and_a_code_to_start_it_again(tiny_config, capsys):
    config = with_total(tiny_config, 1000.0, stream=StreamConfig(workers=1))
    stats = config.run / "stats.jsonl"
    threading.Thread(target=kill_a_reader_after_the_first_tick, args=(stats,), daemon=True).start()
    assert run(config) == 134
    assert "a process that reads ahead was killed" in sentence(capsys)
    (last, *_) = reversed(list_states(config.run))
    step = json.loads((last / "state.json").read_text())["step"]
    assert step > 0
    assert run(with_total(config, (step + 1) * config.batch / 1000)) == 0
    assert f"goes on from {last}" in capsys.readouterr().out


# ---- signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_saves_a_state_and_says_how_to_go_on(tiny_config, tmp_path, capsys, number, code):
    config = with_total(tiny_config, 1000.0, stream=StreamConfig(workers=1))
    script = str(REPOSITORY / "fes" / "train.py")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*ON_ONE_CORE, sys.executable, script, "--config", written(config, tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    ) as process:
        begun = [process.stdout.readline() for _ in range(3)]  # "begins ...", on what, and the first tick
        assert "images/s" in begun[-1]
        os.killpg(process.pid, number)  # as a terminal or a scheduler does: to the readers as well
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert "and saved; the same command goes on from there" in out
    (last, *_) = reversed(list_states(config.run))
    step = json.loads((last / "state.json").read_text())["step"]
    assert run(with_total(config, (step + 1) * config.batch / 1000)) == 0
    assert f"goes on from {last}" in capsys.readouterr().out


def test_a_signal_before_the_first_step_saves_nothing_and_says_so(tiny_config, tmp_path, monkeypatch, capsys):
    begins = Runtime.begins_run

    def signalled(self: Runtime) -> None:
        begins(self)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Runtime, "begins_run", signalled)
    assert run(tiny_config) == 143
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "stopped before the first step: there is nothing to save; the same command begins anew"
    assert list_states(tiny_config.run) == []


def test_a_second_ctrl_c_ends_a_run_at_once_in_one_sentence(tiny_config, monkeypatch, capsys):
    begins = Runtime.begins_run

    def signalled(self: Runtime) -> None:
        begins(self)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "begins_run", signalled)
        assert run(tiny_config) == 130
    assert capsys.readouterr().err == "train.py: ended at once; the same command begins anew\n"
    assert run(tiny_config) == 0
    monkeypatch.setattr(Runtime, "begins_run", signalled)
    assert run(with_total(tiny_config, 1000.0)) == 130
    told = "train.py: ended at once; the same command goes on from the last state\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_settings_and_data_are_read_ends_a_run_in_one_sentence(
    number, tiny_config, monkeypatch, capsys
):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    monkeypatch.setattr(Mixture, "load", lambda *_: signal.raise_signal(number))
    assert run(tiny_config) == 128 + number
    assert capsys.readouterr().err == "train.py: ended at once; the same command begins anew\n"


def test_a_run_goes_on_where_a_full_disk_has_no_room_for_its_log(tiny_config, capsys, monkeypatch):
    with contextlib.suppress(OSError), open("/dev/full", "w", buffering=1) as log:
        monkeypatch.setattr(sys, "stdout", log)
        assert run(tiny_config) == 0
    assert capsys.readouterr().err == ""
    assert list_states(tiny_config.run)[-1].name == "state-000000.192"

"""One writes in a folder at a time, and whoever asks for that is in nobody's way."""

import fcntl
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.alone import alone_in, is_written


def test_one_writes_at_a_time_and_the_next_one_may_when_that_has_ended(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        assert is_written(tmp_path)
        with pytest.raises(InputError, match=f"is writing to {tmp_path}: wait for it or not"):
            alone_in(tmp_path, " or not").__enter__()
    assert not is_written(tmp_path)
    with alone_in(tmp_path):
        pass


def test_what_is_met_within_is_not_taken_for_another_who_writes(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), alone_in(tmp_path):
        raise BlockingIOError


def hold(folder: Path, held: object) -> None:
    with alone_in(folder):
        held.set()
        signal.pause()


def test_a_process_that_is_killed_holds_nothing_on(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    held = spawned.Event()
    process = spawned.Process(target=hold, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    assert is_written(tmp_path)
    process.kill()
    process.join()
    assert not is_written(tmp_path)


def test_where_there_is_no_folder_or_no_lock_nobody_is_kept_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_written(tmp_path / "nowhere")
    with alone_in(tmp_path / "nowhere"):
        pass

    def unknown(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", unknown)
    assert not is_written(tmp_path)
    with alone_in(tmp_path):
        pass

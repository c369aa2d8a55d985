"""What a run tells: lines in a file, curves, and words that suit the place they go to."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fes.errors import InputError
from fes.report import STATS_NAME, Report, duration, progress

TIMES = {"time/seconds": 4.0, "time/data_wait": 0.25}
LOSSES = {"critic/loss": -1.23456, "critic/image_gap": 12.5, "autoencoder/reconstruction_l1": 0.0625}


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / STATS_NAME).read_text().splitlines()]


def test_a_tick_is_a_line_of_stats_with_the_rate(tmp_path):
    with Report(tmp_path, 10.0, 0.0) as report:
        report.tick(2.0, LOSSES | TIMES)
        assert len(lines_of(tmp_path)) == 1  # without waiting for the end
        report.tick(3.0, LOSSES | TIMES)
    first, second = lines_of(tmp_path)
    assert first == {"kimg": 2.0, **LOSSES, **TIMES, "time/images_per_second": 500.0}
    assert (second["kimg"], second["time/images_per_second"]) == (3.0, 250.0)


def test_lines_of_steps_that_are_taken_again_are_dropped_with_half_a_line(tmp_path):
    with Report(tmp_path, 10.0, 0.0) as report:
        for kimg in (1.0, 2.0, 3.0):
            report.tick(kimg, LOSSES | TIMES)
    with (tmp_path / STATS_NAME).open("a") as file:
        file.write('{"kimg": 4.0, "critic/lo')
    with Report(tmp_path, 10.0, 2.0) as report:
        report.tick(3.5, LOSSES | TIMES)
    assert [line["kimg"] for line in lines_of(tmp_path)] == [1.0, 2.0, 3.5]
    assert lines_of(tmp_path)[-1]["time/images_per_second"] == 375.0  # counted from where the run went on


@pytest.mark.parametrize("half", ["{", '{"kimg": ', "3", "[]", '"kimg"', "{}"])
def test_a_line_of_anything_else_is_dropped(tmp_path, half):
    (tmp_path / STATS_NAME).write_text(f'{{"kimg": 1.0}}\n{half}\n')
    with Report(tmp_path, 10.0, 5.0):
        pass
    assert lines_of(tmp_path) == [{"kimg": 1.0}]


@pytest.mark.parametrize("line", [b'{"kimg": "many"}', b'{"kimg": null}', b"\xff\xfe", b"[" * 100_000])
def test_lines_that_are_no_text_or_no_measurements_are_dropped(tmp_path, line):
    (tmp_path / STATS_NAME).write_bytes(b'{"kimg": 1.0}\n' + line + b'\n{"kimg": 2.0}\n')
    with Report(tmp_path, 10.0, 5.0):
        pass
    assert lines_of(tmp_path) == [{"kimg": 1.0}, {"kimg": 2.0}]


def test_what_was_told_is_never_half_there_while_a_run_goes_on(tmp_path):
    with Report(tmp_path, 10.0, 0.0) as report:
        report.tick(1.0, LOSSES | TIMES)
    path = tmp_path / STATS_NAME
    with path.open() as before:
        with Report(tmp_path, 10.0, 1.0):
            pass
        assert before.read() == path.read_text()  # the old file was not cut, another took its place
        assert os.fstat(before.fileno()).st_ino != path.stat().st_ino


def test_a_run_whose_stats_cannot_be_opened_is_told_in_one_sentence(tmp_path):
    (tmp_path / STATS_NAME).mkdir()
    with pytest.raises(InputError, match="cannot write to the run's folder"):
        Report(tmp_path, 10.0, 0.0)


def test_a_bar_needs_no_thread_so_that_processes_may_be_started_meanwhile(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if on a terminal
    before = threading.active_count()
    with progress("decoding") as tell:
        tell(1, 20)
        assert threading.active_count() == before
        tell(20, 20)
    assert "100%" in capsys.readouterr().out


def test_progress_is_told_with_rate_and_time_left_at_each_tenth_of_the_way(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress("judge", "images") as tell:
        for done in (5, 6, 499, 2000, 2001, 50_000):
            now = 100.0 + done / 250
            tell(done, 50_000)
    assert capsys.readouterr().out.splitlines() == [
        "judge: 5/50,000 images, 250 images/s, 0:03:20 left",
        "judge: 50,000/50,000 images, 250 images/s",
    ]
    with progress("judge", "images", before=600) as tell:
        now += 1
        tell(700, 1000)
    assert capsys.readouterr().out == "judge: 700/1,000 images, 100 images/s, 0:00:03 left\n"
    with progress("bench") as tell:
        now += 60
        tell(1, 3)
    assert capsys.readouterr().out == "bench: 1/3, 0:02:00 left\n"


def test_a_bar_tells_rate_and_time_left(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if on a terminal
    monkeypatch.setenv("COLUMNS", "120")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress("measuring", "faces") as tell:
        now += 20
        tell(120, 500)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert re.search(r"measuring \S+ +24% 120/500 faces, 6\.0 faces/s, 0:01:03 left", shown)


def test_off_a_terminal_a_tick_is_one_plain_line(tmp_path, capsys):
    with Report(tmp_path, 10.0, 0.0) as report:
        report.say("begins [bold]runs/a[/bold]" + " and goes on" * 20)
        report.tick(2.0, LOSSES | TIMES)
    said, tick = capsys.readouterr().out.splitlines()
    assert said == "begins [bold]runs/a[/bold]" + " and goes on" * 20
    assert tick == (
        "kimg 2.0/10  500 images/s  eta 0:00:16  wait 25%  "
        "critic/loss -1.235  critic/image_gap 12.5  autoencoder/reconstruction_l1 0.0625"
    )


def test_skipped_samples_are_shown_once_there_are_any(tmp_path, capsys):
    with Report(tmp_path, 10.0, 0.0) as report:
        for skipped in (0, 1234):
            report.tick(2.0 + skipped, LOSSES | TIMES | {"data/skipped": skipped})
    none, some = capsys.readouterr().out.splitlines()
    assert "skipped" not in none
    assert "wait 25%  skipped 1,234  critic/loss" in some


def test_on_a_terminal_there_is_a_table_with_each_loss(tmp_path):
    program = (
        "import sys; from pathlib import Path; from fes.report import Report\n"
        "with Report(Path(sys.argv[1]), 10.0, 0.0) as report:\n"
        "    report.say('begins')\n"
        f"    report.tick(2.0, {LOSSES | TIMES})\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=Path(__file__).parents[2],
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # how a terminal ends
            pass
        assert process.stderr.read() == b""
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "critics" in text
    assert "autoencoder" in text
    for words in ("begins", "image gap", "-1.2346", "12.5000", "0.0625", "kimg 2.0/10", "500 images/s"):
        assert words in text


def test_curves_and_grids_reach_tensorboard_at_their_picture_count(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    with Report(tmp_path, 10.0, 0.0) as report:
        report.tick(2.0, LOSSES | TIMES)
        report.grid(2.0, Image.fromarray(pixels))
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(board.Tags()["scalars"]) == {"kimg", *LOSSES, *TIMES, "time/images_per_second"}
    (event,) = board.Scalars("critic/image_gap")
    assert (event.step, event.value) == (2000, 12.5)
    (grid,) = board.Images("grid")
    assert (grid.step, grid.height, grid.width) == (2000, 3, 4)


def test_curves_of_steps_that_are_taken_again_are_purged(tmp_path):
    for start, ticks in ((0.0, (1.0, 2.0, 3.0)), (2.0, (3.5,))):
        with Report(tmp_path, 10.0, start) as report:
            for kimg in ticks:
                report.tick(kimg, LOSSES | TIMES)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("critic/loss")] == [1000, 2000, 3500]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (360_000, "100:00:00"), (-5.0, "0:00:00")],
)
def test_durations_are_hours_minutes_and_seconds(seconds, text):
    assert duration(seconds) == text

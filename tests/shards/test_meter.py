import os
import pty
import sys

import pytest

from shards.meter import Meter


def test_the_meter_prints_a_line_per_quarter_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Meter("reading", "rows") as meter:
        for done in range(101):
            meter(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "25 %, 0:00:00 left",
        "50 %, 0:00:00 left",
        "75 %, 0:00:00 left",
        "100 %",
    ]
    assert all(line.startswith("reading, ") and "rows/s" in line for line in lines)


def test_the_meter_says_nothing_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("reading", "rows") as meter:
        meter(0, 0)
    assert capsys.readouterr().err == ""


def test_the_rate_is_told_in_the_unit(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter("reading", "MB", scale=1e6)
    meter.started -= 2
    meter(8_000_000, 8_000_000)
    assert "reading, 4 MB/s" in capsys.readouterr().err


def test_the_meter_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with Meter("reading", "rows") as meter:
            meter.drawn -= 1
            meter(50, 100)
        terminal.flush()
    drawn = os.read(reader, 10_000).decode()
    os.close(reader)
    assert "reading" in drawn
    assert "50%" in drawn

"""What is told where nobody reads it changes nothing of what comes after."""

import io
import os
import subprocess
import sys

import pytest

from fes.telling import tell

TELLS = """
import sys
from fes.telling import tell
tell("one")
tell("two")
print("goes on")
sys.exit(7)
"""


def ended(**streams: int) -> subprocess.CompletedProcess[str]:
    """A program that tells something; with what Python holds back of it, as it does for users."""
    held_back = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", TELLS], env=held_back, text=True, check=False, timeout=60, **streams
    )


def test_lines_go_to_stderr(capsys):
    tell("one")
    tell("two")
    assert capsys.readouterr() == ("", "one\ntwo\n")


def test_where_the_reader_has_left_a_program_goes_on_and_ends_with_its_own_code():
    reader, writer = os.pipe()
    os.close(reader)
    done = ended(stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert (done.stdout, done.returncode) == ("goes on\n", 7)


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_where_there_is_no_stderr_a_program_goes_on(stderr, monkeypatch, capsys):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stderr else None)
    tell("one")
    assert capsys.readouterr().out == ""


def test_where_a_disk_is_full_a_program_goes_on():
    with open("/dev/full", "wb") as full:
        done = ended(stdout=subprocess.PIPE, stderr=full)
    assert done.stdout == "goes on\n"

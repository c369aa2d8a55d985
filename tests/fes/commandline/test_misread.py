"""What cannot be read of a command line is one sentence: which flag, what stands there, what should."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import tyro

from fes.commandline import parsed
from fes.commandline.misread import complaints_in_one_sentence
from fes.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options:
    """What to bake."""

    oven: tyro.conf.Positional[str]
    """Where."""
    out: Path
    """The folder to write to; made where it does not exist."""
    source: str
    """Flour: of wheat."""
    kind: Literal["rye", "wheat"] = "rye"
    """What it is of."""
    loaves: int | None = None
    """How many. None: all."""
    weight: float = 1.0
    """In kilograms."""
    hours: tuple[int, ...] = (1,)
    """When."""
    share: float | None = None
    """How much. None: all."""


GIVEN = ["mine", "--out", "a", "--source", "b"]


@pytest.mark.parametrize("columns", [60, 100, 300])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*GIVEN, "--weight", "heavy"], "--weight is 'heavy': it must be a number"),
        ([*GIVEN, "--share", "0,5"], "--share is '0,5': it must be a number, or None"),
        ([*GIVEN, "--loaves", "2.5"], "--loaves is '2.5': it must be a whole number, or None"),
        ([*GIVEN, "--hours", "1", "x"], "--hours is '1 x': it must be whole numbers"),
        ([*GIVEN, "--kind", "whaet"], "--kind is 'whaet'; did you mean 'wheat'?"),
        ([*GIVEN, "--kind", "7"], "--kind is '7'; choose from rye, wheat"),
        ([*GIVEN, "--loaves", "it's"], "--loaves is 'it's': it must be a whole number, or None"),
        ([*GIVEN, "--hours", "1", "it's"], "--hours is '1 it's': it must be whole numbers"),
        ([*GIVEN, "--hours=[2]:"], "--hours is '[2]:': it must be whole numbers"),
        ([*GIVEN, "--weight", 50 * "1,5"], f"--weight is '{50 * '1,5'}': it must be a number"),
        ([*GIVEN[1:], "--weight", "heavy", "mine"], "--weight is 'heavy': it must be a number"),
        ([*GIVEN[1:], "--kind", "rey", "mine"], "--kind is 'rey'; did you mean 'rye'?"),
        ([*GIVEN, "--weight"], "--weight has no value: write its value after it"),
        (GIVEN[:3], "--source (flour) is missing"),
        (GIVEN[:1], "--out (the folder to write to) and --source (flour) are missing"),
    ],
)
def test_a_complaint_is_one_sentence_on_terminals_of_any_width(words, told, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(InputError) as refused:
        parsed(Options, words, "bake")
    assert str(refused.value) == f"{told}; 'bake --help' tells more"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [2, 3, "gone"])
def test_what_is_of_no_known_kind_is_printed_as_it_is(code, capsys):
    box = "╭─ Oven ───────╮\n│ It is cold.  │\n╰──────────────╯\n"
    with pytest.raises(SystemExit) as ended:
        said(lambda: sys.exit(code), box)
    assert ended.value.code == code
    assert capsys.readouterr().err == box


@pytest.mark.parametrize("box", ["", "\n", "╭╮\n", "no box at all\n"])
def test_a_box_that_is_none_is_printed_as_it_is(box, capsys):
    with pytest.raises(SystemExit):
        said(lambda: sys.exit(2), box)
    assert capsys.readouterr().err == box


def test_what_is_said_beside_a_command_line_that_can_be_read_is_still_said(capsys):
    said(lambda: None, "a warning\n")
    assert capsys.readouterr().err == "a warning\n"


PLAIN = """
import dataclasses
from fes.commandline import parsed
from fes.errors import told_in_one_sentence

@dataclasses.dataclass
class Options:
    out: str

with told_in_one_sentence("bake"):
    parsed(Options, [], "bake")
"""


def test_where_boxes_have_no_lines_the_sentence_is_the_same():
    plain = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], env=plain, capture_output=True, text=True, check=False
    )
    assert done.stderr == "bake: --out is missing; 'bake --help' tells more\n"
    assert done.returncode == 2


def said(then: Callable[[], object], text: str) -> None:
    with complaints_in_one_sentence("bake", []):
        sys.stderr.write(text)
        then()

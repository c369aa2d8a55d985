"""Docstrings as help texts."""

from dataclasses import dataclass, field, fields
from typing import Annotated

import pytest
import tyro

from fes import cli as of_fes
from fes.commandline import parsed
from fes.commandline.helptexts import give_help_texts, unfold
from fes.training.arguments import Arguments
from shards import cli as of_shards


@dataclass
class Inner:
    depth: int = 0
    """How deep, where a line
    (of a docstring) ends in its middle: the next
    --may begin with anything."""


@dataclass
class Outer:
    inner: Annotated[Inner, tyro.conf.arg(name="")] = field(default_factory=Inner)
    width: int = 0
    """One paragraph
    of two lines.

    And another."""
    bare: int = 0


def test_lines_of_a_paragraph_become_one_and_paragraphs_stay():
    assert unfold("One\n    two\n    three.\n\n    Four\n    five.\n") == "One two three.\n\nFour five."


def test_fields_get_their_docstrings_on_one_line_in_what_they_hold_too():
    give_help_texts(Annotated[Outer, "a command"] | None)
    assert [each.metadata.get("help") for each in fields(Outer)] == [
        None,
        "One paragraph of two lines.\n\nAnd another.",
        None,
    ]
    (depth,) = fields(Inner)
    assert depth.metadata["help"].endswith(" in its middle: the next --may begin with anything.")


def test_a_help_breaks_lines_where_the_terminal_does(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parsed(Outer, ["--help"], "outer")
    shown = capsys.readouterr().out
    assert (
        "How deep, where a line (of a docstring) ends in its middle: the next --may begin with any" in shown
    )


@pytest.mark.parametrize("kind", [of_fes.Command, of_shards.Command, Arguments])
def test_no_help_of_the_project_keeps_the_line_breaks_of_its_source(kind):
    give_help_texts(kind)
    seen = 0
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        waiting += getattr(each, "__args__", ())
        for setting in (
            fields(each) if isinstance(each, type) and hasattr(each, "__dataclass_fields__") else ()
        ):
            waiting.append(setting.type)
            seen += "help" in setting.metadata
            assert "\n" not in setting.metadata.get("help", "").replace("\n\n", "")
    assert seen > 10


def test_settings_of_an_evaluation_stand_with_the_options(capsys):
    with pytest.raises(SystemExit):
        of_fes.main(["evaluate", "--help"])
    assert "options options" not in capsys.readouterr().out

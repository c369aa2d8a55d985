"""Misspelt words on a command line."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tyro

from fes import __version__
from fes.commandline import check_words, parsed, part_of_picture, tell_version
from fes.errors import InputError


@dataclass
class Inner:
    deep_value: int = 0


@dataclass
class Outer:
    plain: int = 0
    quick: bool = False
    inner: Inner = field(default_factory=Inner)


@dataclass
class Bare:
    face_file: tyro.conf.Positional[Path]
    plain: int = 0
    out: Path | None = None
    note: str = ""


@dataclass
class Fed:
    data: str
    config: Path | None = None


COMMANDS = {"run": Outer, "draw": Bare, "feed": Fed, "group": {"first": Inner, "second": Inner}}


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--plain", "3", "--deep-value=4", "--deep_value", "5"],
        ["group", "first", "--deep-value", "-1"],
        ["draw", "face.png", "--plain", "3"],
        ["--help"],
        ["run", "--help"],
        ["group"],
        [],
    ],
)
def test_words_that_mean_something_pass(words):
    check_words(words, COMMANDS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], r"there is no command 'rnu'; did you mean 'run'\?"),
        (["group", "frist"], r"there is no command 'group frist'; did you mean 'first'\?"),
        (["run", "--plian", "3"], r"there is no flag --plian; did you mean '--plain'\?"),
        (
            ["run", "--inner.deep-value", "3"],
            "there is no flag --inner.deep-value; did you mean '--deep-value'",
        ),
        (["draw", "--face_file=face.png"], "--face-file is no flag: write what it stands for without it"),
    ],
)
def test_a_word_that_means_nothing_is_told_with_the_nearest(words, told):
    with pytest.raises(InputError, match=told):
        check_words(words, COMMANDS)


def test_flags_of_nested_settings_bear_their_names_where_they_should():
    check_words(["--plain", "1", "--inner.deep-value", "2"], Outer, prefixed=True)
    with pytest.raises(InputError, match=r"did you mean '--inner.deep-value'"):
        check_words(["--deep-value", "2"], Outer, prefixed=True)


def test_what_is_switched_on_can_be_switched_off_where_flags_come_in_pairs():
    check_words(["--quick", "--no-quick"], Outer, pairs=True)
    for words, told in (
        (["--no-quick"], "did you mean '--quick'"),
        (["--no-plain", "1"], "no flag --no-plain"),
    ):
        with pytest.raises(InputError, match=told):
            check_words(words, Outer, pairs="plain" in words[0])


def test_a_part_of_a_picture_is_told_by_left_and_upper_edge_and_side_or_by_a_word():
    assert part_of_picture("--crop", "150,0,212") == (150, 0, 212)
    assert [part_of_picture("--crop", word) for word in ("found", "middle")] == ["found", "middle"]


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "1,2,x", "1.5,2,3", "-1,2,3", "1,-2,3", "1,2,0"])
def test_what_is_no_square_is_told_in_a_sentence(text):
    with pytest.raises(InputError, match=rf"^--crop {text} is no square: give it as LEFT,TOP,SIDE, such as"):
        part_of_picture("--crop", text)


def test_the_words_that_stand_for_a_part_of_a_picture_are_told():
    with pytest.raises(
        InputError, match=r"--crop fund is no square: .* write 'found' for .*, or 'middle' for"
    ):
        part_of_picture("--crop", "fund")


def test_no_words_at_all_pass():
    check_words([], Outer)


@pytest.mark.parametrize("words", [["--out", ""], ["--out="], ["--plain", "3", "--out", ""]])
def test_a_file_whose_name_is_empty_is_told(words):
    with pytest.raises(InputError, match=r"^--out is empty: name a file or folder after it$"):
        check_words(["draw", "face.png", *words], COMMANDS)
    check_words(["draw", "face.png", "--note", "", "--out", "a"], COMMANDS)


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        (
            Bare,
            ["a.png", "b.png", "--plain", "3", "c.png"],
            "one face file at a time: leave out b.png, c.png",
        ),
        (Bare, ["a.png", "-o", "b.png"], "there is no flag -o; 'fes draw --help' lists them all"),
        (Outer, ["a.png"], "a.png follows no flag: leave it out; 'fes draw --help' lists the flags"),
    ],
)
def test_a_word_for_which_there_is_no_place_is_told(kind, words, told):
    with pytest.raises(InputError, match=f"^{told}$"):
        parsed(kind, words, "fes draw")


@pytest.mark.parametrize("second", [["--data", "b"], ["--data=b"], ["--config", "c", "--data", "a"]])
def test_data_given_twice_are_refused_with_how_several_are_written(second):
    with pytest.raises(InputError) as caught:
        check_words(["feed", "--data", "a", *second], COMMANDS)
    assert str(caught.value) == (
        "--data is given twice: leave one out; several, where a command takes them, are written as --data A,B"
    )


def test_of_two_files_of_settings_none_is_dropped():
    with pytest.raises(InputError) as caught:
        check_words(["feed", "--config", "a", "--data", "d", "--config=b"], COMMANDS)
    assert str(caught.value) == (
        "--config is given twice: put the settings of both into one file, as one is read"
    )


def test_any_other_flag_may_be_given_again_as_wrappers_do():
    check_words(["run", "--plain", "1", "--plain", "2", "--quick", "--quick"], COMMANDS)


def test_a_version_is_told_where_it_alone_is_asked_for(capsys):
    tell_version(["run", "--version"], "fes")
    with pytest.raises(SystemExit) as ended:
        tell_version(["--version"], "fes-shards")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fes-shards {__version__}\n"

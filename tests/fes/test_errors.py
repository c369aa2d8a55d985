"""What the user did wrong is one sentence; what fes did wrong keeps its traceback."""

import pytest

from fes import errors
from fes.errors import InputError, Lost, nearest, told_in_one_sentence


def test_a_misspelt_name_gets_the_nearest_and_a_strange_one_the_choices():
    assert nearest("hapy", ["happy", "sad"]) == "; did you mean 'happy'?"
    assert nearest("xyz", ["happy", "sad"]) == "; choose from happy, sad"
    assert nearest("fer", ["folder", "fer2013"]) == "; did you mean 'fer2013'?"
    assert nearest("sadd", iter(["happy", "sad"])) == "; did you mean 'sad'?"


def test_an_input_error_becomes_a_sentence_and_code_2(capsys):
    with pytest.raises(SystemExit) as ended, told_in_one_sentence("fes"):
        raise InputError("there is no such face")
    assert ended.value.code == 2
    assert ended.value.__suppress_context__
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "fes: there is no such face\n")


def test_what_is_lost_is_told_alike_and_asks_schedulers_for_another_start(capsys):
    with pytest.raises(SystemExit) as ended, told_in_one_sentence("fes"):
        raise Lost("a process is gone")
    assert ended.value.code == 134
    assert capsys.readouterr().err == "fes: a process is gone\n"


def test_only_one_of_several_processes_says_the_sentence_and_the_others_leave_it_the_time(
    capsys, monkeypatch
):
    waited = []
    monkeypatch.setattr(errors.time, "sleep", waited.append)
    with pytest.raises(SystemExit) as ended, told_in_one_sentence("fes", silent=True):
        raise InputError("there is no such face")
    assert ended.value.code == 2
    assert capsys.readouterr().err == ""
    assert waited == [errors.WHILE]


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), told_in_one_sentence("fes"):
        raise ZeroDivisionError


def test_nothing_wrong_is_nothing_said(capsys):
    with told_in_one_sentence("fes"):
        pass
    assert capsys.readouterr().err == ""

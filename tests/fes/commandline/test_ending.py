"""Commands that end early: by Ctrl-C, by SIGTERM, and as nobody reads on."""

import contextlib
import signal
import sys

import pytest

from fes.commandline import Terminated, interrupted, readers_may_leave, terminable
from fes.errors import told_in_one_sentence


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_a_sentence_as_it_is_then_and_the_code_that_shells_expect(number, code, capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    done = []
    try:
        with pytest.raises(SystemExit) as ended, interrupted(lambda: f"stopped: {done}"), terminable():
            signal.raise_signal(done.append(number) or number)
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert ended.value.code == code
    assert capsys.readouterr().err == f"stopped: {[number]}\n"


def test_what_answers_ctrl_c_answers_sigterm():
    with pytest.raises(KeyboardInterrupt) as stop, terminable():
        signal.raise_signal(signal.SIGTERM)
    assert stop.type is Terminated


def test_sigterm_that_is_ignored_still_is():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminable():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(params=[True, False], ids=["held back", "at once"])
def full(request):
    """A stdout without room, with what Python holds back of it, or in lines."""
    with contextlib.suppress(OSError), open("/dev/full", "w", buffering=-1 if request.param else 1) as stream:
        yield stream


def test_where_a_disk_has_no_room_for_what_is_printed_that_is_one_sentence(full, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(SystemExit) as ended, told_in_one_sentence("fes"), readers_may_leave():
        print("what was asked for")
    assert ended.value.code == 2
    told = "what is printed cannot be written: No space left on device; make room, and give the same command"
    assert capsys.readouterr().err == f"fes: {told} again\n"
    assert sys.stdout is full
    full.flush()  # as Python does at its end: it would be another exit code


def test_where_a_disk_has_no_room_for_a_log_the_work_goes_on(full, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", full)
    with readers_may_leave(disks_may_fill=True):
        print("a line", flush=True)
        print("another", flush=True)
    assert capsys.readouterr().err == ""
    assert sys.stdout is full
    full.flush()

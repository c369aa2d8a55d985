"""Commands that end early: by Ctrl-C, by SIGTERM, and as nobody reads on."""

import signal

import pytest

from fes.commandline import Terminated, interrupted, terminable


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

"""Commands that end early: by Ctrl-C, by SIGTERM, and as nobody reads on."""

import signal
import subprocess
import sys

import pytest

from fes.commandline import Terminated, interrupted, terminable
from tests.processes import REPOSITORY


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


LOADING = """
import os, signal, sys

class Slow:  # asked for each module before it is loaded
    def find_spec(self, name, *_):
        if name == "fes.cli":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, {before})
sys.meta_path.insert(0, Slow())
sys.argv = ["fes", "--version"]
from fes.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("before", "code", "told"),
    [("signal.default_int_handler", -signal.SIGINT, ""), ("signal.SIG_IGN", 0, "fes ")],
    ids=["in the foreground", "in the background, where it is ignored"],
)
def test_ctrl_c_while_fes_loads_ends_it_without_a_word(before, code, told):
    done = subprocess.run(
        [sys.executable, "-c", LOADING.format(before=before)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == code
    assert done.stdout.startswith(told)
    assert bool(done.stdout) == bool(told)
    assert done.stderr == ""

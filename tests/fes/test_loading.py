"""Ctrl-C while a program loads what it needs."""

import signal
import subprocess
import sys

import pytest

from tests.processes import REPOSITORY

LOADING = """
import os, signal, sys

class Slow:  # asked for each module before it is loaded
    def find_spec(self, name, *_):
        if name == "{package}.cli":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, {before})
sys.meta_path.insert(0, Slow())
sys.argv = ["x", "--version"]
from {package}.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("before", "code", "told"),
    [("signal.default_int_handler", -signal.SIGINT, False), ("signal.SIG_IGN", 0, True)],
    ids=["in the foreground", "in the background, where it is ignored"],
)
@pytest.mark.parametrize("package", ["fes", "shards"])
def test_ctrl_c_while_a_program_loads_ends_it_without_a_word(package, before, code, told):
    program = LOADING.format(package=package, before=before)
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr, bool(done.stdout)) == (code, "", told)

"""Cores are counted as this process may use them, and memory stays where it is wanted again."""

import os
import platform
import subprocess
import sys

import pytest

from fes.machine import cores, keep_memory

PAGES = """
import resource
import numpy
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    for mebibytes in (3, 40, 100):
        numpy.empty(mebibytes * 2**20, numpy.uint8).fill(1)
use()
before = faults()
for _ in range(5):
    use()
print(faults() - before)
"""


def test_the_cores_are_those_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() == len(allowed)


def page_faults(first: str) -> int:
    """In a process of its own, as it uses memory for which it has room, behind some first lines."""
    code = [sys.executable, "-c", PAGES.format(first=first)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    return int(subprocess.run(code, check=True, capture_output=True, text=True, env=environment).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept where glibc gives it")
@pytest.mark.parametrize(
    "first",
    [
        "from fes.machine import keep_memory; keep_memory('cpu')",
        "from fes.runtime.processes import Runtime; Runtime()",
    ],
)
def test_freed_memory_is_used_again_without_the_systems_help(first):
    assert page_faults(first) < page_faults("") / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept where glibc gives it")
def test_memory_is_given_back_where_tensors_lie_on_another_device():
    assert page_faults("from fes.machine import keep_memory; keep_memory('cuda')") > page_faults("") / 2


def test_a_c_library_without_such_a_setting_is_asked_once_and_left_alone(monkeypatch):
    asked = []
    monkeypatch.setattr("ctypes.CDLL", lambda name: asked.append(name) or object())
    keep_memory("cuda")
    assert not asked
    keep_memory("cpu")
    assert asked == [None]

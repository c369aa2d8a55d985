"""Runs the tests that need a GPU: `make gpu`, or `python -m bench.gpu`.

Adds a line of json for each test, with the GPU, the versions and the commit, to bench/results/gpu.jsonl.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bench.commandline import options_of
from bench.recording import RESULTS, keep, machine
from fes.errors import InputError

TESTS = Path(__file__).parents[1] / "tests"


@dataclass(frozen=True)
class Options:
    """Run the tests that need a GPU, and keep what became of them; there is nothing to choose."""


class Outcomes:
    """A plugin of pytest that collects what became of each test."""

    def __init__(self) -> None:
        self.results: list[dict[str, object]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a test's call, or why it was not called."""
        if report.when == "call" or report.outcome != "passed":
            self.results.append(
                {"what": report.nodeid, "outcome": report.outcome, "seconds": report.duration}
            )


def run() -> int:
    """Runs them all; returns pytest's exit code: 1 where a test failed, 2 and more where none were run.

    Raises:
        InputError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise InputError("this machine has no GPU that torch can use: `make test` runs all other tests")
    about, outcomes = machine("cuda"), Outcomes()
    code = pytest.main(["-m", "gpu", str(TESTS)], plugins=[outcomes])
    keep(RESULTS / "gpu.jsonl", about, outcomes.results)
    return code


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("gpu", Options, arguments):
        raise SystemExit(run())


if __name__ == "__main__":
    main()

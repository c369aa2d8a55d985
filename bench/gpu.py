"""Runs the tests that need a GPU: `make gpu`, or `python -m bench.gpu`.

Adds a line of json for each test, with the GPU, the versions and the commit, to bench/results/gpu.jsonl.
"""

import sys
from pathlib import Path

import pytest
import torch

from bench.recording import RESULTS, keep, machine

TESTS = Path(__file__).parents[1] / "tests"


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


def main() -> None:
    """Runs them all; ends with pytest's exit code: 1 where a test failed, 2 and more where none were run."""
    if not torch.cuda.is_available():
        print("this machine has no GPU that torch can use: `make test` runs all other tests", file=sys.stderr)
        raise SystemExit(2)
    about, outcomes = machine("cuda"), Outcomes()
    code = pytest.main(["-m", "gpu", str(TESTS)], plugins=[outcomes])
    keep(RESULTS / "gpu.jsonl", about, outcomes.results)
    raise SystemExit(code)


if __name__ == "__main__":
    main()

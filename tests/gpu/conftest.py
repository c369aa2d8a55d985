"""What all tests on a GPU begin with."""

import pytest
import torch

from fes.hardware import Hardware
from fes.runtime.precision import set_arithmetic


@pytest.fixture(autouse=True)
def arithmetic_of_a_run() -> None:
    """float32 is float32, as in a run: torch by itself lets convolutions round their factors to 10 bits, and
    two ways to compute the same then differ by more than their order."""
    if torch.cuda.is_available():
        set_arithmetic(Hardware(), torch.device("cuda"))

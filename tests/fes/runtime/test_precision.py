"""What networks compute in: refused where a device cannot, told in a line, and exact where asked."""

import pytest
import torch

from fes.errors import InputError
from fes.hardware import Hardware
from fes.runtime.precision import check_precision, describe_arithmetic, set_arithmetic

CPU = torch.device("cpu")


@pytest.fixture
def _as_before():
    yield
    torch.use_deterministic_algorithms(False)


def test_fp16_is_refused_on_a_cpu_and_bf16_is_not():
    with pytest.raises(InputError, match="asks for fp16, and this is a CPU"):
        check_precision("fp16", CPU)
    check_precision("bf16", CPU)
    check_precision("no", CPU)


@pytest.mark.parametrize(
    ("precision", "hardware", "told"),
    [
        ("no", Hardware(), "cpu: float32"),
        ("bf16", Hardware(), "cpu: bf16, penalties in float32"),
        ("no", Hardware(deterministic=True), "cpu: float32, deterministic"),
    ],
)
def test_the_arithmetic_is_told_in_a_line(precision, hardware, told):
    assert describe_arithmetic(precision, hardware, CPU) == told


@pytest.mark.usefixtures("_as_before")
def test_deterministic_refuses_algorithms_that_are_not():
    set_arithmetic(Hardware(deterministic=True), CPU)
    assert torch.are_deterministic_algorithms_enabled()
    set_arithmetic(Hardware(), CPU)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_as_asked_for_products_and_convolutions_alike(tf32):
    device = torch.device("cuda")
    set_arithmetic(Hardware(tf32=tf32), device)
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == tf32
    assert describe_arithmetic("no", Hardware(tf32=tf32), device).endswith(
        f"with{'' if tf32 else 'out'} tf32"
    )

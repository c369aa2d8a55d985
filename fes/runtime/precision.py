"""What networks compute in, and how exactly.

Whatever precision is asked for, a gradient penalty is computed in float32
(`fes.learning.losses.gradient_norm`), as exactly as others in float32 are: its double backward overflows in
fp16.
"""

import os
import warnings

import torch

from fes.errors import InputError
from fes.hardware import Hardware, Precision

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FIRST_SCALE = 2.0**10
"""torch's own beginning, 2^16, overflows in every first step."""


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises `InputError` where a device cannot compute in a precision, or only by emulation."""
    if precision == "fp16" and device.type == "cpu":
        raise InputError("the launch profile asks for fp16, and this is a CPU: take 'no' or 'bf16'")
    gpu = device.type == "cuda"
    if precision == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        major, minor = torch.cuda.get_device_capability(device)
        raise InputError(
            f"the launch profile asks for bf16, and the {torch.cuda.get_device_name(device)} "
            f"(sm_{major}{minor}) only emulates it, slower than float32: take 'no' or 'fp16'"
        )


def set_arithmetic(hardware: Hardware, device: torch.device) -> None:
    """Chooses algorithms and the rounding of float32 products, for this process."""
    # Asked first: the setter imports a compiler, which takes longer than the rest of the start.
    if hardware.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(hardware.deterministic)
    if hardware.channels_last:  # DDP on kernels of one channel, to which both orders are the same
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
    if device.type == "cuda":
        if hardware.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = not hardware.deterministic
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = hardware.tf32


def describe_arithmetic(precision: Precision, hardware: Hardware, device: torch.device) -> str:
    """One line for people, e.g. `NVIDIA H100: float32, without tf32`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name}: {describe_numbers(precision, hardware, device)}"


def describe_numbers(precision: Precision, hardware: Hardware, device: torch.device) -> str:
    """The same without the device's name."""
    numbers = "float32" if precision == "no" else f"{precision}, penalties in float32"
    tf32 = "" if device.type != "cuda" else ", with tf32" if hardware.tf32 else ", without tf32"
    more = ", channels last" * hardware.channels_last + ", deterministic" * hardware.deterministic
    return f"{numbers}{tf32}{more}"

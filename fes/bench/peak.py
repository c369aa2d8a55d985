"""What a device can compute at the most: one large matrix product, and one large convolution."""

import time
from collections.abc import Callable

import torch
from torch.nn import functional

_SIZES = {"cuda": (8192, 256, 128), "cpu": (1024, 16, 64)}
"""The side of the matrices; pictures and feature maps of the convolution, of 48 px."""
_SECONDS = 1.0


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_flops(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Floating point operations per second of a matrix product (`product`) and of a 3x3 convolution of 48 px
    (`convolution`); a multiplication and an addition count as two."""
    side, pictures, features = _SIZES[device.type]
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    x = torch.randn(pictures, features, 48, 48, device=device, dtype=dtype)
    kernel = torch.randn(features, features, 3, 3, device=device, dtype=dtype)
    products = 2.0 * side**3
    convolved = 2.0 * x.numel() * kernel[0].numel()
    return {
        "product": products * _rate(lambda: matrix @ matrix, device),
        "convolution": convolved * _rate(lambda: functional.conv2d(x, kernel, padding=1), device),
    }


def _rate(work: Callable[[], object], device: torch.device) -> float:
    """Calls per second, after two that do not count."""
    for _ in range(2):
        work()
    synchronise(device)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < _SECONDS:
        for _ in range(4):
            work()
        synchronise(device)
        calls += 4
    return calls / (time.perf_counter() - start)

"""What this machine offers."""

import contextlib
import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""
_NEVER = 2**31 - 1


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_memory(computes_on: str) -> None:
    """Lets this process keep, for good, the memory that it frees, if tensors lie in it and it runs on glibc.

    glibc gives large pieces back to the system, which clears them page by page when they are asked for again.
    A step on the CPU makes the tensors of the one before: it spends more on that the larger they are.

    Args:
        computes_on: the type of the device, as torch names it; but for `cpu` nothing is done.
    """
    if computes_on != "cpu":
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)

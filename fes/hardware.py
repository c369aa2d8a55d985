"""How a run is computed on the hardware at hand. Nothing here changes what it learns, but for rounding.

The launcher and its profile own the rest of the hardware: processes, precision, backend.
"""

from dataclasses import dataclass
from typing import Literal

from fes.errors import InputError

Precision = Literal["no", "bf16", "fp16"]
"""What networks compute in: float32 throughout, or half of its bits where that is safe."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Settings that a run may change whenever it goes on."""

    micro_batch: int | None = None
    """Most pictures that a process works on at once; a larger share of the batch is taken in equal pieces
    whose gradients are added up. The weights are those of the whole batch. None: all at once."""
    deterministic: bool = False
    """Only algorithms that give the same bits in each run on the same GPUs; slower."""
    tf32: bool = False
    """Let Ampere and newer GPUs round the factors of float32 products to 10 bits; faster."""
    channels_last: bool = False
    """Keep pictures in memory as height, width, channels: faster on some GPUs, slower on others."""
    replay: bool = False
    """Record the steps on one GPU as CUDA graphs and replay them: faster where batches are small."""
    rank_timeout: float = 30.0
    """Seconds without a sign of life after which the other processes count one as gone, and leave."""


def check_hardware(hardware: Hardware) -> Hardware:
    """The settings themselves; raises `InputError`, naming the flag, for values that make no sense."""
    if hardware.micro_batch is not None and hardware.micro_batch < 1:
        raise InputError(f"--micro-batch is {hardware.micro_batch}: it must be at least 1")
    if not 1 <= hardware.rank_timeout < float("inf"):
        raise InputError(f"--rank-timeout is {hardware.rank_timeout}: it must be at least 1 second")
    return hardware


def pieces(share: int, micro_batch: int | None) -> int:
    """The smallest number of equal pieces of a share, none larger than a micro-batch."""
    least = 1 if micro_batch is None else -(-share // micro_batch)
    return next(count for count in range(least, share + 1) if share % count == 0)

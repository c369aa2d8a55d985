"""Batches on their way to a GPU."""

import contextlib

import pytest
import torch

from fes.data.stream import Stream
from fes.runtime.processes import Runtime
from shards.index import ShardIndex

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_lie_in_pinned_memory_and_arrive_whole_though_the_gpu_is_busy(
    drawn_index: ShardIndex, workers: int
) -> None:
    stream = Stream([drawn_index.split("train")], seed=0, batch=32, window=64)
    busy = torch.randn(4096, 4096, device="cuda")
    with contextlib.closing(stream.batches(0, workers)) as batches:
        assert all(part.is_pinned() for part in next(batches))
    with contextlib.closing(stream.batches(0, workers)) as batches:
        placed = Runtime().placed(batches)
        for _ in range(50):  # copies wait behind this, while the memory that they read from is given back
            busy = torch.tanh(busy @ busy)
        arrived = [next(placed) for _ in range(20)]
    for step, batch in enumerate(arrived):
        for part, expected in zip(batch, stream[step], strict=True):
            assert part.is_cuda
            assert torch.equal(part.cpu(), expected)

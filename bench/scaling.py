"""A model of training on many GPUs, from what was measured on few: nothing here is a measurement.

A step takes t(n) = compute + max(last, all-reduces - overlap) on n GPUs. Buckets of gradients are
all-reduced one after another; DDP begins with the first when that is full, while the backward pass goes on,
and with the last when the backward pass is over, so that the last is never hidden. A ring of n moves
2 (n - 1) / n times the bytes through each link, in 2 (n - 1) hops. Inside a node gradients are summed in
scattered parts and gathered again; between nodes all parts go through the node's one network card.

Left out: stragglers, reading the data, what NCCL gains by trees on hundreds of nodes and what TCP loses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REACHED = 0.8
"""Share of a link's nominal rate that all-reduces reach: nccl-tests report a bus bandwidth of 230 to 250
GB/s for the 300 of 8 A100."""


@dataclass(frozen=True)
class Link:
    """What connects neighbours in a ring."""

    name: str
    bytes_per_second: float
    """Nominal, in each direction."""
    latency: float
    """Seconds of a hop: those that NCCL's own model assumes (src/graph/tuning.cc, ring, protocol Simple)."""


NVLINK = Link("NVLink", 300e9, 3.4e-6)
"""NVLink 3 of an A100: 600 GB/s, both directions together."""
PCIE = Link("PCIe", 31.5e9, 5.7e-6)
"""PCIe 4.0 x16: 16 lanes of 16 GT/s, 128 of 130 bits of them data."""
ETHERNET_100 = Link("100 GbE", 12.5e9, 14e-6)
ETHERNET_25 = Link("25 GbE", 3.125e9, 14e-6)


@dataclass(frozen=True)
class Cluster:
    """Nodes of `node` GPUs each."""

    inside: Link
    between: Link
    node: int = 8

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.inside.name}, {self.between.name}"


CLUSTERS = tuple(Cluster(inside, net) for inside in (NVLINK, PCIE) for net in (ETHERNET_100, ETHERNET_25))


@dataclass(frozen=True)
class Step:
    """What was measured of a player's step."""

    fixed: float
    """Seconds that do not depend on the batch."""
    per_picture: float
    """Seconds more for each picture of a GPU's share."""
    buckets: tuple[int, ...]
    """Bytes of the gradients that are all-reduced at once, in their order."""
    overlap: float
    """Share of the computing between the moments when the first and the last bucket are full."""
    times: int
    """Steps of this player in a cycle."""

    def compute(self, pictures: float) -> float:
        """Seconds of a step on so many pictures, without a word to others."""
        return self.fixed + self.per_picture * pictures

    def faster(self, times: float) -> "Step":
        """The same on a device that computes so many times as fast."""
        return Step(self.fixed / times, self.per_picture / times, self.buckets, self.overlap, self.times)


def ring(size: float, ranks: int, link: Link) -> float:
    """Seconds of an all-reduce of `size` bytes around a ring."""
    bandwidth = REACHED * link.bytes_per_second
    return 2 * (ranks - 1) * (size / ranks / bandwidth + link.latency)


def all_reduce(size: float, gpus: int, cluster: Cluster) -> float:
    """Seconds of an all-reduce of `size` bytes over GPUs that fill one node after another."""
    inside, nodes = min(gpus, cluster.node), -(-gpus // cluster.node)
    return ring(size, inside, cluster.inside) + ring(size, nodes, cluster.between)


def step_seconds(step: Step, pictures: float, gpus: int, cluster: Cluster) -> float:
    """Seconds of a step with so many pictures on each GPU."""
    compute = step.compute(pictures)
    each = [all_reduce(size, gpus, cluster) for size in step.buckets]
    return compute + max(each[-1], sum(each) - step.overlap * compute)


def cycle_seconds(steps: Sequence[Step], pictures: float, gpus: int, cluster: Cluster) -> float:
    """Seconds of a cycle: the critics' steps and the autoencoder's."""
    return sum(step.times * step_seconds(step, pictures, gpus, cluster) for step in steps)


def weak_efficiency(steps: Sequence[Step], pictures: float, gpus: int, cluster: Cluster) -> float:
    """The speed of each of so many GPUs beside one that is alone, with `pictures` on each in both cases."""
    return cycle_seconds(steps, pictures, 1, cluster) / cycle_seconds(steps, pictures, gpus, cluster)


def strong_efficiency(steps: Sequence[Step], batch: float, gpus: int, cluster: Cluster) -> float:
    """The same with a global batch of `batch` pictures in both cases."""
    one = cycle_seconds(steps, batch, 1, cluster)
    return one / (gpus * cycle_seconds(steps, batch / gpus, gpus, cluster))


def fit_seconds(batches: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """The straight line nearest to what steps took, by relative error: its fixed part, not below 0, and its
    seconds per picture."""
    x, y = np.asarray(batches, float), np.asarray(seconds, float)
    slope, fixed = np.polyfit(x, y, 1, w=1 / y)
    if fixed < 0:
        slope, fixed = (x / y).sum() / ((x / y) ** 2).sum(), 0.0
    return float(fixed), float(slope)


def overlap_of(ready: Sequence[tuple[int, float]], buckets: Sequence[int]) -> float:
    """The share of a step between the moments when the first and the last bucket are full.

    Args:
        ready: the bytes of the gradients that are ready, and the share of the step until then; ascending.
    """
    first = next(share for size, share in ready if size >= buckets[0])
    return ready[-1][1] - first

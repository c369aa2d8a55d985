"""Measurements gather on the device, and leave it once a tick."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fes.learning.objectives import Measurements


class Meters:
    """Running means of the measurements of each player, and the time spent waiting for data."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}
        self._waited = 0.0
        self._since = time.perf_counter()

    def add(self, measurements: Measurements) -> None:
        """Adds one step's scalars; no synchronisation."""
        names = tuple(measurements)
        values = torch.stack([value.float() for value in measurements.values()])
        total, count = self._sums.get(names, (torch.zeros_like(values), 0))
        self._sums[names] = (total + values, count + 1)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def drain(self, mean_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Means since the last call, over steps and ranks, and starts anew.

        Besides the measurements: `time/seconds` that passed, `time/data_wait` as a share of them.
        """
        totals: dict[str, float] = {}
        counts: Counter[str] = Counter()
        for names, (total, count) in self._sums.items():
            for name, mean in zip(names, mean_over_ranks(total / count).tolist(), strict=True):
                totals[name] = totals.get(name, 0.0) + mean * count
                counts[name] += count
        means = {name: total / counts[name] for name, total in totals.items()}
        now = time.perf_counter()
        seconds = now - self._since
        means |= {"time/seconds": seconds, "time/data_wait": self._waited / max(seconds, 1e-9)}
        self._sums, self._waited, self._since = {}, 0.0, now
        return means

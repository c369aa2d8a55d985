"""The order of a data set's samples, epoch after epoch: a function of the seed and the place alone."""

from functools import lru_cache

import numpy as np

from fes.draws import numpy_rng


class Order:
    """The order of a split's samples, or of some of them, in every epoch: shards shuffled, then samples
    within windows.

    A window's samples are listed when a place falls in it: memory is that of a few windows and of the
    list of shards, however large the data set.
    """

    def __init__(
        self, seed: int, shard_starts: np.ndarray, window: int, among: np.ndarray | None = None
    ) -> None:
        """
        Args:
            shard_starts: int64 [shards + 1], the first sample of each shard, and their number.
            among: int64 [n], rising: the samples that this is an order of; None: all.
        """
        self.seed, self.window, self.among, self._shard_starts = seed, window, among, shard_starts
        starts = shard_starts if among is None else np.searchsorted(among, shard_starts)
        self.starts, self.sizes = starts[:-1], np.diff(starts)
        self.samples = int(starts[-1])
        self.windows = -(-self.samples // window)
        self._shards = lru_cache(maxsize=2)(self._shards_of_epoch)
        self._listed = lru_cache(maxsize=4)(self._samples_of_window)

    def __getstate__(self) -> tuple[object, ...]:
        return self.seed, self._shard_starts, self.window, self.among

    def __setstate__(self, state: tuple[int, np.ndarray, int, np.ndarray | None]) -> None:
        self.__init__(*state)

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Places since the first epoch's beginning, int64 [n] -> samples in the order on disk, int64 [n]."""
        turns, offsets = self._turns(places)
        samples = np.empty(len(places), np.int64)
        for turn in np.unique(turns).tolist():
            inside = turns == turn
            samples[inside] = self._listed(turn)[offsets[inside]]
        return samples if self.among is None else self.among[samples]

    def turn(self, place: int) -> int:
        """The window that a place is in, counted since the first epoch's beginning."""
        epoch, place = divmod(place, self.samples)
        return epoch * self.windows + place // self.window

    def shards(self, turn: int) -> np.ndarray:
        """The numbers of the shards that hold a window's samples, in the order of the epoch, int64 [n]."""
        epoch, first, last = self._bounds(turn)
        shards, ends = self._shards(epoch)
        begin, end = np.searchsorted(ends, (first, last - 1), side="right")
        found = shards[begin : end + 1]
        return found[self.sizes[found] > 0]

    def _turns(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epochs, places = np.divmod(places, self.samples)
        windows, offsets = np.divmod(places, self.window)
        return epochs * self.windows + windows, offsets

    def _bounds(self, turn: int) -> tuple[int, int, int]:
        """A window's epoch, and its first place in it and the one behind its last."""
        epoch, window = divmod(turn, self.windows)
        return epoch, window * self.window, min((window + 1) * self.window, self.samples)

    def _samples_of_window(self, turn: int) -> np.ndarray:
        epoch, first, last = self._bounds(turn)
        rng = numpy_rng(self.seed, "window", epoch, first // self.window)
        places = first + rng.permutation(last - first)
        shards, ends = self._shards(epoch)
        turns = np.searchsorted(ends, places, side="right")
        chosen = shards[turns]
        return self.starts[chosen] + places - (ends[turns] - self.sizes[chosen])

    def _shards_of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        shards = numpy_rng(self.seed, "shards", epoch).permutation(len(self.sizes))
        return shards, np.cumsum(self.sizes[shards])

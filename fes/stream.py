"""From the index to batches: which samples a step sees is a function of (seed, step) alone.

The data set repeats without end: position p of the stream is place p mod n of epoch p div n, and batch
k holds the positions from k * batch on. No sample is dropped at an epoch's end, and nothing about the
order depends on ranks or workers, so there is no loader state to save.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fes.batch import Batch
from fes.draws import numpy_rng
from fes.errors import InputError
from fes.files import remove_if_there
from fes.machine import cores


class Samples(Protocol):
    """A split of a data set, in the order on disk."""

    samples: int
    labels: np.ndarray
    shard_starts: np.ndarray

    def image(self, position: int) -> np.ndarray:
        """uint8 [channels, height, width]."""


class Order:
    """The order of a split's samples in every epoch: shards shuffled, then samples within windows.

    A window's permutation is made when a position falls in it: memory is that of a window and of the
    list of shards, however large the data set.
    """

    def __init__(self, seed: int, shard_starts: np.ndarray, window: int) -> None:
        """`shard_starts` int64 [shards + 1]: the first sample of each shard, and their number."""
        self.seed, self.window = seed, window
        self.starts, self.sizes = shard_starts[:-1], np.diff(shard_starts)
        self.samples = int(shard_starts[-1])
        self._shards = lru_cache(maxsize=2)(self._shards_of_epoch)
        self._within = lru_cache(maxsize=4)(self._permutation_of_window)

    def __getstate__(self) -> tuple[object, ...]:
        return self.seed, np.append(self.starts, self.samples), self.window

    def __setstate__(self, state: tuple[int, np.ndarray, int]) -> None:
        self.__init__(*state)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Positions in the stream, int64 [n] -> samples in the order on disk, int64 [n]."""
        epochs, places = np.divmod(positions, self.samples)
        return np.array([self._sample(int(e), int(p)) for e, p in zip(epochs, places, strict=True)])

    def _sample(self, epoch: int, place: int) -> int:
        window, offset = divmod(place, self.window)
        place = window * self.window + int(self._within(epoch, window)[offset])
        shards, ends = self._shards(epoch)
        turn = int(np.searchsorted(ends, place, side="right"))
        shard = shards[turn]
        return int(self.starts[shard] + place - (ends[turn] - self.sizes[shard]))

    def _shards_of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        shards = numpy_rng(self.seed, "shards", epoch).permutation(len(self.sizes))
        return shards, np.cumsum(self.sizes[shards])

    def _permutation_of_window(self, epoch: int, window: int) -> np.ndarray:
        size = min(self.window, self.samples - window * self.window)
        return numpy_rng(self.seed, "window", epoch, window).permutation(size)


class Stream(Dataset[Batch]):
    """Step -> this rank's share of that step's batch."""

    def __init__(
        self, samples: Samples, *, seed: int, batch: int, window: int, rank: int = 0, ranks: int = 1
    ) -> None:
        """`batch` is the global batch, a multiple of `ranks`."""
        self.samples, self.seed, self.batch = samples, seed, batch
        self.order = Order(seed, samples.shard_starts, window)
        self.share = share_of(batch, rank, ranks)

    def __getitem__(self, step: int) -> Batch:
        chosen = self.order(np.arange(step * self.batch, (step + 1) * self.batch))
        partners = chosen[numpy_rng(self.seed, "partner", step).permutation(self.batch)]
        chosen, partners = chosen[self.share], partners[self.share]
        # On one rank samples and partners are the same set: each is decoded once.
        images = {int(i): self.samples.image(int(i)) for i in np.union1d(chosen, partners)}
        return Batch(
            image=_stacked(images, chosen),
            label=torch.from_numpy(self.samples.labels[chosen]),
            partner_image=_stacked(images, partners),
            partner_label=torch.from_numpy(self.samples.labels[partners]),
        )

    def batches(self, start: int, workers: int = 0) -> Iterator[Batch]:
        """The batches of steps `start`, `start` + 1, ... without end.

        Args:
            workers: processes that read ahead, though never more than there are cores.

        Raises:
            InputError: a member of a shard cannot be read, as `Samples.image` says it.
        """
        workers = min(workers, cores())
        loader = DataLoader(
            _Told(self),
            batch_size=None,
            sampler=itertools.count(start),
            num_workers=workers,
            collate_fn=_unchanged,
            worker_init_fn=_leave_signals_to_the_trainer,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if workers else None,
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch


class _Told(Dataset[Batch | InputError]):
    """A stream that hands over its `InputError`: raised in a worker it would arrive as a traceback."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, step: int) -> Batch | InputError:
        try:
            return self.stream[step]
        except InputError as error:
            return error


def share_of(batch: int, rank: int, ranks: int) -> slice:
    """The rows of a global batch that a rank works on.

    Raises:
        InputError: `ranks` does not divide `batch`.
    """
    if batch % ranks:
        fits = next(n for n in range(batch, 0, -1) if batch % n == 0 and n <= ranks)
        raise InputError(
            f"--batch is {batch}: {ranks} processes cannot share it equally; "
            f"start {fits} processes or take --batch {(batch // ranks + 1) * ranks}"
        )
    size = batch // ranks
    return slice(rank * size, (rank + 1) * size)


def _stacked(images: dict[int, np.ndarray], order: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([images[int(i)] for i in order]))


def _leave_signals_to_the_trainer(_: int) -> None:
    """For a process that reads ahead: schedulers and terminals send their signals to it as well, and the
    trainer, which answers them, still needs its batch."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _unchanged(batch: Batch | InputError) -> Batch | InputError:
    return batch


class DecodedSplit:
    """A split whose pictures are read from one file of decoded pixels, shared by all who map it."""

    def __init__(self, samples: Samples, path: Path, shape: tuple[int, int, int]) -> None:
        """`shape` is [channels, height, width]; the file is written by `decode_to`."""
        self.samples, self.labels, self.shard_starts = samples.samples, samples.labels, samples.shard_starts
        self._path, self._shape = path, shape
        self._pixels: np.ndarray | None = None

    def image(self, position: int) -> np.ndarray:
        """uint8 [channels, height, width]."""
        if self._pixels is None:
            self._pixels = np.memmap(self._path, np.uint8, "r", shape=(self.samples, *self._shape))
        return self._pixels[position]

    def __getstate__(self) -> dict[str, object]:
        # Each process maps the file itself: a pickled map would travel as a copy of all the pixels.
        return {**self.__dict__, "_pixels": None}


def decode_to(path: Path, samples: Samples, shape: tuple[int, int, int]) -> None:
    """Writes all pictures of a split, decoded, to one file; nothing to do where it is there already.

    Raises:
        InputError: the folder cannot be written, or is full.
    """
    size = samples.samples * int(np.prod(shape))
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        if path.exists() and path.stat().st_size == size:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for position in range(samples.samples):
                file.write(samples.image(position).tobytes())
        os.replace(partial, path)
    except OSError as error:
        remove_if_there(partial)
        raise InputError(f"cannot write the decoded pictures to {path}: {error.strerror}") from None

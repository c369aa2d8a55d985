"""From data sets to batches: which samples a step sees is a function of (seed, step) alone.

The data sets repeat without end, mixed by their weights: position p of the stream is a place in one set's
order, and batch k holds the positions from k * batch on. No sample is dropped at an epoch's end, and nothing
about the order depends on ranks or workers, so there is no loader state to save. Where classes are to be
balanced, each class of a data set takes the place of a set.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from fes.batch import Batch
from fes.data.ahead import Note, Stall, read_ahead
from fes.data.balance import Group, groups_of
from fes.data.mix import Mix
from fes.data.order import Order
from fes.data.reading import Ahead, OnBadSample, Part, Samples, Trouble
from fes.draws import key, numpy_rng
from fes.errors import InputError
from fes.telling import tell

_Skipped = tuple[int, Trouble]
"""The number of a data set, and one of its samples that was replaced."""


class Stream:
    """Step -> this rank's share of that step's batch.

    While `batches` runs, `skipped` counts how often a damaged sample of this rank's share was replaced,
    `last_skipped` is the sentence about the newest, and `damaged` holds each such sample once: the number
    of its data set and its position in that.
    """

    def __init__(
        self,
        parts: Sequence[Samples],
        *,
        weights: Sequence[float] | None = None,
        seed: int,
        batch: int,
        window: int,
        rank: int = 0,
        ranks: int = 1,
        on_bad_sample: OnBadSample = "fail",
        flips: bool = False,
        class_balance: float = 0.0,
    ) -> None:
        """
        Args:
            parts: data sets with pictures of one shape.
            weights: how often each is drawn from, in any unit; None: all the same.
            batch: the global batch, a multiple of `ranks`.
            window: how many samples of a data set are shuffled among each other.
            on_bad_sample: what to do about a damaged sample: raise DamagedSample, or take the next sound
                one of its data set's order, and of its class where these are balanced.
            flips: whether to mirror half of the pictures, left to right: a sample of a step, as itself and
                as partner, by the toss of a coin that depends on its place in the global batch.
            class_balance: 0 draws classes as often as the data have them, 1 all equally often; between,
                with n samples, in proportion to n ** (1 - class_balance). A data set keeps its weight, and
                its unlabelled samples their share. Every class is shuffled by itself, so that shards that
                have to be fetched are up to eight times as many at a time.

        Raises:
            InputError: the weights make no sense or are too small to balance classes, or `ranks` does not
                divide `batch`.
        """
        self.seed, self.batch, self.rank, self.flips = seed, batch, rank, flips
        self.share = share_of(batch, rank, ranks)
        groups = groups_of(parts, [1.0] * len(parts) if weights is None else weights, class_balance)
        self.mix = Mix(seed, [group.places for group in groups])
        self._sets, aheads = [group.number for group in groups], [Ahead(samples) for samples in parts]
        self.parts = [
            Part(parts[at], _order(group, parts[at], seed, window), on_bad_sample, aheads[at])
            for at, group in zip(self._sets, groups, strict=True)
        ]
        if len({(each.channels, each.resolution) for each in parts}) != 1:
            raise ValueError("the pictures of the parts are not of one shape")
        # On one rank samples and partners are the same set: each is read once.
        most = batch if ranks == 1 else min(batch, 2 * len(range(batch)[self.share]))
        self._room = most, parts[0].channels, parts[0].resolution, parts[0].resolution
        self._count_anew()

    def __getitem__(self, step: int) -> Batch:
        room = np.empty(self._room, np.uint8)
        return self._batch(room, self._read(step, room, lambda part, shard: None), pinned=False)

    def batches(
        self,
        start: int,
        workers: int = 0,
        patience: float = 60.0,
        say: Callable[[str], None] = tell,
    ) -> Iterator[Batch]:
        """The batches of steps `start`, `start` + 1, ... without end.

        Args:
            workers: processes that read ahead, though never more than there are cores.
            patience: seconds without a batch after which `say` is called, in another thread, with a
                sentence on which shard is waited for; and again at twice that, four times, ...

        Raises:
            InputError: a sample is damaged and none is to be skipped, too many in a row are, or a shard
                cannot be had.
            Lost: a process that reads ahead dies.
        """
        self._count_anew()
        tell = partial(self._tell, say)
        return self._batches(
            read_ahead(self._read, self._room, start, workers=workers, patience=patience, tell=tell)
        )

    def _batches(self, arriving: Iterator[tuple[np.ndarray, "_Found"]]) -> Iterator[Batch]:
        pinned = torch.cuda.is_initialized()  # by who trains: a run on the CPU leaves GPUs alone
        with contextlib.closing(arriving):
            for room, found in arriving:
                self._count(found.troubles)
                yield self._batch(room, found, pinned)

    def _count_anew(self) -> None:
        self.skipped, self.last_skipped = 0, ""
        self.damaged: set[tuple[int, int]] = set()

    def _count(self, troubles: "list[_Skipped]") -> None:
        self.skipped += len(troubles)
        for part, trouble in troubles:
            self.damaged.add((part, trouble.position))
            self.last_skipped = trouble.sentence

    def _read(self, step: int, room: np.ndarray, note: Note) -> "_Found":
        """Puts the pictures of a step in `room`, those of each data set in one piece."""
        parts, places = self.mix(np.arange(step * self.batch, (step + 1) * self.batch))
        own = np.arange(self.batch)[self.share]
        partners = numpy_rng(self.seed, "partner", step).permutation(self.batch)[self.share]
        needed = np.union1d(own, partners)
        needed = needed[np.argsort(parts[needed], kind="stable")]
        rows = np.empty(self.batch, np.int64)
        rows[needed] = np.arange(len(needed))
        labels, troubles = self._read_parts(parts[needed], places[needed], room, note)
        if self.flips:
            mirrored = np.flatnonzero(numpy_rng(self.seed, "flip", step).random(self.batch)[needed] < 0.5)
            room[mirrored] = room[mirrored, ..., ::-1]
        own_troubles = [troubles[row] for row in rows[own].tolist() if row in troubles] if troubles else []
        return _Found(labels, rows[own], rows[partners], own_troubles)

    def _read_parts(
        self, parts: np.ndarray, places: np.ndarray, room: np.ndarray, note: Note
    ) -> "tuple[np.ndarray, dict[int, _Skipped]]":
        """Reads samples that are sorted by their data set: their labels, and the troubles by their row."""
        labels, troubles = np.empty(len(parts), np.int64), {}
        ends = np.searchsorted(parts, np.arange(len(self.parts)), side="right").tolist()
        for number, (begin, end) in enumerate(itertools.pairwise([0, *ends])):
            if begin < end:
                inside = slice(begin, end)
                taken = self.parts[number].read(places[inside], room[inside], partial(note, number))
                labels[inside] = taken.labels
                of = self._sets[number]
                troubles |= {begin + row: (of, trouble) for row, trouble in taken.troubles.items()}
        return labels, troubles

    def _batch(self, room: np.ndarray, found: "_Found", pinned: bool) -> Batch:
        return Batch(
            image=_chosen(room, found.own, torch.uint8, pinned),
            label=_chosen(found.labels, found.own, torch.int64, pinned),
            partner_image=_chosen(room, found.partners, torch.uint8, pinned),
            partner_label=_chosen(found.labels, found.partners, torch.int64, pinned),
        )

    def _tell(self, say: Callable[[str], None], stall: Stall) -> None:
        who = "it" if stall.worker is None else f"worker {stall.worker}"
        what = "nothing"
        if stall.reads is not None:
            part, shard = stall.reads
            what = self.parts[part].whereabouts(shard)
        say(f"rank {self.rank}: no batch for {stall.seconds:g} s; {who} reads {what}")


class _Found(NamedTuple):
    """What a step needs besides pictures: the labels of all that was read, int64 [read]; which of that are
    this rank's samples and partners, int64 [share]; and which of the samples were replaced."""

    labels: np.ndarray
    own: np.ndarray
    partners: np.ndarray
    troubles: "list[_Skipped]"


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


def _order(group: Group, samples: Samples, seed: int, window: int) -> Order:
    """The order of a group. The window of a class is as large a part of it as the data set's is of that, so
    that no more shards are needed for it at a time."""
    if group.positions is None:
        # That of the first data set has the stream's own seed, as where there is but one.
        return Order(key(seed, "part", group.number) if group.number else seed, samples.shard_starts, window)
    own_seed = key(seed, "part", group.number, "class", group.label)
    own_window = max(1, round(window * len(group.positions) / samples.samples))
    return Order(own_seed, samples.shard_starts, own_window, group.positions)


def _chosen(values: np.ndarray, rows: np.ndarray, dtype: torch.dtype, pinned: bool) -> torch.Tensor:
    chosen = torch.empty((len(rows), *values.shape[1:]), dtype=dtype, pin_memory=pinned)
    np.take(values, rows, axis=0, out=chosen.numpy(), mode="clip")  # "raise" would copy twice
    return chosen

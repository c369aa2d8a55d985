"""Reads one data set of a stream: a damaged sample ends the run or is replaced, and shards that lie
elsewhere are asked for ahead."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from fes.data.order import Order
from fes.errors import DamagedSample, InputError
from fes.expressions import EXPRESSIONS, UNLABELLED

OnBadSample = Literal["fail", "skip"]
MOST_IN_A_ROW = 100
"""So many samples one after the other that cannot be read are no accident, and end the run."""


class Samples(Protocol):
    """A split of a data set, in the order on disk.

    `labels` int64 [samples], -1 where unlabelled; `shard_starts` int64 [shards + 1], the first sample of
    each shard, and their number. Pictures are squares of `resolution` pixels with 1 or 3 `channels`.
    """

    samples: int
    labels: np.ndarray
    shard_starts: np.ndarray
    resolution: int
    channels: int

    def image(self, position: int) -> np.ndarray:
        """uint8 [channels, resolution, resolution].

        Raises DamagedSample where it is not what was written, InputError where it cannot be had.
        """


@runtime_checkable
class Batched(Protocol):
    """Samples that many can be read of at once."""

    def images(self, positions: np.ndarray, out: np.ndarray) -> None:
        """Puts uint8 [n, channels, resolution, resolution] in `out`. Raises as `image` does."""


@runtime_checkable
class Sharded(Protocol):
    """Samples that lie in shards, which may have to be fetched first.

    `shards` have a `name` each and a `file` (name, size, sha256), `place` says where they lie, and
    `shelf.ahead(files)` is told which of them are going to be read; it returns at once.
    """

    place: str
    shards: Sequence
    shelf: object


class Trouble(NamedTuple):
    """A sample that was replaced, and what was wrong with it."""

    position: int
    sentence: str


class Taken(NamedTuple):
    """What was read of a data set: the labels, int64 [n], and the samples that were replaced, by their
    row."""

    labels: np.ndarray
    troubles: dict[int, Trouble]


class Ahead:
    """What the parts of one data set are going to read, asked for together: a shelf forgets what it was
    asked for before."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._soon: dict[Part, dict[int, None]] = {}
        self._told: set[int] = set()

    def comes_to(self, part: "Part", shards: Sequence[int]) -> None:
        """A part is going to read these shards, in this order, and no longer those of before."""
        self._soon.pop(part, None)
        self._soon = {part: dict.fromkeys(shards), **self._soon}
        upcoming = list(dict.fromkeys(itertools.chain(*self._soon.values())))
        if set(upcoming) != self._told:
            self._told = set(upcoming)
            self._samples.shelf.ahead([self._samples.shards[number].file for number in upcoming])

    def reads(self, part: "Part", shard: int) -> None:
        """A part has come so far."""
        self._soon[part].pop(shard, None)


class Part:
    """One data set of a stream, or those samples of it that the order is of: place in the order -> picture
    and label."""

    def __init__(
        self, samples: Samples, order: Order, on_bad_sample: OnBadSample, ahead: Ahead | None = None
    ) -> None:
        """`ahead` is one for all parts of a data set; None: this is its only part."""
        self.samples, self.order, self._skip = samples, order, on_bad_sample == "skip"
        self._batched, self._sharded = isinstance(samples, Batched), isinstance(samples, Sharded)
        self._ahead = ahead or Ahead(samples)
        self._turn: int | None = None

    def read(self, places: np.ndarray, out: np.ndarray, note: Callable[[int], None]) -> Taken:
        """Puts the pictures of some places, int64 [n], in `out`, uint8 [n, channels, height, width].

        `note` is called with the number of each shard before it is read. A sample that is damaged, or has
        a label that no class has, is replaced by the next sound one of the order, and that for everyone
        who reads this place.

        Raises:
            DamagedSample: a sample is damaged and none is to be skipped.
            InputError: too many in a row are damaged, or a shard cannot be had.
        """
        self._tell_ahead(int(places[0]))
        positions = self.order(places)
        labels = self.samples.labels[positions]
        self._note(int(positions[0]), note)
        if self._batched and self._read_at_once(positions, labels, out):
            return Taken(labels, {})
        troubles = {}
        for row, (place, position) in enumerate(zip(places.tolist(), positions.tolist(), strict=True)):
            self._note(position, note)
            try:
                out[row] = self._picture(position, labels[row])
            except DamagedSample as error:
                if not self._skip:
                    raise
                labels[row] = self._replace(place, out[row], note, str(error))
                troubles[row] = Trouble(position, str(error))
        return Taken(labels, troubles)

    def _note(self, position: int, note: Callable[[int], None]) -> None:
        shard = self._shard(position)
        note(shard)
        if self._sharded:
            self._ahead.reads(self, shard)

    def _shard(self, position: int) -> int:
        return int(np.searchsorted(self.samples.shard_starts, position, side="right")) - 1

    def _read_at_once(self, positions: np.ndarray, labels: np.ndarray, out: np.ndarray) -> bool:
        if not _are_classes(labels).all():
            return False
        try:
            self.samples.images(positions, out)
        except DamagedSample:
            return False
        return True

    def _picture(self, position: int, label: int) -> np.ndarray:
        if not _are_classes(label):
            raise self._mislabelled(position, label)
        return self.samples.image(position)

    def _replace(self, place: int, out: np.ndarray, note: Callable[[int], None], trouble: str) -> int:
        """Puts the picture of the next readable sample behind a place in `out`, and returns its label."""
        for position in self.order(np.arange(place + 1, place + MOST_IN_A_ROW)).tolist():
            self._note(position, note)
            label = int(self.samples.labels[position])
            try:
                out[:] = self._picture(position, label)
            except DamagedSample:
                continue
            return label
        raise InputError(f"{MOST_IN_A_ROW} samples in a row cannot be read; of the first: {trouble}")

    def _tell_ahead(self, place: int) -> None:
        """Asks for the shards of this window and the next, where the order has come to others."""
        if not self._sharded or self.order.turn(place) == self._turn:
            return
        self._turn = self.order.turn(place)
        soon = np.concatenate([self.order.shards(self._turn), self.order.shards(self._turn + 1)])
        self._ahead.comes_to(self, soon.tolist())

    def whereabouts(self, shard: int) -> str:
        """What a user calls a shard, or the data set where it is none of several."""
        place = getattr(self.samples, "place", "the data set")
        if not self._sharded:
            return place
        return f"{self.samples.shards[shard].name} of {place}"

    def _mislabelled(self, position: int, label: int) -> DamagedSample:
        where = self.whereabouts(self._shard(position))
        return DamagedSample(
            f"sample {position} (counted from 0) in {where} has the label {label}, and "
            f"labels go from {UNLABELLED} to {len(EXPRESSIONS) - 1}: the index is damaged, copy it again or "
            "build the shards again"
        )


def _are_classes(labels: np.ndarray | int) -> np.ndarray:
    return (labels >= UNLABELLED) & (labels < len(EXPRESSIONS))

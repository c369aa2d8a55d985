"""The on-disk format, written down once.

A data set is a folder:

    index.json                       what is in it; written last
    index.npy                        where every member lies: an array of `PLACE`, a row per sample
    report.json                      what the source held that was rejected or looks suspicious
    <source>-<split>-000000.tar      a plain USTAR file, readable by any WebDataset tool

A sample is three adjacent members that share a key (nine digits, no dots):

    <key>.cls          the label in decimal: an index into `EXPRESSIONS`, -1 where unlabelled
    <key>.json         details: an object, source-specific (row of the csv, identity, ...)
    <key>.png or .jpg  the picture: the source's own bytes where they are a plain JPEG or PNG (8 bits,
                       grey or RGB, upright), else a PNG without loss

in the order of their names. The first digit of a key is the split's place in `SPLITS`, the other eight
count its samples in the order they lie on disk: no two samples of a data set share a key. A build gives
every split a power of two shards whose numbers of samples differ by at most one, so 2, 4 or 8 readers
share them evenly; a repair may take samples out.

Pictures may be of any size. What is read of one is the square that `crop` tells, or its central square,
resized to what the reader asks for.

index.json holds, all counts in samples and all sizes in bytes:

    schema        SCHEMA
    source        name of the reader that built it
    resolution    the side of the square that nine of ten pictures have or exceed
    channels      1 where every picture is grey, else 3 (RGB)
    crop          null, or the fields of `Crop`
    classes       the class names in the order of their labels
    splits        {split: {"samples": n, "identities": n, "classes": {name: n, ..., "unlabelled": n}}}
    places        {"bytes": n, "sha256": "..."} of index.npy
    shards        [{"name", "split", "samples", "bytes", "sha256"}, ...]

Splits without samples are left out. Shards stand in the order of their splits, then of their numbers;
the rows of index.npy in the order of the shards, then of the members in them.

Shards that others made are described by an index of the same form: there the names are paths, relative
to the index, keys and members are whatever they are, and details may be missing (size 0).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

SCHEMA = "fes-shards-2"
INDEX_NAME = "index.json"
PLACES_NAME = "index.npy"
REPORT_NAME = "report.json"
SPLITS = ("train", "valid", "test")
IMAGES, LABEL, DETAILS = ("png", "jpg"), "cls", "json"
UNLABELLED_NAME = "unlabelled"
DROP = "drop"
"""What people write to have samples left out."""
NOBODY = -1
"""The identity of a person who is not known."""

# The same in every tar, so that equal data makes equal bytes on every machine and day.
OWNER, MODE, MODIFIED = "fes", 0o444, 0

PLACE = np.dtype(
    [
        ("label", "<i8"),
        ("identity", "<i8"),
        ("image_offset", "<i8"),
        ("details_offset", "<i8"),
        ("image_size", "<u4"),
        ("image_crc32", "<u4"),
        ("details_size", "<u4"),
        ("details_crc32", "<u4"),
    ]
)
"""A sample in index.npy: its label (-1 where unlabelled), its identity (an integer of the source's own
choosing, -1 where unknown), and where the contents of its members lie in their shard, in bytes."""


SHARD_NAME = re.compile(
    rf"(?P<source>[a-z0-9]+)-(?P<split>{'|'.join(SPLITS)})-(?P<number>\d{{6,}})\.tar", re.ASCII
)
"""What `shard_name` makes."""


def shard_name(source: str, split: str, number: int) -> str:
    """The file name of a split's shard; numbers begin at 0."""
    return f"{source}-{split}-{number:06d}.tar"


def sample_key(split: str, position: int) -> str:
    """The key of a split's sample; positions begin at 0 and follow the order on disk."""
    return f"{SPLITS.index(split)}{position:08d}"


Square = tuple[int, int, int]
"""Part of a picture, in its pixels: its left edge, its upper edge, and how long its sides are."""


@dataclass(frozen=True)
class Crop:
    """The square that is read of a picture of `width` x `height`: `side` long, from (`left`, `top`) on.

    In a picture of another size it is the same part of the whole.
    """

    width: int
    height: int
    left: int
    top: int
    side: int

    @property
    def fits(self) -> bool:
        """Whether the square lies in the picture that it tells the size of."""
        inside = self.left + self.side <= self.width and self.top + self.side <= self.height
        return inside and min(self.left, self.top) >= 0 and self.side > 0

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in a picture of this size."""
        across, down = width / self.width, height / self.height
        right, bottom = self.left + self.side, self.top + self.side
        return self.left * across, self.top * down, right * across, bottom * down


def central_square(width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest square in the middle of a picture."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


@dataclass(frozen=True, slots=True)
class Sample:
    """What a source knows of one sample before its picture is read.

    `origin` is where the user finds it in the source: a row's number, or the name of a file.
    """

    split: str
    label: int
    origin: int | str
    details: dict[str, object]
    identity: int = NOBODY


@dataclass(frozen=True)
class Unreadable:
    """Stands for a picture that a source cannot give; the reason is a few words, the same for the like."""

    reason: str


Picture = np.ndarray | bytes | Unreadable
"""Pixels, uint8 [height, width, channels] with 1 (grey) or 3 (RGB) channels; or the bytes of a picture file
as the source holds it, of any kind that Pillow reads, damaged or not."""


@dataclass
class Finding:
    """One kind of trouble in a source: where, and what was done about it.

    `origins` says where the user finds it. Where the trouble is between several samples, as with
    duplicates, `unit` is "groups" and `origins` holds one list per group.
    """

    reason: str
    action: str
    origins: list[int | str] | list[list[int | str]] = field(default_factory=list)
    unit: str = "rows"


class Source(Protocol):
    """A data set as its users have it. Pictures are read in other processes, so sources pickle.

    `samples` are those whose rows or names make sense; whether their pictures do is found by reading
    them. `findings` holds what was rejected before that. `stamp` changes when the files do (their
    names, sizes and times of change, say): an interrupted build goes on only with the same one.
    `facts` are counts for the report, `unit` is what it calls the samples: "rows", "files" or "pictures", and
    `warnings` are sentences for it on what the samples, as they were split, are not good for.
    """

    name: str
    samples: Sequence[Sample]
    findings: list[Finding]
    facts: dict[str, int]
    crop: Crop | None
    stamp: str
    unit: str
    warnings: Sequence[str]

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The pictures of `samples` at these positions."""


Progress = Callable[[int, int], None]
"""Is called with how much is done and how much there is, by whatever takes long."""


def no_progress(done: int, total: int) -> None:
    """Tells nobody."""

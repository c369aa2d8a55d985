"""The on-disk format, written down once.

A data set is a folder:

    index.json                       what is in it, and where every member lies; written last
    report.json                      what the source held that was rejected or looks suspicious
    <source>-<split>-000000.tar      a plain USTAR file, readable by any WebDataset tool

A sample is three adjacent members that share a key (nine digits, no dots):

    <key>.cls     the label in decimal: an index into `EXPRESSIONS`, -1 where unlabelled
    <key>.json    details: a flat object, source-specific (row of the csv, identity, ...)
    <key>.png     the picture, lossless

The first digit of a key is the split's place in `SPLITS`, the other eight count its samples in
the order they lie on disk: no two samples of a data set share a key. Every split has a power of two
shards whose numbers of samples differ by at most one, so 2, 4 or 8 readers share them evenly.

index.json holds, all counts in samples and all offsets and sizes in bytes:

    schema        SCHEMA
    source        name of the reader that built it
    resolution    height and width of every picture
    channels      1 (grey) or 3 (RGB)
    classes       the class names in the order of their labels
    splits        {split: {"samples": n, "classes": {name: n, ..., "unlabelled": n}}}
    shards        [{"name", "split", "samples", "bytes", "sha256",
                    "label": [...],
                    "image": {"offset": [...], "size": [...], "crc32": [...]},
                    "details": {"offset": [...], "size": [...], "crc32": [...]}}, ...]

Splits without samples are left out. Shards stand in the order of their splits, then of their numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

SCHEMA = "fes-shards-1"
INDEX_NAME = "index.json"
REPORT_NAME = "report.json"
SPLITS = ("train", "valid", "test")
IMAGE, LABEL, DETAILS = "png", "cls", "json"
UNLABELLED_NAME = "unlabelled"

# The same in every tar, so that equal data makes equal bytes on every machine and day.
OWNER, MODE, MODIFIED = "fes", 0o444, 0


def shard_name(source: str, split: str, number: int) -> str:
    """The file name of a split's shard; numbers begin at 0."""
    return f"{source}-{split}-{number:06d}.tar"


def sample_key(split: str, position: int) -> str:
    """The key of a split's sample; positions begin at 0 and follow the order on disk."""
    return f"{SPLITS.index(split)}{position:08d}"


@dataclass(frozen=True)
class Sample:
    """What a source knows of one sample before its picture is encoded."""

    split: str
    label: int
    details: dict[str, object]


@dataclass
class Finding:
    """One kind of trouble in a source: where, and what was done about it.

    `rows` are numbers the user can look up in the source. Where the trouble is between several rows,
    as with duplicates, `unit` is "groups" and `rows` holds one list of numbers per group.
    """

    reason: str
    action: str
    rows: list[int] | list[list[int]] = field(default_factory=list)
    unit: str = "rows"


class Source(Protocol):
    """A data set as its users have it. Encoding happens in other processes, so sources pickle."""

    name: str
    resolution: int
    channels: int
    samples: list[Sample]
    findings: list[Finding]
    facts: dict[str, int]

    def encode(self, positions: Sequence[int]) -> list[bytes]:
        """The pictures of `samples` at these positions, each as the bytes of a PNG file."""


Progress = Callable[[int, int], None]
"""Is called with how much is done and how much there is, by whatever takes long."""


def no_progress(done: int, total: int) -> None:
    """Tells nobody."""

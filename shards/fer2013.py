"""Reads FER2013 as it is handed around: fer2013.csv, icml_face_data.csv or train.csv, also compressed."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.compressed import read_lines
from shards.duplicates import duplicate_findings, equal_pictures, spare_copies
from shards.pictures import encode_picture
from shards.pixels import parse_pixels
from shards.schema import Finding, Progress, Sample, no_progress

RESOLUTION = 48
PIXELS = RESOLUTION * RESOLUTION
LABELS = {str(label).encode(): label for label in range(len(EXPRESSIONS))}
USAGES = {b"Training": "train", b"PublicTest": "valid", b"PrivateTest": "test"}

TOO_FEW_COLUMNS = "fewer columns than the header"
UNKNOWN_LABEL = f"emotion other than 0..{len(EXPRESSIONS) - 1}"
UNKNOWN_USAGE = "Usage other than Training, PublicTest, PrivateTest"
CONSTANT = "constant picture (every pixel the same)"
NO_LABELS = "row without a label (the csv has no column emotion)"
NO_USAGES = "row without a split (the csv has no column Usage)"
DROPPED, KEPT = "dropped", "kept"
ONE_KEPT = "dropped but for one: that in test, else in valid, else in train"

Duplicates = Literal["keep", "drop"]


@dataclass
class Fer2013Source:
    """A `Source` of FER2013's pictures: `pictures` is uint8 [samples, RESOLUTION, RESOLUTION, 1]."""

    pictures: np.ndarray
    samples: list[Sample]
    findings: list[Finding]
    facts: dict[str, int]
    name: str = "fer2013"
    resolution: int = RESOLUTION
    channels: int = 1

    def encode(self, positions: Sequence[int]) -> list[bytes]:
        """The pictures of `samples` at these positions, each as the bytes of a PNG file."""
        return [encode_picture(self.pictures[position]) for position in positions]


def read_fer2013(
    path: Path,
    *,
    duplicates: Duplicates = "keep",
    progress: Progress = no_progress,
) -> Fer2013Source:
    """The pictures of a csv with the column `pixels`, and normally `emotion` and `Usage`.

    Rows that cannot be read and constant pictures are dropped; exact copies are kept, or with
    duplicates="drop" all but one of each. Every such row is in the findings, numbered from 1 for the
    first row below the header. `progress` is called with the bytes of the file read and in all.
    Raises InputError where the file cannot be read, has no such column, or no row that can be used.
    """
    table = _read_table(Path(path), progress)
    pixels = np.concatenate([np.zeros((0, PIXELS), np.uint8), *table.pixels])
    groups = equal_pictures(pixels)
    constant = np.flatnonzero((pixels == pixels[:, :1]).all(axis=1)).tolist()
    spare = spare_copies(groups, table.splits) if duplicates == "drop" else set()
    used = sorted(set(range(len(pixels))) - set(constant) - spare)
    findings = table.findings(constant, groups, ONE_KEPT if duplicates == "drop" else KEPT)
    if not used:
        reasons = "; ".join(f"{found.reason}: {len(found.rows)} {found.unit}" for found in findings)
        raise InputError(f"no row of {path} can be used: {reasons or 'it has only a header'}")
    return Fer2013Source(
        pictures=pixels[used].reshape(-1, RESOLUTION, RESOLUTION, 1),
        samples=[table.sample(at) for at in used],
        findings=findings,
        facts={"rows_read": table.rows, "rows_readable": len(pixels), "distinct_pictures": len(groups)},
    )


@dataclass(frozen=True)
class _Columns:
    """The places of the columns in a row; None where the csv has none of that name."""

    number: int
    pixels: int
    emotion: int | None
    usage: int | None

    @classmethod
    def of_header(cls, header: bytes, path: Path) -> "_Columns":
        names = [name.decode("utf-8", "replace").strip().lower() for name in _fields(header)]
        if "pixels" not in names:
            raise InputError(
                f"{path} has no column 'pixels' in its first line, {', '.join(names)[:100]!a}: "
                "give fer2013.csv, icml_face_data.csv or train.csv of FER2013"
            )
        places = {name: place for place, name in enumerate(names)}
        return cls(len(names), places["pixels"], places.get("emotion"), places.get("usage"))


class _Table:
    """The rows that can be read, as parallel lists and uint8 blocks [rows, PIXELS]; and the rejected ones."""

    def __init__(self, columns: _Columns) -> None:
        self.columns = columns
        self.rows = 0
        self.numbers: list[int] = []
        self.labels: list[int] = []
        self.splits: list[str] = []
        self.pixels: list[np.ndarray] = []
        self.rejected: dict[str, list[int]] = defaultdict(list)

    def add(self, lines: list[bytes]) -> None:
        """Reads the rows in these lines."""
        rows = []
        for line in lines:
            if line.isspace() or not line:
                continue
            self.rows += 1
            row = self._row(line)
            if isinstance(row, str):
                self.rejected[row].append(self.rows)
            else:
                rows.append((self.rows, *row))
        pixels, troubles = parse_pixels([text for *_, text in rows], PIXELS)
        for place, trouble in troubles.items():
            self.rejected[trouble].append(rows[place][0])
        good = [place for place in range(len(rows)) if place not in troubles]
        self.pixels.append(pixels[good])
        for place in good:
            number, label, split, _ = rows[place]
            self.numbers.append(number)
            self.labels.append(label)
            self.splits.append(split)

    def _row(self, line: bytes) -> tuple[int, str, bytes] | str:
        """Label, split and pixel text of a row; or why it is rejected."""
        fields, columns = _fields(line), self.columns
        if len(fields) < columns.number:
            return TOO_FEW_COLUMNS
        label = UNLABELLED if columns.emotion is None else LABELS.get(fields[columns.emotion].strip())
        split = "train" if columns.usage is None else USAGES.get(fields[columns.usage].strip())
        if label is None:
            return UNKNOWN_LABEL
        return UNKNOWN_USAGE if split is None else (label, split, fields[columns.pixels])

    def findings(self, constant: list[int], groups: list[list[int]], action: str) -> list[Finding]:
        """All that was found in the rows; `constant` and `groups` are positions of readable rows."""
        rejected = [Finding(reason, DROPPED, rows) for reason, rows in sorted(self.rejected.items())]
        found = [
            *rejected,
            Finding(CONSTANT, DROPPED, [self.numbers[at] for at in constant]),
            *duplicate_findings(groups, self.numbers, self.labels, self.splits, action),
            Finding(NO_LABELS, "kept unlabelled", self.numbers if self.columns.emotion is None else []),
            Finding(NO_USAGES, "kept in train", self.numbers if self.columns.usage is None else []),
        ]
        return [finding for finding in found if finding.rows]

    def sample(self, at: int) -> Sample:
        """The sample that a readable row becomes."""
        return Sample(self.splits[at], self.labels[at], {"row": self.numbers[at]})


def _read_table(path: Path, progress: Progress) -> _Table:
    table = None
    for lines in read_lines(path, progress):
        if table is None and lines:
            header, *lines = lines
            table = _Table(_Columns.of_header(header.removeprefix(b"\xef\xbb\xbf"), path))
        if table is not None:
            table.add(lines)
    if table is None:
        raise InputError(f"{path} is empty: give fer2013.csv, icml_face_data.csv or train.csv of FER2013")
    return table


def _fields(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    try:
        return [text.encode() for text in next(csv.reader([line.decode("utf-8", "replace")]))]
    except csv.Error:
        return []

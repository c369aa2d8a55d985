"""Reads FER2013 as a csv: fer2013.csv, icml_face_data.csv, train.csv or test.csv, also compressed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.schema import Crop, Finding, Picture, Progress, Sample, Unreadable, no_progress
from shards.sources.compressed import find_csv, open_csv
from shards.sources.ferplus import USAGES, FerPlusOptions, Joined, join_ferplus, read_ballots
from shards.sources.pixels import parse_pixels

RESOLUTION = 48
PIXELS = RESOLUTION * RESOLUTION
PARSED_TOGETHER = 32
LONGEST = 8 * PIXELS
"""The most bytes of a text of pixels, which are all kept: twice what three digits and a blank take."""
LABELS = {str(label).encode(): label for label in range(len(EXPRESSIONS))}
FILES = ("fer2013", "icml_face_data", "train")
"""The names of the csv in an archive or a folder that holds several, the fullest first."""

NO_ROW = "fewer columns than the header, or a line too long to be a row"
UNKNOWN_LABEL = f"emotion other than 0..{len(EXPRESSIONS) - 1}"
UNKNOWN_USAGE = "Usage other than Training, PublicTest, PrivateTest"
TOO_LONG = "pixels of more text than such a picture can have"
NO_LABELS = "row without a label (the csv has no column emotion)"
NO_USAGES = "row without a split (the csv has no column Usage)"
ADVICE = "give fer2013.csv, icml_face_data.csv, train.csv or test.csv of FER2013"


@dataclass
class Fer2013Source:
    """A `Source` of FER2013's pictures, which are kept as the text of their pixels until they are read."""

    texts: list[bytes]
    samples: list[Sample]
    findings: list[Finding]
    facts: dict[str, int]
    stamp: str
    name: str = "fer2013"
    crop: Crop | None = None
    unit: str = "rows"
    warnings: Sequence[str] = ()

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The pictures of `samples` at these positions, each uint8 [RESOLUTION, RESOLUTION, 1]."""
        pictures = []
        for first in range(0, len(positions), PARSED_TOGETHER):
            texts = [self.texts[position] for position in positions[first : first + PARSED_TOGETHER]]
            pixels, troubles = parse_pixels(texts, PIXELS)
            block = pixels.reshape(-1, RESOLUTION, RESOLUTION, 1)
            pictures += [
                Unreadable(troubles[at]) if at in troubles else block[at] for at in range(len(texts))
            ]
        return pictures


def read_fer2013(
    path: Path, *, ferplus: FerPlusOptions | None = None, progress: Progress = no_progress
) -> Fer2013Source:
    """The pictures of a csv with the column `pixels`, and normally `emotion` and `Usage`.

    `path` may also be a compressed csv, an archive, or a folder that holds one of these. A csv without
    `Usage` is training data, but for test.csv. With `ferplus` the labels are those of FER+.
    Rows that cannot be used are in the findings, numbered from 1 for the first row below the header,
    except for those whose pixels are wrong: that shows when the pictures are read.
    `progress` is called with the bytes of the file read and in all.
    Raises InputError where a file cannot be read, has no such column, or no row that can be used, and
    where the votes of FER+ are not those of the same rows.
    """
    if ferplus is not None:
        ferplus.check()
        read_ballots(ferplus.votes)  # what cannot be read is told before the long reading
    path = find_csv(path, FILES)
    with open_csv(path, FILES, progress) as file:
        table = _Table(_Columns.of_header(next(file.rows, None), file.name, path))
        for fields in file.rows:
            table.add(fields)
    findings, facts = table.findings(), {"rows_read": table.rows}
    if ferplus is not None:
        joined = _join(table, ferplus, path)
        findings, facts = findings + joined.findings, facts | joined.facts
    if not table.samples:
        reasons = "; ".join(f"{found.reason}: {len(found.origins)} rows" for found in findings)
        raise InputError(f"no row of {path} can be used: {reasons or 'it has only a header'}")
    return Fer2013Source(table.texts, table.samples, findings, facts, _stamp(path, ferplus))


@dataclass(frozen=True)
class _Columns:
    """The places of the columns in a row, None where the csv has none of that name.

    `split` is that of all rows where there is no column Usage.
    """

    number: int
    pixels: int
    emotion: int | None
    usage: int | None
    split: str

    @classmethod
    def of_header(cls, header: list[bytes] | None, csv_name: str, path: Path) -> "_Columns":
        if header is None:
            raise InputError(f"{path} is empty: {ADVICE}")
        names = [name.decode("utf-8", "replace").strip().lower() for name in header]
        if "pixels" not in names:
            shown = ", ".join(names)[:100]
            raise InputError(f"{path} has no column 'pixels' in its first line, {shown!a}: {ADVICE}")
        places = {name: place for place, name in enumerate(names)}
        split = "test" if csv_name.lower().split(".")[0] == "test" else "train"
        return cls(len(names), places["pixels"], places.get("emotion"), places.get("usage"), split)


class _Table:
    """The rows that can be used, as samples and the texts of their pixels; and the rejected ones."""

    def __init__(self, columns: _Columns) -> None:
        self.columns = columns
        self.rows = 0
        self.samples: list[Sample] = []
        self.texts: list[bytes] = []
        self.rejected: dict[str, list[int | str]] = defaultdict(list)

    def add(self, fields: list[bytes]) -> None:
        """Takes the next row."""
        self.rows += 1
        if len(fields) < self.columns.number:
            self.rejected[NO_ROW].append(self.rows)
            return
        label, split = self._label(fields), self._split(fields)
        if label is None:
            self.rejected[UNKNOWN_LABEL].append(self.rows)
        elif split is None:
            self.rejected[UNKNOWN_USAGE].append(self.rows)
        elif len(text := fields[self.columns.pixels].strip()) > LONGEST:
            self.rejected[TOO_LONG].append(self.rows)
        else:
            self.samples.append(Sample(split, label, self.rows, {"row": self.rows}))
            self.texts.append(text)

    def _label(self, fields: list[bytes]) -> int | None:
        place = self.columns.emotion
        return UNLABELLED if place is None else LABELS.get(fields[place].strip())

    def _split(self, fields: list[bytes]) -> str | None:
        place = self.columns.usage
        return self.columns.split if place is None else USAGES.get(fields[place].strip())

    def findings(self) -> list[Finding]:
        """Why rows were rejected, and what the csv does not tell of the others."""
        found = [Finding(reason, "dropped", rows) for reason, rows in sorted(self.rejected.items())]
        origins = [sample.origin for sample in self.samples]
        if self.columns.emotion is None and origins:
            found.append(Finding(NO_LABELS, "kept unlabelled", origins))
        if self.columns.usage is None and origins:
            found.append(Finding(NO_USAGES, f"kept in {self.columns.split}", origins))
        return found


def _join(table: _Table, ferplus: FerPlusOptions, path: Path) -> Joined:
    """Gives the table's samples the labels of FER+, and takes those out that get none."""
    if table.columns.usage is None:
        raise InputError(f"{path} has no column 'Usage' to hold against that of FER+: give fer2013.csv")
    joined = join_ferplus(table.samples, table.rows, ferplus)
    kept = [at for at, sample in enumerate(joined.samples) if sample is not None]
    table.samples = [joined.samples[at] for at in kept]
    table.texts = [table.texts[at] for at in kept]
    return joined


def _stamp(path: Path, ferplus: FerPlusOptions | None) -> str:
    """What the files are known by, and what decides the labels."""
    files = [path] if ferplus is None else [path, ferplus.votes]
    known = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return repr((known, ferplus and (ferplus.threshold, ferplus.contempt, ferplus.unsure)))

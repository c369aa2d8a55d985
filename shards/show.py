"""What a folder of shards holds, as tables and as one picture."""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fes.errors import InputError
from shards.index import ShardIndex, Split

NO_FINDINGS = "nothing was rejected and nothing looks suspicious"
SECONDS_PER_FRAME = 0.1


def summary(index: ShardIndex, report: dict[str, object]) -> RenderableType:
    """The counts of every class and split, the shards, and what the report tells of the source."""
    colour = "grey" if index.channels == 1 else "RGB"
    title = f"{index.source}: {index.resolution}x{index.resolution} {colour} in {index.folder}"
    warnings = [Text(f"warning: {warning}") for warning in report.get("warnings", ())]
    return Group(Text(title), counts_table(index), shards_table(index), *findings(report), *warnings)


def counts_table(index: ShardIndex) -> Table:
    """Samples by class and split."""
    table = Table("class")
    for split in index.splits:
        table.add_column(split, justify="right")
    counts = [index.counts(split) for split in index.splits]
    for name in counts[0]:
        if name in index.classes or any(count[name] for count in counts):
            table.add_row(name, *(f"{count[name]:,}" for count in counts))
    table.add_section()
    table.add_row("all", *(f"{index.split(split).samples:,}" for split in index.splits))
    return table


def shards_table(index: ShardIndex) -> Table:
    """Number, samples and bytes of the shards of each split."""
    table = Table("split")
    for column in ("shards", "samples in each", "bytes"):
        table.add_column(column, justify="right")
    for name in index.splits:
        split = index.split(name)
        samples = np.diff(split.shard_starts)
        table.add_row(name, str(len(samples)), _range(samples), f"{split.shard_bytes.sum():,}")
    return table


def _range(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def findings(report: dict[str, object]) -> list[RenderableType]:
    """How many rows or groups each finding has, and what was done about them."""
    found = report.get("findings", [])
    if not found:
        return [Text(NO_FINDINGS)]
    table = Table("found in the source", "done")
    table.add_column("count", justify="right")
    for finding in found:
        table.add_row(finding["reason"], finding["action"], f"{finding['count']:,} {finding['unit']}")
    return [table]


def contact_sheet(split: Split, classes: tuple[str, ...], rows: int = 8) -> Image.Image:
    """The first pictures of every class as they lie on disk: a column per class, `rows` pictures high."""
    side = split.resolution
    sheet = np.full((rows * side, len(classes) * side, split.channels), 255, dtype=np.uint8)
    for column in range(len(classes)):
        for row, position in enumerate(np.flatnonzero(split.labels == column)[:rows].tolist()):
            picture = split.image(position).transpose(1, 2, 0)
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = picture
    return Image.fromarray(sheet.squeeze(axis=2) if split.channels == 1 else sheet)


def save_contact_sheet(index: ShardIndex, path: Path) -> None:
    """Writes the contact sheet of the first split as a picture file. Raises InputError where it cannot."""
    try:
        contact_sheet(index.split(index.splits[0]), index.classes).save(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path} ({error}): give a path that ends in .png") from error


class Meter:
    """Shows how far something is: a bar with rate and time left on a terminal, else a line per quarter."""

    def __init__(self, doing: str, unit: str, scale: float = 1) -> None:
        self.doing, self.unit, self.scale = doing, unit, scale
        self.started = self.drawn = time.monotonic()
        self.quarter = 0
        self.bar: Progress | None = None

    def __enter__(self) -> "Meter":
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            # It draws only when called: a thread of its own would be in the way of starting processes.
            self.bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.doing, total=None)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Tells that `done` of `total` is done."""
        now = time.monotonic()
        rate = done / self.scale / max(now - self.started, 1e-3)
        text = f"{self.doing}, {rate:,.0f} {self.unit}/s"
        if self.bar is not None:
            due = now - self.drawn > SECONDS_PER_FRAME
            self.drawn = now if due else self.drawn
            self.bar.update(self.task, description=text, completed=done, total=total, refresh=due)
        elif done * 4 // max(total, 1) > self.quarter:
            self.quarter = done * 4 // total
            print(f"{text}: {100 * done // total} %", file=sys.stderr, flush=True)

"""What a folder of shards holds, as tables and as one picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.documents import read_document
from shards.index import ShardIndex, Split, spread
from shards.schema import REPORT_NAME, UNLABELLED_NAME

NO_FINDINGS = "nothing was rejected and nothing looks suspicious"
NO_REPORT = f"there is no {REPORT_NAME}: what was found in the source is not known"
REPORT_HINT = "without it the data set is as good; move it away, or build the data set again"

SMALLEST_TILE, LARGEST_TILE = 64, 128
GAP, MARGIN, LARGEST_LETTERS = 2, 4, 14
MOST_ROWS = 100


def print_summary(folder: Path, origins: int = 0) -> ShardIndex:
    """Prints what a folder of shards holds, with so many origins of each finding; returns its index.

    Raises InputError where there is no such data set, or its report is damaged.
    """
    index, path = ShardIndex.load(folder), Path(folder) / REPORT_NAME
    report = read_document(path, REPORT_HINT) if path.exists() else None
    Console().print(summary(index, report, origins), soft_wrap=True)  # a sentence is a line, also in a pipe
    return index


def summary(index: ShardIndex, report: Mapping[str, object] | None, origins: int = 0) -> RenderableType:
    """The counts of every class and split, the shards, and what the report tells of the source.

    `report` is the content of report.json; None where there is none. `origins` is how many samples to
    name of each finding.
    """
    colour = "grey" if index.channels == 1 else "RGB"
    size = f"{index.resolution}x{index.resolution}"
    title = f"{index.source}: {size} {colour} in {index.place}"
    return Group(
        Text(title), Text(crop_text(index)), counts_table(index), shards_table(index), *told(report, origins)
    )


def crop_text(index: ShardIndex) -> str:
    """What is read of the pictures."""
    crop = index.catalogue.crop
    if crop is None:
        return "of every picture its central square is read"
    whole, square = f"{crop.width}x{crop.height}", f"{crop.side}x{crop.side}"
    return f"of a picture of {whole} the square {square} from ({crop.left}, {crop.top}) on is read"


def counts_table(index: ShardIndex) -> Table:
    """Samples by class and split, and the people that are known in each."""
    table = Table("class")
    for split in index.splits:
        table.add_column(split, justify="right")
    counts = [index.counts(split) for split in index.splits]
    for name in (*EXPRESSIONS, UNLABELLED_NAME):
        if name != UNLABELLED_NAME or any(count[name] for count in counts):
            table.add_row(name, *(f"{count[name]:,}" for count in counts))
    table.add_section()
    table.add_row("all", *(f"{index.split(split).samples:,}" for split in index.splits))
    people = [index.catalogue.splits[split].get("identities") for split in index.splits]
    table.add_row("people known", *(f"{known:,}" if isinstance(known, int) else "?" for known in people))
    return table


def shards_table(index: ShardIndex) -> Table:
    """Number, samples and bytes of the shards of each split."""
    table = Table("split")
    for column in ("shards", "samples in each", "bytes"):
        table.add_column(column, justify="right")
    for name in index.splits:
        shards = index.split(name).shards
        samples = [shard.samples for shard in shards]
        low, high = min(samples), max(samples)
        each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        table.add_row(name, str(len(shards)), each, f"{sum(shard.bytes for shard in shards):,}")
    return table


def told(report: Mapping[str, object] | None, origins: int) -> list[RenderableType]:
    """What a report tells: how often each thing was found, what was done about it, where, and warnings."""
    if report is None:
        return [Text(NO_REPORT)]
    found = [finding for finding in _list(report.get("findings")) if isinstance(finding, dict)]
    warnings = [Text(f"warning: {warning}") for warning in _list(report.get("warnings"))]
    if not found:
        return [Text(NO_FINDINGS), *warnings]
    table = Table("found in the source", "done")
    table.add_column("count", justify="right")
    for finding in found:
        unit, count = finding.get("unit", ""), finding.get("count")
        number = f"{count:,}" if isinstance(count, int) else "?"
        # As Text, for in a str rich takes what stands in brackets for a style.
        table.add_row(
            Text(str(finding.get("reason"))), Text(str(finding.get("action"))), Text(f"{number} {unit}")
        )
    places = [_places(finding, origins) for finding in found if origins > 0]
    note = [Text(str(report["origins_note"]))] if places and "origins_note" in report else []
    return [table, *places, *note, *warnings]


def _places(finding: Mapping[str, object], most: int) -> Text:
    every = _list(finding.get("origins"))
    lines = [_origin(each) for each in every[:most]]
    if len(every) > most:
        lines.append(f"and {len(every) - most:,} more")
    return Text("\n  ".join([f"{finding.get('reason')}:", *lines]))


def _origin(origin: object) -> str:
    return " = ".join(map(str, origin)) if isinstance(origin, list) else str(origin)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def contact_sheet(split: Split, rows: int = 8) -> Image.Image:
    """Pictures of every class: a column for each, with its name above, and one for the unlabelled if any.

    Of each class `rows` samples are shown that lie evenly spread over the split, the same ones every
    time. Where it has fewer the column ends in white. Raises InputError where a picture is damaged.
    """
    side = min(max(split.resolution, SMALLEST_TILE), LARGEST_TILE)
    tiles, labels = split.sized(side, split.channels), np.asarray(split.labels)
    columns = dict(enumerate(EXPRESSIONS))
    if (labels == UNLABELLED).any():
        columns[UNLABELLED] = UNLABELLED_NAME
    font = _font([*columns.values()], side)
    top = sum(font.getmetrics()) + 2 * MARGIN
    width, height = (side + GAP) * len(columns) - GAP, top + (side + GAP) * rows - GAP
    mode = "L" if split.channels == 1 else "RGB"
    sheet = Image.new(mode, (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (label, name) in enumerate(columns.items()):
        left = column * (side + GAP)
        draw.text((left + side // 2, MARGIN), name, "black", font, anchor="ma")
        positions = np.flatnonzero(labels == label)
        for row, position in enumerate(positions[spread(len(positions), rows)].tolist()):
            pixels = tiles.image(position).transpose(1, 2, 0)
            tile = Image.fromarray(pixels.squeeze(axis=2) if split.channels == 1 else pixels)
            sheet.paste(tile, (left, top + row * (side + GAP)))
    return sheet


def _font(names: list[str], side: int) -> ImageFont.FreeTypeFont:
    """The largest letters with which every name fits above a tile."""
    for size in range(LARGEST_LETTERS, 1, -1):
        font = ImageFont.load_default(size)
        if max(font.getlength(name) for name in names) <= side:
            return font
    return font


def save_contact_sheet(index: ShardIndex, path: Path, split: str | None = None, rows: int = 8) -> None:
    """Writes the contact sheet of a split, by default the first, as a picture file.

    Raises InputError where there is no such split, a picture is damaged, or the file cannot be written.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise InputError(f"--rows is between 1 and {MOST_ROWS}, not {rows}")
    sheet = contact_sheet(index.split(split or index.splits[0]), rows)
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path} ({error}): give another path that ends in .png") from error


def check_sheet(path: Path) -> None:
    """Raises InputError where no contact sheet could be written there."""
    if path.suffix.lower() not in Image.registered_extensions():
        raise InputError(f"--grid {path} names no format: let it end in .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--grid {path}: cannot make its folder ({error.strerror})") from error

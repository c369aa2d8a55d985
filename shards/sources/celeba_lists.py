"""Reads the lists that come with CelebA: attributes, people and official splits, as .txt or .csv.

A row tells of one picture: its name, then values. Before the first may stand the number of rows, which is
often wrong, and the names of the columns. Cells are parted by commas or by any number of blanks.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from fes.errors import InputError
from shards.schema import SPLITS

Kind = Literal["attributes", "identities", "partition"]

USUAL_NAMES: dict[Kind, tuple[str, ...]] = {
    "attributes": ("list_attr_celeba.txt", "list_attr_celeba.csv"),
    "identities": ("identity_CelebA.txt", "identity_CelebA.csv"),
    "partition": ("list_eval_partition.txt", "list_eval_partition.csv"),
}
SUFFIXES = (b".jpg", b".jpeg", b".png")
NAME_COLUMNS = (b"image_id", b"image", b"image_name", b"filename", b"file", b"name")
YES, NO = (b"1", b"1.0", b"True", b"true"), (b"-1", b"-1.0", b"0", b"False", b"false")
HOLDS = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
SPLIT_OF = {str(number).encode(): split for number, split in enumerate(SPLITS)}
MOST_DIGITS = 18

Key = str | tuple[int, int]
"""Where a picture lies: the name of its file, or the number of a parquet file and of a row in it, from 0."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a picture; None where it is not."""

    key: Key
    name: str
    attributes: tuple[str, ...] | None = None
    identity: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class PictureList:
    """What a list tells, by the names of the pictures; and its rows that cannot be used.

    `values` are the attributes that hold (tuples of names), identities (integers) or splits (names).
    `bad` rows cannot be read, those `again` are of pictures that an earlier row tells of.
    """

    values: dict[str, object]
    bad: list[str]
    again: list[str]

    def of(self, name: str) -> object:
        """What the list tells of a picture, or None; that of a .png stands there as .jpg."""
        as_it_is, as_jpeg = listed_as(name)
        return self.values.get(as_it_is, self.values.get(as_jpeg))


def listed_as(name: str) -> tuple[str, str]:
    """The names that a picture's file may have in a list."""
    name = name.rpartition("/")[2]
    return name, f"{name.rpartition('.')[0]}.jpg"


def read_list(kind: Kind, name: str, rows: Iterable[list[bytes]]) -> PictureList:
    """Reads the rows of a list, each the text between its commas.

    Raises InputError where no row can be used.
    """
    parse, header, names, number = PARSERS[kind], [], [], 0
    found = PictureList({}, [], [])
    for fields in rows:
        cells = _cells(fields)
        at = _place_of_name(cells)
        if at is None and not number:
            header = header if not cells or cells[0].isdigit() else cells
            continue
        if not number:
            names = _names(header, at, len(fields) > 1)
        number += 1
        value = None if at is None else parse(cells[at + 1 :], names)
        picture = "" if at is None else _text(cells[at]).rpartition("/")[2]
        if value is None:
            found.bad.append(f"{name} row {number}")
        elif picture in found.values:
            found.again.append(f"{name} row {number}")
        else:
            found.values[picture] = value
    if not found.values:
        usual = " or ".join(USUAL_NAMES[kind])
        raise InputError(f"{name} has no row that tells the {kind} of a picture: give {usual} of CelebA")
    return found


def _cells(fields: list[bytes]) -> list[bytes]:
    cells = fields[0].split() if len(fields) == 1 else [field.strip() for field in fields]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _place_of_name(cells: list[bytes]) -> int | None:
    """Which cell names the picture: the first, or the second where the rows are numbered."""
    return next((at for at, cell in enumerate(cells[:2]) if cell.lower().endswith(SUFFIXES)), None)


def _names(header: list[bytes], at: int, commas: bool) -> list[str]:
    """The names of the values; with commas, the columns before them have names too, which may be empty."""
    before = commas or (header and header[0].lower() in NAME_COLUMNS)
    return [_text(name) for name in (header[at + 1 :] if before else header)]


def _attributes(values: list[bytes], names: list[str]) -> tuple[str, ...] | None:
    holds = [HOLDS.get(value) for value in values]
    if not names or len(holds) != len(names) or None in holds:
        return None
    return tuple(itertools.compress(names, holds))


def _identity(values: list[bytes], names: list[str]) -> int | None:
    known = len(values) == 1 and values[0].isdigit() and len(values[0]) <= MOST_DIGITS
    return int(values[0]) if known else None


def _split(values: list[bytes], names: list[str]) -> str | None:
    return SPLIT_OF.get(values[0]) if len(values) == 1 else None


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


PARSERS: dict[Kind, Callable[[list[bytes], list[str]], object]] = {
    "attributes": _attributes,
    "identities": _identity,
    "partition": _split,
}

"""Where the files of a data set lie: on a shelf, of which the simplest is a folder."""

import contextlib
import difflib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fes.errors import InputError
from shards.schema import INDEX_NAME

_NAMED, _LOOKED_AT = 5, 1000
"""Data sets that a message names, and what of a folder is looked at to find them: it may lie far away."""


class Shelf(Protocol):
    """Where the files of a data set lie. Pickles, for the processes that read ahead.

    `remedy` is what to do about a damaged file.
    """

    remedy: str

    def document(self, name: str) -> bytes:
        """The content of a small file, as it is now. Raises InputError where there is none."""

    def open(self, name: str, size: int, sha256: str) -> int:
        """A descriptor of a file that the index tells of. Raises InputError where it cannot be had."""

    def ahead(self, shards: Sequence[tuple[str, int, str]]) -> None:
        """Tells which shards are going to be read next, by name, size and sha256; returns at once."""

    def forget(self, shard: tuple[str, int, str], descriptor: int) -> bool:
        """Whether `open` is going to give another copy of a shard than this damaged one that it gave."""


class Folder:
    """A `Shelf` that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remedy = (
            "build the shards again, or copy them again from where they came "
            f"(`fes-shards verify {path}` lists all damage)"
        )

    def document(self, name: str) -> bytes:
        hint = "To make a data set: fes-shards build --help"
        if not self.path.is_dir():
            trouble = "is a file, no folder of shards" if self.path.exists() else "does not exist"
            near = _data_sets_in(self.path.parent, self.path.name)
            there = f"; {self.path.parent} holds {near}" if near else ""
            raise InputError(f"{self.path} {trouble}: check the path{there}. {hint}")
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            inside = _data_sets_in(self.path, "")
            there = f", but data sets, of which one is to be named: {inside}" if inside else ""
            raise InputError(f"{self.path} holds no {name}, so no finished data set{there}. {hint}") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path / name} ({error.strerror}). {hint}") from error

    def open(self, name: str, size: int, sha256: str) -> int:
        try:
            return os.open(self.path / name, os.O_RDONLY)
        except OSError as error:
            raise InputError(
                f"cannot read {self.path / name} ({error.strerror}): copy the data set again or rebuild it"
            ) from error

    def ahead(self, shards: Sequence[tuple[str, int, str]]) -> None:
        pass  # what is here need not be fetched

    def forget(self, shard: tuple[str, int, str], descriptor: int) -> bool:
        return False


def _data_sets_in(folder: Path, like: str) -> str:
    """As `fer2013, webmorph`: the data sets in a folder, those with the most similar names first."""
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in itertools.islice(entries, _LOOKED_AT):
            if os.path.exists(os.path.join(entry.path, INDEX_NAME)):
                found.append(entry.name)
    found.sort(key=lambda name: (-difflib.SequenceMatcher(None, name, like).ratio(), name))
    more = f" and {len(found) - _NAMED:,} more" if found[_NAMED:] else ""
    return f"{', '.join(found[:_NAMED])}{more}"

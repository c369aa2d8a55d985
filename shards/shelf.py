"""Where the files of a data set lie: on a shelf, of which the simplest is a folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fes.errors import InputError


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
        hint = (
            f"`fes-shards build drawn --out {self.path}` makes one, `fes-shards build --help` names sources"
        )
        if not self.path.is_dir():
            raise InputError(f"{self.path} is no folder of shards; {hint}")
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{self.path} holds no {name}, so no finished data set; {hint}") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path / name} ({error.strerror}); {hint}") from error

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

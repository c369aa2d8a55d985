"""Keeps what a repair takes out of shards, as files beside them, and tells where each of them was."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from fes.files import write_file
from shards.checks.staging import QUARANTINE_NAME
from shards.checks.walk import OUR_NAME
from shards.documents import to_text
from shards.tar_members import Member

LIST_NAME = "quarantine.json"


@dataclass(frozen=True)
class Entry:
    """A file in quarantine: its name there, and where it was; without a member it is a whole shard."""

    file: str
    shard: str
    member: str | None
    offset: int
    reason: str


class Quarantine:
    """What goes to the quarantine of `folder`, by way of the folder `staged`."""

    def __init__(self, folder: Path, staged: Path) -> None:
        self.there, self.staged = folder / QUARANTINE_NAME, staged / QUARANTINE_NAME
        self.entries: list[Entry] = []
        self.names: set[str] = set()

    def take(self, file: BinaryIO, shard: str, member: Member, reason: str) -> None:
        """Copies what is left of a member; one without a name is bytes of the shard that are none."""
        file.seek(max(member.offset, 0))
        contents = file.read(member.size)
        if not contents:
            return
        told = member.name if OUR_NAME.fullmatch(member.name) else f"from-{member.offset}.bytes"
        name = self._free(f"{shard.removesuffix('.tar')}.{told}")
        write_file(self.staged / name, contents)
        self.entries.append(Entry(name, shard, member.name or None, member.offset, reason))

    def move(self, shard: str, reason: str) -> str:
        """Has a whole file moved; returns its name in the quarantine."""
        name = self._free(shard)
        self.entries.append(Entry(name, shard, None, 0, reason))
        return name

    def list(self) -> list[str]:
        """Writes the list of all that is in quarantine; returns the names of the files that are staged."""
        if not self.entries:
            return []
        every = [*_entries_of(self.there / LIST_NAME), *map(asdict, self.entries)]
        write_file(self.staged / LIST_NAME, to_text({"files": every}).encode())
        return sorted(path.name for path in self.staged.iterdir())

    def _free(self, name: str) -> str:
        stem, dot, suffix = name.rpartition(".")
        free, number = name, 2
        while free in self.names or (self.there / free).exists():
            free, number = f"{stem}.{number}{dot}{suffix}", number + 1
        self.names.add(free)
        return free


def _entries_of(path: Path) -> list[object]:
    """What earlier repairs have listed."""
    try:
        return list(json.loads(path.read_bytes())["files"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []

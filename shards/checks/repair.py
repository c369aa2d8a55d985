"""Repairs a folder of our own shards: what is whole stays, what is not goes to quarantine, all of it told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fes.errors import InputError
from shards.build.alone import alone_in
from shards.build.archive import Plan, Work, write_shard
from shards.build.sizes import common_side
from shards.catalogue import Shard, write_index
from shards.checks.check import Checked
from shards.checks.quarantine import Quarantine
from shards.checks.remains import Remains, remains_of
from shards.checks.salvage import salvage
from shards.checks.staging import (
    QUARANTINE_NAME,
    STAGING_NAME,
    Changes,
    carry_out,
    decide,
    has_journal,
    staging,
)
from shards.checks.verify import left_behind, report_readable, strays
from shards.checks.walk import OUR_NAME, details_told, members_told
from shards.documents import printable
from shards.schema import (
    INDEX_NAME,
    PLACES_NAME,
    REPORT_NAME,
    SPLITS,
    Progress,
    Sample,
    no_progress,
    sample_key,
    shard_name,
)
from shards.workers import spread


@dataclass(frozen=True)
class Repaired:
    """What was done: `actions` tell every change in a sentence each, none where nothing was wrong.

    `kept` and `dropped` are numbers of samples.
    """

    actions: tuple[str, ...]
    kept: int
    dropped: int


@dataclass(frozen=True)
class _New:
    """A shard as it will be: the samples `kept` of an old one, whose keys begin at `first`."""

    old: Checked
    name: str
    first: int
    kept: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        return self.old.rows[self.kept]

    @property
    def same(self) -> bool:
        """Whether it is the old one, byte for byte."""
        counted = [*self.old.positions] == [*range(self.first, self.first + len(self.kept))]
        return counted and self.old.part.name == self.name and not self.old.faults


def repair(folder: Path, *, workers: int = 1, progress: Progress = no_progress) -> Repaired:
    """Makes a folder of shards whole again, with all samples whose picture and details are whole.

    The index is made anew where it is damaged or does not fit, from the shards alone if need be. Samples
    that are damaged are dropped, and the keys after them renumbered. What is taken out of a shard goes to
    the folder `quarantine`, where quarantine.json tells of each file where it was and why. Until all
    that is new is written the folder stays as it was; where it is interrupted after that, it goes on.
    `progress` is called with the numbers of shards looked at and in all.

    Raises InputError where there is nothing to repair, the shards were made by others, one cannot be
    read, the folder cannot be written, or another writes there.
    """
    with alone_in(Path(folder)):
        return _repair(Path(folder), workers, progress)


def _repair(folder: Path, workers: int, progress: Progress) -> Repaired:
    before = []
    if has_journal(folder):
        before = ["a repair that had been interrupted was finished", *carry_out(folder).actions]
    remains = remains_of(folder)
    checked = salvage(folder, remains, workers, progress)
    news = _new_shards(remains.source, checked)
    with staging(folder) as staged:
        changes = _stage(folder, staged, remains, news, checked, workers)
        if changes.actions:
            decide(folder, changes)
    if changes.actions:
        carry_out(folder)
    return Repaired((*before, *changes.actions), changes.kept, changes.dropped)


def _new_shards(source: str, checked: Sequence[Checked]) -> list[_New]:
    """The shards with something to keep, numbered anew, and their samples too."""
    numbers, firsts, news = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0), []
    for old in checked:
        split = old.part.split
        kept = np.setdiff1d(np.arange(len(old.rows)), list(old.lost)).astype(np.int64)
        if len(kept):
            news.append(_New(old, shard_name(source, split, numbers[split]), firsts[split], kept))
            numbers[split] += 1
            firsts[split] += len(kept)
    return news


def _stage(
    folder: Path,
    staged: Path,
    remains: Remains,
    news: Sequence[_New],
    checked: Sequence[Checked],
    workers: int,
) -> Changes:
    """Writes all that is new into the folder `staged`; the changes have no actions where nothing is."""
    if not news:
        raise InputError(f"no sample in {folder} is whole: it was left as it is; build the data set again")
    shards, rows = _write(folder, staged, news, workers)
    changes = Changes(actions=list(remains.found), kept=len(rows), dropped=remains.missing)
    _take_out(folder, staged, remains, checked, changes)
    changes.actions += [_told(new) for new in news if not new.same]
    sizes = np.concatenate([new.old.sizes[new.kept] for new in news])
    write_index(
        staged,
        source=remains.source,
        resolution=common_side(sizes[:, 0], sizes[:, 1], remains.crop),
        channels=int(sizes[:, 2].max()),
        crop=remains.crop,
        shards=shards,
        places=rows,
    )
    index = [name for name in (PLACES_NAME, INDEX_NAME) if _differs(staged / name, folder / name)]
    if index or changes.actions:
        changes.actions.append(f"{PLACES_NAME} and {INDEX_NAME} were written anew")
    changes.staged = [*(new.name for new in news if not new.same), PLACES_NAME, INDEX_NAME]
    gone = {part.name for part in remains.parts} - {new.name for new in news} - {*changes.quarantined}
    changes.removed += sorted(gone)
    return changes


def _write(folder: Path, staged: Path, news: Sequence[_New], workers: int) -> tuple[list[Shard], np.ndarray]:
    """The entries of the new shards, and their rows one behind the other; writes those that differ."""
    written = spread(_rewrite, (folder, staged), [new for new in news if not new.same], workers)
    shards, rows = [], []
    for new in news:
        if new.same:
            shard = Shard(new.name, new.old.part.split, len(new.kept), new.old.bytes, new.old.sha256)
            places = new.rows
        else:
            shard, places = next(written)
        shards.append(shard)
        rows.append(places)
    return shards, np.concatenate(rows)


def _rewrite(folders: tuple[Path, Path], new: _New) -> tuple[Shard, np.ndarray]:
    folder, staged = folders
    part = new.old.part
    with open(folder / part.name, "rb") as file:
        pictures = _Pictures(file, new.rows)
        samples = [pictures.sample(part.split, place) for place in range(len(new.rows))]
        plan = Plan(new.name, part.split, new.first, np.arange(len(samples)))
        return write_shard(Work(samples, pictures, staged), plan)


class _Pictures:
    """Reads samples of an old shard; stands where a build has the pictures that it gathered."""

    def __init__(self, file: BinaryIO, rows: np.ndarray) -> None:
        self.file, self.rows = file, rows

    def picture(self, position: int) -> bytes:
        """The bytes of a picture's file."""
        return self._content(position, "image")

    def sample(self, split: str, position: int) -> Sample:
        """All of a sample but its picture."""
        row, details = self.rows[position], details_told(self._content(position, "details"))
        return Sample(split, int(row["label"]), position, details, int(row["identity"]))

    def _content(self, position: int, kind: str) -> bytes:
        self.file.seek(int(self.rows[position][f"{kind}_offset"]))
        return self.file.read(int(self.rows[position][f"{kind}_size"]))


def _told(new: _New) -> str:
    whence = "" if new.name == new.old.part.name else f" from {new.old.part.name}"
    faults = new.old.faults
    why = f"; {faults[0]}" if faults and not new.old.lost and not new.old.loose else ""
    first = sample_key(new.old.part.split, new.first)
    return f"{new.name} was written anew{whence}: {len(new.kept):,} samples, from the key {first} on{why}"


def _take_out(
    folder: Path, staged: Path, remains: Remains, checked: Sequence[Checked], changes: Changes
) -> None:
    """Plans what goes to quarantine or is removed, and tells it."""
    quarantine = Quarantine(folder, staged)
    for old in checked:
        changes.dropped += len(old.lost)
        if len(old.lost) == len(old.rows):
            _move(quarantine, changes, old.part.name, "no sample in it is whole")
        else:
            _take_members(folder, quarantine, changes, old)
    for path in strays(folder, [part.name for part in remains.parts]):
        _move(quarantine, changes, path.name, "is no shard of this data set")
    if (folder / REPORT_NAME).exists() and not report_readable(folder):
        _move(quarantine, changes, REPORT_NAME, "is damaged")
    for path in left_behind(folder):
        if path.name != STAGING_NAME:
            changes.removed.append(path.name)
            changes.actions.append(f"{path.name}, which an interrupted program had left, was removed")
    changes.staged_quarantine = quarantine.list()


def _move(quarantine: Quarantine, changes: Changes, name: str, reason: str) -> None:
    changes.quarantined[name] = quarantine.move(name, reason)
    changes.actions.append(f"{name}: {reason}; moved to {QUARANTINE_NAME}/{changes.quarantined[name]}")


def _take_members(folder: Path, quarantine: Quarantine, changes: Changes, old: Checked) -> None:
    name = old.part.name
    if not old.lost and not old.loose:
        return
    with open(folder / name, "rb") as file:
        for number, _, member in members_told(old.rows, old.part.split, old.positions):
            if number in old.lost:
                quarantine.take(file, name, member, str(old.lost[number]))
        for place, fault in old.lost.items():
            key = sample_key(old.part.split, old.positions[place])
            changes.actions.append(
                f"sample {key} was dropped, what is left of it is in {QUARANTINE_NAME}: {fault}"
            )
        if old.people is not None:  # no index tells of them
            changes.dropped += len(
                {match[1] for member in old.loose if (match := OUR_NAME.fullmatch(member.name))}
            )
        for member in old.loose:
            what = printable(member.name) or f"what lies there, {member.size:,} bytes,"
            reason = "is part of no whole sample"
            quarantine.take(file, name, member, reason)
            changes.actions.append(
                f"{name}, byte {member.offset}: {what} {reason}: moved to {QUARANTINE_NAME}"
            )


def _differs(path: Path, other: Path) -> bool:
    return not other.exists() or path.read_bytes() != other.read_bytes()

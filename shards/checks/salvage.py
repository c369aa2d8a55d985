"""Finds all that is whole in damaged shards: where the index says, elsewhere in the shard, or without it."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fes.errors import InputError
from shards.checks.check import Checked, Part, Terms, check_shard, picture_size
from shards.checks.remains import Remains
from shards.checks.walk import BLOCK, members_told
from shards.schema import NOBODY, Progress
from shards.workers import spread


def salvage(folder: Path, remains: Remains, workers: int, progress: Progress) -> list[Checked]:
    """The shards as they are, with the identities of their samples; what is lost cannot be had.

    `progress` is called with the numbers of shards looked at and in all. Raises InputError where a shard
    cannot be read.
    """
    checked = []
    for found in spread(_salvage_shard, folder, remains.parts, workers):
        checked.append(found)
        progress(len(checked), len(remains.parts))
    _tell_people(remains, checked)
    return checked


def _salvage_shard(folder: Path, part: Part) -> Checked:
    terms = Terms(folder, own=True)
    try:
        checked = check_shard(terms, part)
        if part.rows is not None and checked.lost:
            _look_elsewhere(folder, checked)
        if part.rows is None or len(checked.lost) < len(part.rows):
            return checked
        alone = check_shard(terms, Part(part.name, part.split))
    except OSError as error:
        raise InputError(
            f"cannot read {folder / part.name} ({error.strerror}): copy the folder to another disk, as far "
            "as that can be done, and repair the copy"
        ) from error
    # Where members lie as the index says they are those it tells of, and damaged; else of another build.
    if alone.faults or np.isin(alone.rows["image_offset"], part.rows["image_offset"]).all():
        return checked
    alone.tell(None, None, "it is another shard than the index tells of, and whole")
    return alone


def _look_elsewhere(folder: Path, checked: Checked) -> None:
    """Finds lost samples that were only shifted, by bytes that came in or went: their names tell where."""
    contents = (folder / checked.part.name).read_bytes()
    checked.rows = checked.rows.copy()
    offsets: dict[int, dict[str, int]] = {number: {} for number in checked.lost}
    for number, kind, member in members_told(checked.rows, checked.part.split, checked.positions):
        if number in offsets and kind != "label":
            offset = contents.find(member.name.encode() + b"\0") + BLOCK
            content = contents[offset : offset + member.size]
            if zlib.crc32(content) == checked.rows[number][f"{kind}_crc32"]:
                offsets[number][kind] = offset
    for number, found in offsets.items():
        row = checked.rows[number]
        # What lies where it should and is lost all the same is damaged in another way.
        there = {kind: row[f"{kind}_offset"] for kind in found}
        if len(found) < 2 or found == there:
            continue
        picture = contents[found["image"] : found["image"] + int(row["image_size"])]
        with suppress(ValueError):
            checked.sizes[number] = picture_size(picture)
            row["image_offset"], row["details_offset"] = found["image"], found["details"]
            del checked.lost[number]
    kept = {*checked.rows["image_offset"].tolist(), *checked.rows["details_offset"].tolist()}
    checked.loose = [member for member in checked.loose if not (member.name and member.offset in kept)]


def _tell_people(remains: Remains, checked: Sequence[Checked]) -> None:
    """Gives samples that were found without an index the identities that their details tell."""
    found = [each for each in checked if each.people is not None]
    people = {person for each in found for person in each.people if person is not None}
    names = {name: number for number, name in enumerate(sorted(map(str, people)))}
    numbered = all(isinstance(person, int) for person in people)
    if not numbered and len(found) < len(checked):
        names = {}  # the other shards have numbers of their own for these people
        remains.found.append("who is on the pictures of some shards is not known: their details tell names")
    for each in found:
        told = [person if numbered else names.get(str(person)) for person in each.people]
        each.rows["identity"] = [NOBODY if person is None else person for person in told]

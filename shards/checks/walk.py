"""What lies where in a shard of our own: its members, the samples they make, and what is between them."""

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.build.archive import TEMPLATE
from shards.documents import printable
from shards.schema import (
    DETAILS,
    IMAGES,
    LABEL,
    NOBODY,
    OWNER,
    PLACE,
    SPLITS,
    sample_key,
)
from shards.tar_members import BLOCK, Member, header_at, members_of, only_zeros

LABELS = frozenset((UNLABELLED, *range(len(EXPRESSIONS))))
OUR_NAME = re.compile(rf"([0-{len(SPLITS) - 1}]\d{{8}})\.({'|'.join((LABEL, DETAILS, *IMAGES))})", re.ASCII)
FIELDS = {DETAILS: "details"} | dict.fromkeys(IMAGES, "image")
"""How the fields of `PLACE` begin that tell of a member, by the member's ending."""
FIXED = (slice(100, 124), slice(136, 148), slice(156, BLOCK))
"""Where a header holds the same in every member: all of it but the name, the size and the checksum."""

Person = int | str | None
"""The identity that a sample's details tell."""


@dataclass(frozen=True)
class Walked:
    """What a walk through a shard meets: members, and `holes`, bytes from a start to an end that are none.

    Links, folders and members that are cut short are holes too, for no shard of ours has any.
    """

    size: int
    members: list[Member]
    holes: list[tuple[int, int]]


@dataclass(frozen=True)
class Found:
    """The samples that the members of a shard make by themselves.

    `rows` is an array of `PLACE` without identities, `people` holds those that the details tell, and
    `positions` those in the split that the keys tell. `loose` are members that are part of no sample.
    """

    rows: np.ndarray
    people: list[Person]
    positions: list[int]
    loose: list[Member]


def walk(file: BinaryIO) -> Walked:
    """Reads all headers, and goes on behind damage. Raises OSError where the disk does."""
    size = os.fstat(file.fileno()).st_size
    members = list(members_of(file, lambda reason, where: None))
    holes, at = [], 0
    for member in members:
        if member.offset - BLOCK > at:
            holes.append((at, member.offset - BLOCK))
        at = end_of(member)
    if at < size and not only_zeros(file, at):
        holes.append((at, size))
    return Walked(size, members, holes)


def end_of(member: Member) -> int:
    """Where the header of the next member begins."""
    return member.offset + member.size + -member.size % BLOCK


def members_told(rows: np.ndarray, split: str, positions: Sequence[int]) -> Iterator[tuple[int, str, Member]]:
    """The members that samples have on disk, in its order: the row of each, its kind, and where it lies.

    `rows` is an array of `PLACE`, `positions` are those in the split. Kinds are "label", "details", "image".
    """
    for number, (row, position) in enumerate(zip(rows, positions, strict=True)):
        key = sample_key(split, position)
        suffix = IMAGES[int(row["image_offset"] < row["details_offset"])]
        members = {
            "details": Member(f"{key}.{DETAILS}", int(row["details_offset"]), int(row["details_size"])),
            "image": Member(f"{key}.{suffix}", int(row["image_offset"]), int(row["image_size"])),
        }
        start = min(member.offset for member in members.values())
        # A label fits into one block, and behind it comes the header of the member that follows.
        yield number, "label", Member(f"{key}.{LABEL}", start - 2 * BLOCK, len(str(row["label"])))
        for kind in sorted(members, key=lambda kind: members[kind].offset):
            yield number, kind, members[kind]


def samples_in(file: BinaryIO, members: Sequence[Member]) -> Found:
    """The samples in a shard, by its members alone. Raises OSError where the disk does."""
    rows, people, positions, loose = [], [], [], []
    at = 0
    while at < len(members):
        sample = _sample(file, members[at : at + 3])
        if sample is None:
            loose.append(members[at])
            at += 1
            continue
        row, person, position = sample
        rows.append(row)
        positions.append(position)
        people.append(person)
        at += 3
    return Found(np.array(rows, PLACE), people, positions, loose)


def _sample(file: BinaryIO, members: Sequence[Member]) -> tuple[np.ndarray, Person, int] | None:
    """A row of `PLACE`, the person and the position of a sample; None where the members make none."""
    matches = [OUR_NAME.fullmatch(member.name) for member in members]
    if len(matches) < 3 or not all(matches) or len({match[1] for match in matches}) > 1:
        return None
    kinds = [match[2] for match in matches]
    if kinds not in [sorted((LABEL, DETAILS, image)) for image in IMAGES]:
        return None
    contents = [os.pread(file.fileno(), member.size, member.offset) for member in members]
    label = label_told(contents[0])
    if label is None:
        return None
    row = np.zeros((), PLACE)
    row["label"], row["identity"] = label, NOBODY
    for kind, member, content in zip(kinds[1:], members[1:], contents[1:], strict=True):
        name = FIELDS[kind]
        row[f"{name}_offset"], row[f"{name}_size"] = member.offset, member.size
        row[f"{name}_crc32"] = zlib.crc32(content)
    return row, person_told(contents[kinds.index(DETAILS)]), int(matches[0][1][1:])


def label_told(content: bytes) -> int | None:
    """The label in a .cls of our own; None where it holds none."""
    return next((label for label in LABELS if str(label).encode() == content), None)


def details_told(content: bytes) -> dict[str, object]:
    """The object in a .json of our own. Raises ValueError where it holds none."""
    try:
        details = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("is no JSON") from error
    if not isinstance(details, dict):
        raise ValueError("is no JSON object")
    return details


def person_told(content: bytes) -> Person:
    """The identity in a .json; None where there is none that can be told."""
    try:
        person = details_told(content).get("identity")
    except ValueError:
        return None
    if isinstance(person, int) and not isinstance(person, bool) and -(2**63) <= person < 2**63:
        return person
    return person if isinstance(person, str) else None


def header_trouble(file: BinaryIO, member: Member) -> str | None:
    """What the header of a member holds that none of ours does; None where it is as it should be."""
    header = os.pread(file.fileno(), BLOCK, member.offset - BLOCK)
    if all(header[part] == TEMPLATE[part] for part in FIXED):
        return None
    told = header_at(file.fileno(), member.offset - BLOCK)
    if told is not None and (told.uname, told.gname, told.uid, told.gid) != (OWNER, OWNER, 0, 0):
        owners = f"{printable(told.uname)!r} ({told.uid}) and {printable(told.gname)!r} ({told.gid})"
        return f"the header names the owners {owners}"
    return "the header holds what no header of our shards does (a time, rights or a link)"

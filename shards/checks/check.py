"""Holds one shard to what its index says of it, or to the format alone where no index is to be trusted."""

import hashlib
import io
import os
import stat
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from shards.checks.walk import (
    OUR_NAME,
    Person,
    Walked,
    details_told,
    header_trouble,
    members_told,
    person_told,
    samples_in,
    walk,
)
from shards.documents import printable
from shards.pictures import FORMATS, PLAIN, decode_picture, suffix_of
from shards.schema import NOBODY, PLACE, sample_key
from shards.tar_members import BLOCK, Member, header_at

MOST_TOLD = 50
"""Faults of one shard that are told; of the others only their number is."""

DECODED_SIDE = 64  # small, for the whole file is decoded anyhow, and the index may state any resolution
CHANNELS = {"L": 1, "RGB": 3}

Wanted = tuple[int, str, Member]
"""A member that should be there: its sample's place in the rows, "label", "details" or "image", and where."""


@dataclass(frozen=True)
class Fault:
    """Something wrong: in which file, and where it can be told, in which member and at which byte.

    A `note` tells of something left behind that harms nobody.
    """

    file: str
    member: str | None
    offset: int | None
    trouble: str
    note: bool = False

    def __str__(self) -> str:
        where = [self.file, self.member, None if self.offset is None else f"byte {self.offset}"]
        text = f"{', '.join(part for part in where if part is not None)}: {self.trouble}"
        return f"note: {text}" if self.note else text


@dataclass(frozen=True)
class Terms:
    """What holds for all shards of a folder: whether they are our `own`."""

    folder: Path
    own: bool


@dataclass(frozen=True)
class Part:
    """A shard to check; what is None is not known, and taken from the shard.

    `rows` is an array of `PLACE`, and `first` the position of the first sample in its split.
    """

    name: str
    split: str
    first: int | None = None
    rows: np.ndarray | None = None
    bytes: int | None = None
    sha256: str | None = None


@dataclass
class Checked:
    """A shard as it was found.

    `rows` holds its samples, and `positions` their places in the split; some are not whole, which `lost`
    tells: the trouble of each by its place in `rows`. `sizes` is int32 [samples, 3]: width, height and
    channels of every picture that can be read. `people` are the identities that the details tell, where
    `rows` were taken from the shard. `loose` are bytes that belong to no sample: members, and nameless
    where they are not even that.
    """

    part: Part
    rows: np.ndarray
    positions: Sequence[int]
    people: list[Person] | None = None
    bytes: int = 0
    sha256: str = ""
    faults: list[Fault] = field(default_factory=list)
    lost: dict[int, Fault] = field(default_factory=dict)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    loose: list[Member] = field(default_factory=list)

    def tell(self, member: str | None, offset: int | None, trouble: str) -> None:
        """Notes a fault."""
        self.faults.append(Fault(self.part.name, member, offset, trouble))


def check_shard(terms: Terms, part: Part) -> Checked:
    """Looks at every byte of a shard, and decodes every picture. Raises OSError where it cannot be read."""
    path = terms.folder / part.name
    if not stat.S_ISREG(path.stat().st_mode):  # to read a pipe would be to wait for ever
        raise OSError(0, "it is no file")
    with open(path, "rb") as file:
        checked = (_check_own if terms.own else _check_foreign)(terms, part, file)
        file.seek(0)
        checked.bytes = os.fstat(file.fileno()).st_size
        checked.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    stated = (part.bytes, part.sha256)
    if not checked.faults and part.sha256 is not None and stated != (checked.bytes, checked.sha256):
        members = "" if part.rows is None else "every member is right, but "
        found = f"{checked.bytes} bytes with the sha256 {checked.sha256}"
        checked.tell(None, None, f"{members}the file is not the one that the index tells of: {found}")
    checked.faults.sort(key=lambda fault: (fault.offset is None, fault.offset or 0))
    more = len(checked.faults) - MOST_TOLD
    if more > 0:
        del checked.faults[MOST_TOLD:]
        checked.tell(None, None, f"{more} more faults")
    return checked


def _check_own(terms: Terms, part: Part, file: BinaryIO) -> Checked:
    walked = walk(file)
    if part.rows is not None:
        checked = Checked(part, part.rows, _positions(part, part.rows))
    else:
        found = samples_in(file, walked.members)
        checked = Checked(part, found.rows, found.positions, found.people)
    wanted = list(members_told(checked.rows, part.split, checked.positions))
    told = _check_members(checked, file, walked, [member for _, _, member in wanted])
    _check_contents(terms, checked, file, wanted, told)
    expected = _positions(part, checked.rows)
    if not checked.faults and part.first is not None and [*checked.positions] != [*expected]:
        checked.tell(None, None, f"its keys do not count from {sample_key(part.split, part.first)} on")
    return checked


def _positions(part: Part, rows: np.ndarray) -> range:
    first = part.first or 0
    return range(first, first + len(rows))


def _check_members(checked: Checked, file: BinaryIO, walked: Walked, wanted: Sequence[Member]) -> set[str]:
    """Tells where the members are not those that are wanted; returns the names of those it has told of."""
    there = {member.offset: member for member in walked.members}
    missing, told = [], set()
    for want in wanted:
        have = there.pop(want.offset, None)
        if have is None:
            missing.append(want)
        elif trouble := _header_faults(file, have, want):
            told.add(want.name)
            checked.tell(want.name, want.offset - BLOCK, trouble)
    holes = _check_missing(checked, walked, missing)
    of_whom = "is part of no whole sample" if checked.people is not None else "is not in the index"
    for have in there.values():
        name = "" if OUR_NAME.fullmatch(have.name) else "; its name is none that a shard of ours has"
        checked.tell(printable(have.name), have.offset - BLOCK, f"{of_whom}{name}")
    for start, end in holes:
        checked.tell(None, start, f"the bytes up to {end} belong to no member")
    checked.loose = [*there.values(), *(Member("", start, end - start) for start, end in holes)]
    return told | {member.name for member in missing}


def _header_faults(file: BinaryIO, have: Member, want: Member) -> str | None:
    if (have.name, have.size) == (want.name, want.size):
        return header_trouble(file, have)
    name = printable(have.name)
    return f"the header tells of {name} with {have.size} bytes, not of {want.name} with {want.size} bytes"


def _check_missing(checked: Checked, walked: Walked, missing: Sequence[Member]) -> list[tuple[int, int]]:
    """Tells of members that are not there; returns the holes that were none of them."""
    beyond = [member for member in missing if member.offset + member.size > walked.size]
    if beyond:
        of = "" if checked.part.bytes is None else f" of {checked.part.bytes}"
        ends = f"missing, with all after it: the shard ends at byte {walked.size}{of}"
        checked.tell(beyond[0].name, beyond[0].offset, ends)
    told = set(beyond)
    inside: dict[tuple[int, int], list[Member]] = {hole: [] for hole in walked.holes}
    starts = [start for start, _ in walked.holes]
    for member in missing:
        hole = bisect_right(starts, member.offset - BLOCK) - 1
        if member in told:
            continue
        if hole >= 0 and member.offset - BLOCK < walked.holes[hole][1]:
            inside[walked.holes[hole]].append(member)
        else:
            checked.tell(member.name, member.offset - BLOCK, "the shard has no member there")
    for first, *others in filter(None, inside.values()):
        more = f", and all up to {others[-1].name}" if others else ""
        checked.tell(first.name, first.offset - BLOCK, f"the header is damaged{more}")
    return [hole for hole, lost in inside.items() if not lost and not (beyond and hole[1] == walked.size)]


def _check_foreign(terms: Terms, part: Part, file: BinaryIO) -> Checked:
    """Only what the index tells of must be there: other members, names and owners are the maker's own."""
    rows = np.zeros(0, PLACE) if part.rows is None else part.rows
    checked, wanted, told = Checked(part, rows, _positions(part, rows)), [], set()
    for number, row in enumerate(rows):
        for kind in ("image", "details"):
            offset, size = int(row[f"{kind}_offset"]), int(row[f"{kind}_size"])
            if kind == "details" and not size:
                continue
            header = header_at(file.fileno(), offset - BLOCK)
            name = f"sample {number}" if header is None else printable(header.name)
            wanted.append((number, kind, Member(name, offset, size)))
            if header is None or header.size != size:
                told.add(name)
                checked.tell(name, offset - BLOCK, f"there is no header of a member of {size} bytes")
    _check_contents(terms, checked, file, wanted, told)
    return checked


def _check_contents(
    terms: Terms, checked: Checked, file: BinaryIO, wanted: Sequence[Wanted], told: set[str]
) -> None:
    """Tells which members do not hold what was written, but for those that are `told` of already."""
    size = os.fstat(file.fileno()).st_size
    checked.sizes = np.zeros((len(checked.rows), 3), np.int32)
    for number, kind, member in wanted:
        row = checked.rows[number]
        try:
            inside = BLOCK <= member.offset <= size - member.size
            content = os.pread(file.fileno(), member.size, member.offset) if inside else None
            if kind == "image":
                picture = _as_written(content, row["image_crc32"])
                checked.sizes[number] = picture_size(picture, member.name if terms.own else None)
            elif kind == "details":
                _check_details(terms, _as_written(content, row["details_crc32"]), row)
            elif content != str(row["label"]).encode():
                raise ValueError(f"the label is {content!r}, not {row['label']}")
        except ValueError as error:
            fault = Fault(checked.part.name, member.name, member.offset, str(error))
            if kind != "label":  # the index knows that too, and nothing is lost
                checked.lost.setdefault(number, fault)
            if member.name not in told:
                checked.faults.append(fault)


def _as_written(content: bytes | None, crc32: int) -> bytes:
    if content is None:
        raise ValueError("the shard does not reach there")
    if zlib.crc32(content) != crc32:
        raise ValueError("its bytes are not those that were written")
    return content


def picture_size(picture: bytes, name: str | None = None) -> tuple[int, int, int]:
    """Width, height and channels of a picture.

    Raises ValueError where it cannot be read; with the `name` of a member of ours, also where it is not
    of the kind that we write under that name.
    """
    decode_picture(picture, DECODED_SIDE, 3)
    try:
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            plain = image.format in PLAIN and image.mode in CHANNELS
            size = (*image.size, CHANNELS.get(image.mode, 3))
    except Exception as error:  # Pillow meets damage with a dozen kinds of exception
        raise ValueError(f"is no readable picture ({error})") from error
    if name and not (plain and name.endswith(suffix_of(picture))):
        raise ValueError("is no plain JPEG or PNG, or has the ending of the other")
    return size


def _check_details(terms: Terms, content: bytes, row: np.ndarray) -> None:
    details_told(content)
    person = person_told(content)
    if terms.own and isinstance(person, int) and person != row["identity"] != NOBODY:
        raise ValueError(f"the identity is {person}, in the index {row['identity']}")

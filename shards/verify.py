"""Finds every place where a folder of shards is not what its index says."""

import hashlib
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.index import ShardIndex, Split
from shards.pictures import decode_picture
from shards.schema import DETAILS, IMAGE, INDEX_NAME, LABEL, SPLITS, UNLABELLED_NAME, Progress, no_progress

HEADER = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Fault:
    """Something wrong: in which file, and where it can be told, in which member and at which byte."""

    shard: str
    member: str | None
    offset: int | None
    trouble: str

    def __str__(self) -> str:
        where = [self.shard, self.member, None if self.offset is None else f"byte {self.offset}"]
        return f"{', '.join(part for part in where if part is not None)}: {self.trouble}"


@dataclass(frozen=True)
class Member:
    """What a shard should hold at a place: `size` bytes that are `exact`, or that have this checksum."""

    name: str
    offset: int
    size: int
    exact: bytes | None = None
    crc32: int | None = None


def verify(folder: Path, progress: Progress = no_progress) -> list[Fault]:
    """All faults of a folder of shards, in the order of the index; none where all is well.

    Compares every shard with the index byte for byte, and decodes every picture. `progress` is called
    with the numbers of samples looked at and in all.
    Raises InputError where the folder holds no index that can be read.
    """
    index = ShardIndex.unchecked(folder)
    splits = [index.split(name) for name in index.splits]
    total = sum(split.samples for split in splits)
    faults, done = [*_count_faults(index), *_stray_faults(index)], 0
    for split in splits:
        for shard in range(len(split.shard_names)):
            faults += _shard_faults(split, shard)
            done += int(split.shard_starts[shard + 1] - split.shard_starts[shard])
            progress(done, total)
    return faults


def _count_faults(index: ShardIndex) -> Iterator[Fault]:
    names = {**dict(enumerate(EXPRESSIONS)), UNLABELLED: UNLABELLED_NAME}
    for name in index.splits:
        found = Counter(names.get(label, f"label {label}") for label in index.split(name).labels.tolist())
        stated = Counter(index.counts(name))
        if +found != +stated:
            differing = ", ".join(sorted({*(found - stated), *(stated - found)}))
            yield Fault(
                INDEX_NAME, None, None, f"its counts for {name} are not those of its labels: {differing}"
            )


def _stray_faults(index: ShardIndex) -> Iterator[Fault]:
    known = {name for split in index.splits for name in index.split(split).shard_names}
    for split in SPLITS:
        for path in sorted(index.folder.glob(f"{index.source}-{split}-*.tar*")):
            if path.name not in known:
                yield Fault(
                    path.name, None, None, "is not in the index; remove it, or readers of *.tar will use it"
                )


def _shard_faults(split: Split, shard: int) -> list[Fault]:
    name = split.shard_names[shard]
    try:
        contents = (split.folder / name).read_bytes()
    except OSError as error:
        return [Fault(name, None, None, f"cannot be read ({error.strerror})")]
    faults = []
    for position in range(int(split.shard_starts[shard]), int(split.shard_starts[shard + 1])):
        for member in _members(split, position):
            if member.offset + member.size > len(contents):
                short = f"the shard ends at byte {len(contents)} of {split.shard_bytes[shard]}"
                return [
                    *faults,
                    Fault(name, member.name, member.offset, f"missing, with all after it: {short}"),
                ]
            faults += _member_faults(name, member, contents, split)
    sha256 = hashlib.sha256(contents).hexdigest()
    if not faults and sha256 != split.shard_sha256[shard]:
        trouble = f"every member is right, but the file is not: sha256 {sha256}, {len(contents)} bytes"
        faults.append(Fault(name, None, None, trouble))
    return faults


def _members(split: Split, position: int) -> tuple[Member, Member, Member]:
    """A sample's members in their order on disk: the label's block ends where the next header begins."""
    _, key = split.where(position)
    label = str(split.labels[position]).encode()
    details, image = (
        Member(
            f"{key}.{kind}",
            int(places.offset[position]),
            int(places.size[position]),
            crc32=int(places.crc32[position]),
        )
        for kind, places in ((DETAILS, split.details_places), (IMAGE, split.image_places))
    )
    return Member(f"{key}.{LABEL}", details.offset - 2 * HEADER, len(label), exact=label), details, image


def _member_faults(shard: str, member: Member, contents: bytes, split: Split) -> Iterator[Fault]:
    header = contents[member.offset - HEADER : member.offset]
    try:
        told = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        if (told.name, told.size) != (member.name, member.size):
            trouble = (
                f"the header tells of {told.name} with {told.size} bytes, the index of {member.size} bytes"
            )
            yield Fault(shard, member.name, member.offset - HEADER, trouble)
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        yield Fault(shard, member.name, member.offset - HEADER, f"the header is damaged ({error})")
    trouble = _trouble(member, contents[member.offset : member.offset + member.size], split)
    if trouble:
        yield Fault(shard, member.name, member.offset, trouble)


def _trouble(member: Member, data: bytes, split: Split) -> str | None:
    if member.exact is not None:
        told = data.decode("ascii", "backslashreplace")
        return None if data == member.exact else f"the label is {told}, in the index {member.exact.decode()}"
    if zlib.crc32(data) != member.crc32:
        return "its bytes are not those that were written"
    if member.name.endswith(IMAGE):
        try:
            decode_picture(data, split.resolution, split.channels)
        except ValueError as error:
            return f"the picture {error}"
    return None

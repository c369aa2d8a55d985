"""Tells where the files in a tar lie, whoever made it and whatever happened to it since."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shards.documents import printable

BLOCK = tarfile.BLOCKSIZE

GAP = "bytes between members that are no member"
CUT = "member that goes beyond the end of the tar"
NO_END = "tar without an end mark, which may be cut short"
SPARSE = "sparse file, which does not lie in one piece"

Tell = Callable[[str, str], None]
"""Is called with the reason of a trouble, and where in the tar it is."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: its name, and where its contents lie, in bytes."""

    name: str
    offset: int
    size: int


def members_of(file: BinaryIO, tell: Tell) -> Iterator[Member]:
    """The regular files in an open tar that is not compressed, in their order; long names of any kind too.

    What is damaged is told and passed over, up to the next header. Raises OSError where the disk does.
    """
    size = os.fstat(file.fileno()).st_size
    at, gap, cut = 0, None, False
    archive = _empty_archive()
    while at < size:
        member = _member_at(file, at, archive)
        if member is None:
            gap = at if gap is None else gap
            at += BLOCK
            continue
        if gap is not None:
            tell(GAP, f"byte {gap}, before {printable(member.name)}")
            gap = None
        at = archive.offset
        cut = member.offset_data + member.size > size
        if cut:
            tell(CUT, printable(member.name))
        elif member.issparse():
            tell(SPARSE, printable(member.name))
        elif member.isreg():
            yield Member(member.name, member.offset_data, member.size)
    if gap is None and not cut:
        tell(NO_END, f"byte {size}")
    elif gap is not None and not only_zeros(file, gap):
        tell(GAP, f"byte {gap}, to the end")


def _empty_archive() -> tarfile.TarFile:
    """An archive to read headers with; one opened on the tar itself would fail at the first bad header."""
    return tarfile.TarFile(fileobj=io.BytesIO(bytes(2 * BLOCK)), encoding="utf-8", errors="surrogateescape")


def _member_at(file: BinaryIO, at: int, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The member whose header begins at this byte, None where none does; `archive.offset` is then its end."""
    archive.fileobj = file
    file.seek(at)
    try:
        member = tarfile.TarInfo.fromtarfile(archive)
    except OSError:
        raise
    except Exception:  # tarfile meets damage with a dozen kinds of exception
        return None
    # A negative size would lead back to where we were, for ever.
    return member if member.size >= 0 and archive.offset > at else None


def header_at(descriptor: int, offset: int) -> tarfile.TarInfo | None:
    """The header at a byte of an open tar; None where there is none. Raises OSError where the disk does."""
    if not 0 <= offset < 2**63 - BLOCK:
        return None
    try:
        block = os.pread(descriptor, BLOCK, offset)
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


def only_zeros(file: BinaryIO, start: int) -> bool:
    """Whether nothing but zeros follows from a byte on, as at the end of a tar; reads to the end."""
    file.seek(start)
    return all(not block.strip(b"\0") for block in iter(lambda: file.read(2**20), b""))

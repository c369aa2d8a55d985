"""Reads a csv that comes plain, compressed or in an archive; nothing is unpacked to disk.

The forms are gz, xz, bz2, zip, tar, and a tar in gz, xz or bz2. They are told apart by their first bytes,
whatever the file is called, and read as a stream: memory does not grow with what they unpack to.
"""

import bz2
import contextlib
import csv
import gzip
import itertools
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fes.errors import InputError
from shards.schema import Progress, no_progress

BLOCK_BYTES = 2**21
LONGEST_LINE = 2**20
MOST_LINES = 1_000_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OPENERS = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
SUFFIXES = (".csv", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zip", ".tar")

BINARY = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB": "a MATLAB file",
    b"PAR1": "a parquet file",
}
"""What may be taken for a csv by mistake, by its first bytes. Anything with a zero byte is binary, too."""

TAR_BLOCK = 512
TAR_FILES, TAR_WITHOUT_DATA = (b"0", b"\0", b"7"), b"123456"

# What the modules used here raise on damaged files: of their own, or where they trust a number too much.
DAMAGE = (
    EOFError,
    OSError,
    OverflowError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class OpenCsv:
    """A csv that is being read.

    `name` is the name of the file, or of the archive's member, without folders. `rows` gives the fields
    of one line at a time, the header first, without blank lines; a line that is longer than LONGEST_LINE
    or cannot be split has no fields.
    """

    name: str
    rows: Iterator[list[bytes]]


@contextlib.contextmanager
def open_csv(path: Path, preferred: Sequence[str], progress: Progress = no_progress) -> Iterator[OpenCsv]:
    """Opens a file that is a csv or holds one, for as long as the context lasts.

    Of several in an archive the first of the `preferred` is taken, which are names without suffix.
    `progress` is called with the bytes of the file read so far and in all.
    Raises InputError, also while rows are read, where the file cannot be opened, is no text, is damaged or
    ends too early, has more than MOST_LINES lines, or is an archive in which it is not clear what to take.
    """
    with contextlib.ExitStack() as stack:
        with _trouble_told(path):
            if not path.is_file():
                trouble = "is not a file" if path.exists() else "does not exist"
                raise InputError(f"{path} {trouble}: check the path")
            file = stack.enter_context(open(path, "rb"))
            content = _open_content(file, path, preferred, stack)
        blocks = _watched(content.blocks(), file, path, progress)
        yield OpenCsv(PurePosixPath(content.name).name, _rows(blocks, path))


def find_csv(path: Path, preferred: Sequence[str]) -> Path:
    """The path itself, or if it is a folder the file there that by its name is a csv or may hold one: the
    first of the `preferred` (names without suffix) or else the only one.

    Raises InputError where a folder has none, or several of which none is preferred.
    """
    with _trouble_told(path):
        if not path.is_dir():
            return path
        names = [entry.name for entry in path.iterdir() if entry.is_file()]
    names.sort(key=lambda name: (not name.lower().endswith(".csv"), name))
    return path / _choose(names, preferred, SUFFIXES, path)


@dataclass(frozen=True)
class _Content:
    """A csv's bytes: `size` of them from where the stream stands, or all there are."""

    name: str
    stream: BinaryIO
    size: int | None = None

    def blocks(self) -> Iterator[bytes]:
        """The bytes, many at a time; raises what the stream does, and EOFError where they are too few."""
        left = self.size
        while block := self.stream.read(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES)):
            left = None if left is None else left - len(block)
            yield block
        if left:
            raise EOFError("it ends too early")
        while self.stream.read(BLOCK_BYTES):  # only at the end does a checksum tell of damage
            pass


def _open_content(
    file: BinaryIO, path: Path, preferred: Sequence[str], stack: contextlib.ExitStack
) -> _Content:
    head = _peek(file, 6)
    if head.startswith(ZIP):
        archive = stack.enter_context(zipfile.ZipFile(file))
        name = _choose(archive.namelist(), preferred, (".csv",), path)
        return _Content(name, stack.enter_context(archive.open(name)))
    stream = file
    for magic, opener in OPENERS.items():
        if head.startswith(magic):
            stream = stack.enter_context(opener(file))
    if _peek(stream, TAR_BLOCK)[257:262] == b"ustar":
        return _open_tar(stream, path, preferred)
    return _Content(path.name, stream)


def _peek(stream: BinaryIO, size: int) -> bytes:
    head = stream.read(size)
    stream.seek(0)
    return head


def _open_tar(stream: BinaryIO, path: Path, preferred: Sequence[str]) -> _Content:
    places = {}
    for name, offset, size in _stream_members(stream):
        places[name] = offset, size
        if _usable(name, (".csv",)) and _stem(name) == preferred[0]:
            break  # nothing behind it is preferred to it, and to look there is to unpack everything twice
    name = _choose(places, preferred, (".csv",), path)
    offset, size = places[name]
    stream.seek(offset)
    return _Content(name, stream, size)


def _stream_members(stream: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """The name of every file in a tar, where its bytes begin, and how many they are.

    Not with the tarfile module: that reads headers of any size into memory, runs in circles where a size
    is negative, and takes a damaged header for the end.
    """
    offset = 0
    while any(header := stream.read(TAR_BLOCK).ljust(TAR_BLOCK, b"?")):
        if sum(header[:148]) + 8 * ord(" ") + sum(header[156:]) != _octal(header[148:156]):
            raise ValueError("a header of the tar is broken or missing")
        kind, size, offset = header[156:157], _octal(header[124:136]), offset + TAR_BLOCK
        if kind in TAR_FILES:
            yield header[:100].split(b"\0")[0].decode("utf-8", "replace"), offset, size
        if kind not in TAR_WITHOUT_DATA:
            offset += -(-size // TAR_BLOCK) * TAR_BLOCK
        stream.seek(offset)


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits.isdigit():
        raise ValueError("a header of the tar is broken or missing")
    return int(digits, 8)


def _choose(names: Iterable[str], preferred: Sequence[str], suffixes: tuple[str, ...], where: Path) -> str:
    """The first preferred name of those with such a suffix, or else the only one."""
    usable = [name for name in names if _usable(name, suffixes)]
    for wish in preferred:
        for name in usable:
            if _stem(name) == wish:
                return name
    if len(usable) == 1:
        return usable[0]
    held = sorted(usable) or sorted(names)
    listed = ", ".join(name[:100] for name in held[:5]) + (f" and {len(held) - 5} more" if held[5:] else "")
    raise InputError(
        f"{where} should hold one csv, {' or '.join(f'{wish}.csv' for wish in preferred)}, but holds "
        f"{listed or 'nothing'!a}: give the right file itself"
    )


def _usable(name: str, suffixes: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
    return name.lower().endswith(suffixes) and not hidden


def _stem(name: str) -> str:
    return PurePosixPath(name).name.split(".")[0].lower()


def _watched(blocks: Iterator[bytes], file: BinaryIO, path: Path, progress: Progress) -> Iterator[bytes]:
    """The blocks; damage is told, and progress made."""
    total = os.fstat(file.fileno()).st_size
    while True:
        with _trouble_told(path):
            block, done = next(blocks, None), min(file.tell(), total)
        if block is None:
            return
        progress(done, total)
        yield block


def _rows(blocks: Iterator[bytes], path: Path) -> Iterator[list[bytes]]:
    rest, count = b"", 0
    first = next(blocks, b"").removeprefix(BYTE_ORDER_MARK)
    if kind := _binary(first):
        wanted = "list" if path.suffix == ".txt" else "csv"
        raise InputError(f"{path} is {kind}, no {wanted}: check the path")
    for block in itertools.chain([first], blocks, [b"\n"]):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[: LONGEST_LINE + 1]  # a line without end takes no more memory
        count += len(lines)
        if count > MOST_LINES:
            raise InputError(f"{path} has more than {MOST_LINES:,} lines: check that it is the right file")
        yield from (_fields(line) for line in lines if line and not line.isspace())


def _binary(head: bytes) -> str | None:
    """What a file is that begins so and is no text; None where it may be one."""
    known = (kind for magic, kind in BINARY.items() if head.startswith(magic))
    return next(known, "a binary file" if b"\0" in head[:1000].partition(b"\n")[0] else None)


def _fields(line: bytes) -> list[bytes]:
    if len(line) > LONGEST_LINE:
        return []
    if b'"' not in line:
        return line.split(b",")
    try:
        return [text.encode() for text in next(csv.reader([line.decode("utf-8", "replace")]))]
    except csv.Error:
        return []


@contextlib.contextmanager
def _trouble_told(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"cannot read {path}: you have no permission to") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's words for passwords and odd methods
        raise InputError(f"cannot read {path} ({error}): unpack it and give the csv") from error
    except DAMAGE as error:
        trouble = str(error) or type(error).__name__
        raise InputError(
            f"cannot read {path} ({trouble}): it is cut short or damaged, fetch it again"
        ) from error

"""Reads text files that come plain or compressed, ahead of whoever uses their lines."""

import contextlib
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from fes.errors import InputError
from shards.schema import Progress

BLOCK_BYTES = 2**21
GZIP, XZ, ZIP = b"\x1f\x8b", b"\xfd7zXZ\x00", b"PK\x03\x04"
# lzma.LZMAError and zlib.error are exceptions of their own; the rest of the damage is one of these.
DAMAGE = (
    EOFError,
    OSError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


def read_lines(path: Path, progress: Progress) -> Iterator[list[bytes]]:
    """The lines of a file in lists of many, without their ends; .gz, .xz and .zip are recognised by content.

    `progress` is called with the bytes of the file read so far and in all.
    Raises InputError where the file cannot be opened, is damaged or ends too early.
    """
    rest = b""
    for block in _blocks(path, progress):
        *lines, rest = (rest + block).split(b"\n")
        yield lines
    if rest:
        yield [rest]


def _blocks(path: Path, progress: Progress) -> Iterator[bytes]:
    with _damage_told(path), open(path, "rb") as file, ThreadPoolExecutor(1) as ahead:
        total = path.stat().st_size
        blocks = _decompressed(file, path)
        coming = ahead.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = ahead.submit(next, blocks, None)
            progress(min(file.tell(), total), total)
            yield block


def _decompressed(file: BinaryIO, path: Path) -> Iterator[bytes]:
    head = file.read(len(XZ))
    file.seek(0)
    if head.startswith(GZIP):
        return _inflated(file, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16))
    if head.startswith(XZ):
        return _inflated(file, lzma.LZMADecompressor)
    if head.startswith(ZIP):
        file = _only_csv(zipfile.ZipFile(file), path)
    return iter(lambda: file.read(BLOCK_BYTES), b"")


def _inflated(file: BinaryIO, decompressor: Callable) -> Iterator[bytes]:
    """Unlike gzip.open and lzma.open this keeps the interpreter free for a whole block at a time."""
    stream = decompressor()
    while block := file.read(BLOCK_BYTES // 4):
        while block:
            if stream.eof:
                stream = decompressor()
            yield stream.decompress(block)
            block = stream.unused_data.lstrip(b"\0")
    if not stream.eof:
        raise EOFError("the compressed data ends too early")


def _only_csv(archive: zipfile.ZipFile, path: Path) -> BinaryIO:
    tables = [name for name in archive.namelist() if name.lower().endswith(".csv") and "__MACOSX" not in name]
    if len(tables) != 1:
        found = ", ".join(tables) or "none"
        raise InputError(f"{path} should hold one csv and holds {found}: unpack the right one and give that")
    return archive.open(tables[0])


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the path given as --source") from error
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot read {path} ({error.strerror}): give a file that you may read") from error
    except DAMAGE as error:
        raise InputError(
            f"cannot read {path} ({error}): it is cut short or damaged, fetch it again"
        ) from error

"""Reads every picture of a source once, in parallel, and keeps what the rest of a build needs of it.

The pictures, as they will lie in the shards, go to files of a folder of the unfinished build, a block of
samples each, with a record of what each picture is. A build that was interrupted finds there the blocks
that are finished, and reads only the others.
"""

import contextlib
import hashlib
import io
import shutil
from pathlib import Path

import numpy as np

from fes.errors import InputError
from fes.files import write_file
from shards.build.fingerprint import FINGERPRINT, fingerprints
from shards.pictures import encode_picture, normalised
from shards.schema import SCHEMA, Picture, Progress, Source, Unreadable
from shards.workers import spread

BLOCK = 512
STAMP_NAME = "stamp"

RECORD = np.dtype(
    [
        ("offset", "<i8"),
        ("size", "<u4"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("channels", "<i4"),
        ("remade", "?"),
        ("content", "V16"),
        ("trouble", "S80"),
        ("fingerprint", FINGERPRINT),
    ]
)
"""A picture: where its bytes lie in its block's file, their hash, what it shows, and whether it is `remade`,
a PNG of a file that was no plain picture. Where there is `trouble`, a few words, there is nothing else."""


class Gathered:
    """All pictures of a source: `records` is an array of `RECORD`, a row per sample."""

    def __init__(self, folder: Path, records: np.ndarray) -> None:
        self.folder, self.records = folder, records

    @property
    def unreadable(self) -> dict[int, str]:
        """Why a sample has no picture, by its position."""
        places = np.flatnonzero(self.records["trouble"] != b"").tolist()
        return {place: self.records["trouble"][place].decode() for place in places}

    def picture(self, position: int) -> bytes:
        """The bytes of a picture's file: a JPEG's or a PNG's.

        Raises InputError where the file of its block is no longer what was written.
        """
        record = self.records[position]
        path = _pictures_path(self.folder, position // BLOCK)
        with open(path, "rb") as file:
            file.seek(record["offset"])
            data = file.read(record["size"])
        if _hash(data) != record["content"].tobytes():
            raise InputError(
                f"{path} was damaged while the build went on: remove {self.folder} and build again"
            )
        return data


def gather(source: Source, folder: Path, *, workers: int, progress: Progress) -> Gathered:
    """Reads the pictures of a source into `folder`, or what an earlier attempt has left undone of it.

    `progress` is called with the numbers of samples read and in all.
    """
    start_over_where_other(folder, stamp_of(source))
    samples = len(source.samples)
    records = np.zeros(samples, RECORD)
    blocks = range(-(-samples // BLOCK))
    for block, found in zip(blocks, spread(_gather_block, (source, folder), blocks, workers), strict=True):
        records[block * BLOCK : (block + 1) * BLOCK] = found
        progress(min((block + 1) * BLOCK, samples), samples)
    return Gathered(folder, records)


def stamp_of(source: Source) -> str:
    """What an unfinished build must have in common with one that goes on with it."""
    origins = "\n".join(str(sample.origin) for sample in source.samples)
    return hashlib.sha256(f"{SCHEMA}\n{source.name}\n{source.stamp}\n{origins}".encode()).hexdigest()


def start_over_where_other(folder: Path, stamp: str) -> None:
    """Empties the folder unless it belongs to the same source."""
    path = folder / STAMP_NAME
    if path.exists() and path.read_text() == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_file(path, stamp.encode())


def _pictures_path(folder: Path, block: int) -> Path:
    return folder / f"block-{block:06d}.pictures"


def _gather_block(job: tuple[Source, Path], block: int) -> np.ndarray:
    source, folder = job
    path = folder / f"block-{block:06d}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(path, allow_pickle=False)
    positions = range(block * BLOCK, min((block + 1) * BLOCK, len(source.samples)))
    records, contents = _examined(source.read(positions))
    saved = io.BytesIO()
    np.save(saved, records, allow_pickle=False)
    _write(_pictures_path(folder, block), contents)
    _write(path, saved.getvalue())
    return records


def _write(path: Path, contents: bytes) -> None:
    """Not forced to disk, which takes longer than to write it: hashes tell what a loss of power destroys."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(contents)
    partial.replace(path)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _examined(pictures: list[Picture]) -> tuple[np.ndarray, bytes]:
    """The records of pictures, and the bytes of all that can be used, one behind the other."""
    records, contents, readable, shown = np.zeros(len(pictures), RECORD), bytearray(), [], []
    for place, picture in enumerate(pictures):
        try:
            data, pixels = _kept(picture)
        except ValueError as error:
            records[place]["trouble"] = str(error).encode("ascii", "replace")
            continue
        height, width, channels = pixels.shape
        shape = width, height, channels
        remade = isinstance(picture, bytes) and data is not picture
        records[place] = (len(contents), len(data), *shape, remade, _hash(data), b"", _EMPTY)
        contents += data
        readable.append(place)
        shown.append(pixels)
    records["fingerprint"][readable] = fingerprints(shown)
    return records, bytes(contents)


_EMPTY = np.zeros((), FINGERPRINT)


def _kept(picture: Picture) -> tuple[bytes, np.ndarray]:
    if isinstance(picture, Unreadable):
        raise ValueError(picture.reason)
    if isinstance(picture, bytes):
        return normalised(picture)
    return encode_picture(picture), picture

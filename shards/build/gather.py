"""Reads every picture of a source once, in parallel, and keeps what the rest of a build needs of it.

The pictures, as they will lie in the shards, go to files of a folder of the unfinished build, a block of
samples each, with a record of what each picture is. A build that was interrupted finds there the blocks
that are finished and still whole, and reads only the others.
"""

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fes import __version__
from fes.errors import InputError
from fes.files import write_file
from shards.build.fingerprint import FINGERPRINT, fingerprints
from shards.pictures import encode_picture, normalised
from shards.schema import SCHEMA, Picture, Progress, Source, Unreadable
from shards.workers import spread

BLOCK = 512
AT_ONCE = 32
HASH_BYTES = 16
MOST_WAITING = 2**25  # bytes of pixels; a picture of a camera has as many
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
                f"{path} was damaged while the build went on: give the same command again, it reads it anew"
            )
        return data


def gather(source: Source, folder: Path, *, workers: int, progress: Progress) -> Gathered:
    """Reads the pictures of a source into `folder`, or what an earlier attempt has left undone of it.

    The folder is one that `start_over_where_other` was called for.

    `progress` is called with the numbers of samples read, and to be read now.
    """
    samples = len(source.samples)
    records, missing, blocks = np.zeros(samples, RECORD), [], range(-(-samples // BLOCK))
    at_once = workers if is_begun(folder) else 1
    for block, found in enumerate(spread(_gathered_before, (folder, samples), blocks, at_once)):
        if found is None:
            missing.append(block)
        else:
            records[_rows(block, samples)] = found
    done, left = 0, sum(len(_rows(block, samples)) for block in missing)
    for block, found in zip(missing, spread(_gather_block, (source, folder), missing, workers), strict=True):
        records[_rows(block, samples)] = found
        done += len(found)
        progress(done, left)
    return Gathered(folder, records)


def is_begun(folder: Path) -> bool:
    """Whether an earlier attempt has left something in the folder."""
    return any(folder.glob("block-*.npy"))


def _rows(block: int, samples: int) -> range:
    """The positions of the samples of a block, of so many in all."""
    return range(block * BLOCK, min((block + 1) * BLOCK, samples))


def stamp_of(source: Source) -> str:
    """What an unfinished build must have in common with one that goes on with it."""
    origins = "\n".join(str(sample.origin) for sample in source.samples)
    told = f"{__version__}\n{SCHEMA}\n{RECORD.descr}\n{source.name}\n{source.stamp}\n{origins}"
    # Names of files may hold bytes that are no text.
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


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


def _records_path(folder: Path, block: int) -> Path:
    return folder / f"block-{block:06d}.npy"


def _gather_block(job: tuple[Source, Path], block: int) -> np.ndarray:
    source, folder = job
    records, contents = _examined(source, _rows(block, len(source.samples)))
    saved = io.BytesIO()
    np.save(saved, records, allow_pickle=False)
    _write(_pictures_path(folder, block), contents)
    _write(_records_path(folder, block), saved.getvalue() + _hash(saved.getvalue()))
    return records


def _gathered_before(job: tuple[Path, int], block: int) -> np.ndarray | None:
    """The records of a block, of so many samples in all, that is finished; None where it is not, or no longer
    whole to the byte: a loss of power may leave a file its size and take its contents."""
    folder, samples = job
    try:
        saved = _records_path(folder, block).read_bytes()
        if _hash(saved[:-HASH_BYTES]) != saved[-HASH_BYTES:]:
            return None
        records = np.load(io.BytesIO(saved), allow_pickle=False)
        whole = records.dtype == RECORD and len(records) == len(_rows(block, samples))
        return records if whole and _are_whole(_pictures_path(folder, block), records) else None
    except (OSError, ValueError):
        return None


def _are_whole(path: Path, records: np.ndarray) -> bool:
    """Whether a block's file still holds the pictures that its records tell of, one behind the other."""
    with open(path, "rb") as file:
        return all(
            _hash(file.read(record["size"])) == record["content"].tobytes()
            for record in records[records["trouble"] == b""]
        )


def _write(path: Path, contents: bytes) -> None:
    """Not forced to disk, which takes longer than to write it: hashes tell what a loss of power destroys."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(contents)
    partial.replace(path)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()


def _examined(source: Source, positions: Sequence[int]) -> tuple[np.ndarray, bytes]:
    """The records of pictures, and the bytes of all that can be used, one behind the other."""
    block = _Block(len(positions))
    for first in range(0, len(positions), AT_ONCE):
        for place, picture in enumerate(source.read(positions[first : first + AT_ONCE]), first):
            block.add(place, picture)
    block.take_fingerprints()
    return block.records, bytes(block.contents)


class _Block:
    """What is known so far of some pictures; their pixels are kept only until there are many of them."""

    def __init__(self, samples: int) -> None:
        self.records, self.contents = np.zeros(samples, RECORD), bytearray()
        self._shown: dict[int, np.ndarray] = {}
        self._waiting = 0

    def add(self, place: int, picture: Picture) -> None:
        try:
            data, pixels = _kept(picture)
        except ValueError as error:
            self.records[place]["trouble"] = str(error).encode("ascii", "replace")
            return
        height, width, channels = pixels.shape
        remade = isinstance(picture, bytes) and data is not picture
        shape = width, height, channels, remade
        self.records[place] = (len(self.contents), len(data), *shape, _hash(data), b"", _EMPTY)
        self.contents += data
        self._shown[place] = pixels
        self._waiting += pixels.nbytes
        if self._waiting > MOST_WAITING:
            self.take_fingerprints()

    def take_fingerprints(self) -> None:
        """Puts those of the waiting pictures in their records, and lets go of the pixels."""
        self.records["fingerprint"][list(self._shown)] = fingerprints(list(self._shown.values()))
        self._shown.clear()
        self._waiting = 0


_EMPTY = np.zeros((), FINGERPRINT)


def _kept(picture: Picture) -> tuple[bytes, np.ndarray]:
    if isinstance(picture, Unreadable):
        raise ValueError(picture.reason)
    if isinstance(picture, bytes):
        return normalised(picture)
    return encode_picture(picture), picture

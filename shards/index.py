"""Reads finished shards: any sample of a split by its position, without unpacking anything."""

import json
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from fes.errors import DamagedSample, InputError
from shards.catalogue import Catalogue, parse_index
from shards.pictures import decode_picture
from shards.schema import INDEX_NAME, PLACE, PLACES_NAME, SPLITS
from shards.shelf import Folder, Shelf

OPEN_SHARDS = 128  # far below the 1024 files that a process may usually have open


class ShardIndex:
    """A finished data set.

    `place` tells where it lies, `source` is the name of the reader that built it, `resolution` the side
    of the square that nine of ten pictures have or exceed, `channels` 1 where all are grey, else 3, and
    `fingerprint` 64 hex digits that identify the data.
    """

    def __init__(self, place: str, shelf: Shelf) -> None:
        """Raises InputError where there is no index, or none that this version reads."""
        self.place, self.shelf = place, shelf
        self.catalogue = parse_index(shelf.document(INDEX_NAME), place)
        self.source, self.fingerprint = self.catalogue.source, self.catalogue.fingerprint
        self.resolution, self.channels = self.catalogue.resolution, self.catalogue.channels

    @classmethod
    def load(cls, folder: Path) -> "ShardIndex":
        """The data set in a folder.

        Raises InputError where there is no such folder, no index or none that this version reads, or
        where a shard is missing or has another size than the index says.
        """
        folder = Path(folder)
        index = cls(str(folder), Folder(folder))
        sizes = [(PLACES_NAME, index.catalogue.places_bytes)]
        for name, size in (*sizes, *((shard.name, shard.bytes) for shard in index.catalogue.shards)):
            _check_size(folder / name, size)
        return index

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that have samples, in the order of `SPLITS`."""
        return tuple(split for split in SPLITS if split in {each.split for each in self.catalogue.shards})

    def counts(self, split: str) -> dict[str, int]:
        """The samples of a split by class name, and by "unlabelled". Raises InputError like `split`."""
        self._check_split(split)
        return dict(self.catalogue.splits[split]["classes"])

    def split(self, name: str) -> "Split":
        """The samples of a split. Raises InputError, naming the splits that exist, where it is none."""
        self._check_split(name)
        return Split(self, name)

    def _check_split(self, name: str) -> None:
        if name not in self.splits:
            raise InputError(f"{self.place} has no split {name!r}: it has {', '.join(self.splits)}")


class Split:
    """The samples of one split in the order they lie on disk; pickles without its open files.

    `samples` is their number, `shards` the shards that hold them, and `shard_starts` int64 [shards + 1]
    the position of each shard's first sample, and last the number of samples. `resolution` and
    `channels` are those of the pictures it gives, at first the data set's own.
    """

    def __init__(self, index: ShardIndex, name: str) -> None:
        self.name, self.place, self.shelf, self.catalogue = name, index.place, index.shelf, index.catalogue
        self.resolution, self.channels = index.resolution, index.channels
        self.shards = tuple(shard for shard in index.catalogue.shards if shard.split == name)
        self.shard_starts = np.cumsum([0, *(shard.samples for shard in self.shards)], dtype=np.int64)
        self.samples = int(self.shard_starts[-1])
        before = SPLITS[: SPLITS.index(name)]
        self._first = sum(shard.samples for shard in index.catalogue.shards if shard.split in before)
        self._files: dict[int, _OpenFile] = {}
        self._renewed: set[int] = set()
        self._places: np.ndarray | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_files": {}, "_renewed": set(), "_places": None}

    def sized(self, resolution: int, channels: int) -> "Split":
        """The same samples with their pictures in another size, or as grey (1) or RGB (3)."""
        other = object.__new__(Split)
        other.__dict__.update(self.__getstate__(), resolution=resolution, channels=channels)
        return other

    @property
    def places(self) -> np.ndarray:
        """An array of `PLACE` [samples], which lies in the file until it is looked at.

        Raises InputError where index.npy is not what index.json says.
        """
        if self._places is None:
            every = _open_places(self.shelf, self.catalogue, self.place)
            self._places = every[self._first : self._first + self.samples]
        return self._places

    @property
    def labels(self) -> np.ndarray:
        """int64 [samples], -1 where unlabelled."""
        return self.places["label"]

    @property
    def identities(self) -> np.ndarray:
        """int64 [samples]: equal for pictures of one person, -1 where unknown."""
        return self.places["identity"]

    def image(self, position: int) -> np.ndarray:
        """The picture of a sample as uint8 [channels, height, width], writable.

        Raises DamagedSample, naming the shard and the member, where it is not as it was written, and
        InputError where its shard cannot be had or read.
        """
        data = self.read(position, "image")
        try:
            return decode_picture(data, self.resolution, self.channels, self.catalogue.crop)
        except ValueError as error:
            raise self._damaged(position, "image", str(error)) from error

    def details(self, position: int) -> dict[str, object]:
        """What the source knows of a sample. Raises like `image`."""
        data = self.read(position, "details")
        try:
            return json.loads(data) if data else {}
        except (ValueError, RecursionError) as error:
            raise self._damaged(position, "details", "is no JSON") from error

    def where(self, position: int) -> int:
        """The number of the shard that holds a sample. Raises IndexError outside 0..samples-1."""
        if not 0 <= position < self.samples:
            raise IndexError(f"split {self.name!r} has {self.samples} samples, no position {position}")
        return int(np.searchsorted(self.shard_starts, position, side="right")) - 1

    def read(self, position: int, kind: str) -> bytes:
        """The bytes of a sample's member: its "image" or its "details".

        Raises DamagedSample where they are not those that were written, InputError where the shard cannot
        be had or read.
        """
        shard = self.where(position)
        data = self._bytes(shard, position, kind)
        if data is None and self._forgotten(shard):
            data = self._bytes(shard, position, kind)
        if data is None:
            raise self._damaged(position, kind, "is not the bytes that were written")
        return data

    def _bytes(self, shard: int, position: int, kind: str) -> bytes | None:
        """The bytes of a member; None where they are not those that were written."""
        place = self.places[position]
        size, offset = int(place[f"{kind}_size"]), int(place[f"{kind}_offset"])
        if not 0 <= offset <= self.shards[shard].bytes - size:
            return None
        file = self._file(shard)
        try:
            data = os.pread(file.descriptor, size, offset)
        except OSError as error:
            raise InputError(f"cannot read {self._path(shard)} ({error})") from error
        return data if zlib.crc32(data) == place[f"{kind}_crc32"] else None

    def _file(self, number: int) -> "_OpenFile":
        """A shard's file, to be held while it is read: in another thread it may be closed for others."""
        file = self._files.pop(number, None)
        if file is None:
            file = _OpenFile(self.shelf.open(*self.shards[number].file))
        self._files[number] = file  # at the end: the first is the one that was used longest ago
        for oldest in list(self._files)[:-OPEN_SHARDS]:
            self._files.pop(oldest, None)
        return file

    def _forgotten(self, shard: int) -> bool:
        """Gives up the copy of a shard that was fetched; False where there is no other, or it was tried."""
        if shard in self._renewed:
            return False
        self._renewed.add(shard)
        gone = self.shelf.forget(self.shards[shard].file, self._file(shard).descriptor)
        if gone:
            self._files.pop(shard, None)
        return gone

    def _path(self, shard: int) -> str:
        return f"{self.place}/{self.shards[shard].name}"

    def _damaged(self, position: int, kind: str, trouble: str) -> DamagedSample:
        shard, offset = self.where(position), int(self.places[position][f"{kind}_offset"])
        file = self._file(shard)
        name = member_name(file.descriptor, offset)
        return DamagedSample(
            f"{self._path(shard)}: member {name} at byte {offset} {trouble}: {self.shelf.remedy}"
        )


def member_name(descriptor: int, offset: int) -> str:
    """The name of the member whose contents begin at a byte of a tar file, from its header before that."""
    try:
        header = os.pread(descriptor, tarfile.BLOCKSIZE, offset - tarfile.BLOCKSIZE)
        return tarfile.TarInfo.frombuf(header, "utf-8", "backslashreplace").name
    except (OSError, OverflowError, tarfile.HeaderError):
        return "with a damaged header"


def spread(samples: int, most: int) -> np.ndarray:
    """At most so many positions of `samples`, evenly spread, the first and the last among them: int64 [n]."""
    return np.linspace(0, samples - 1, min(most, samples)).round().astype(np.int64)


class _OpenFile:
    """A descriptor that closes when nobody holds it, so that no thread loses one that it is reading."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def _open_places(shelf: Shelf, catalogue: Catalogue, place: str) -> np.ndarray:
    descriptor = shelf.open(PLACES_NAME, catalogue.places_bytes, catalogue.places_sha256)
    try:
        with os.fdopen(descriptor, "rb") as file:
            version = np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if version != (1, 0) or dtype != PLACE or shape != (catalogue.samples,):
                raise ValueError(f"it holds {dtype} {shape}")
            return np.asarray(np.memmap(file, PLACE, "r", file.tell(), shape))
    except Exception as error:  # numpy's parser of headers meets damage with a dozen kinds of exception
        raise InputError(
            f"{place}/{PLACES_NAME} is not what {INDEX_NAME} says ({error}): copy the data set again, or run "
            f"`fes-shards verify --repair {place}`"
        ) from error


def _check_size(path: Path, expected: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); copy the data set again or rebuild it"
        ) from error
    if size != expected:
        raise InputError(
            f"{path} has {size} bytes and its index says {expected}: it was cut short or replaced; "
            "copy the data set again or rebuild it"
        )

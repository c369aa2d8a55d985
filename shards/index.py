"""Reads finished shards: any sample of a split by its position, without unpacking anything."""

import hashlib
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards.documents import read_document
from shards.pictures import decode_picture
from shards.schema import DETAILS, IMAGE, INDEX_NAME, SCHEMA, SPLITS, sample_key

OPEN_SHARDS = 128  # far below the 1024 files that a process may usually have open


class ShardIndex:
    """A finished data set.

    `folder` is where it lies, `source` the name of the reader that built it, `resolution` the height
    and width of its pictures, `channels` 1 or 3, `classes` the names in the order of the labels, and
    `fingerprint` 64 hex digits that identify the data: equal only for shards of equal bytes.
    """

    def __init__(self, folder: Path, document: dict[str, object]) -> None:
        self.folder = folder
        self.source: str = document["source"]
        self.resolution: int = document["resolution"]
        self.channels: int = document["channels"]
        self.classes: tuple[str, ...] = tuple(document["classes"])
        self.fingerprint = _fingerprint(document["shards"])
        self._counts: dict[str, dict[str, object]] = document["splits"]
        self._splits = {
            split: Split(self, split, [shard for shard in document["shards"] if shard["split"] == split])
            for split in SPLITS
            if split in self._counts
        }

    @classmethod
    def load(cls, folder: Path) -> "ShardIndex":
        """The data set in a folder.

        Raises InputError where there is no such folder, no index or none that this version reads, or
        where a shard is missing or has another size than the index says.
        """
        folder = Path(folder)
        index = cls.unchecked(folder)
        for split in index._splits.values():
            for name, size in zip(split.shard_names, split.shard_bytes, strict=True):
                _check_size(folder / name, int(size))
        return index

    @classmethod
    def unchecked(cls, folder: Path) -> "ShardIndex":
        """Like `load`, without looking at the shards themselves."""
        document = read_index(Path(folder))
        try:
            return cls(Path(folder), document)
        except (KeyError, TypeError, ValueError) as error:
            trouble = f"is damaged ({type(error).__name__}: {error})"
            raise InputError(f"{Path(folder) / INDEX_NAME} {trouble}; {_build_hint(folder)}") from error

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that have samples, in the order of `SPLITS`."""
        return tuple(self._splits)

    def counts(self, split: str) -> dict[str, int]:
        """The samples of a split by class name, and by "unlabelled". Raises InputError like `split`."""
        self.split(split)
        return dict(self._counts[split]["classes"])

    def split(self, name: str) -> "Split":
        """The samples of a split. Raises InputError, naming the splits that exist, where it is none."""
        if name not in self._splits:
            raise InputError(f"{self.folder} has no split {name!r}: it has {', '.join(self._splits)}")
        return self._splits[name]


class Split:
    """The samples of one split in the order they lie on disk; pickles without its open files.

    `samples` is their number, `labels` int64 [samples] with -1 where unlabelled, and `shard_starts`
    int64 [shards + 1] the position of each shard's first sample, and last the number of samples.
    """

    def __init__(self, index: ShardIndex, name: str, shards: list[dict[str, object]]) -> None:
        self.name = name
        self.folder = index.folder
        self.resolution, self.channels = index.resolution, index.channels
        self.shard_names = tuple(shard["name"] for shard in shards)
        self.shard_sha256 = tuple(shard["sha256"] for shard in shards)
        self.shard_bytes = np.array([shard["bytes"] for shard in shards], dtype=np.int64)
        self.shard_starts = np.cumsum([0, *(shard["samples"] for shard in shards)], dtype=np.int64)
        self.labels = np.concatenate([np.array(shard["label"], dtype=np.int64) for shard in shards])
        self.image_places = Places.joined([shard["image"] for shard in shards])
        self.details_places = Places.joined([shard["details"] for shard in shards])
        self.samples = len(self.labels)
        if not self.samples == self.shard_starts[-1] == len(self.image_places) == len(self.details_places):
            raise ValueError(f"the lists of split {name!r} differ in length")
        self._files: dict[int, _OpenFile] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_files": {}}

    def image(self, position: int) -> np.ndarray:
        """The picture of a sample as uint8 [channels, height, width], writable.

        Raises InputError, naming the shard and the member, where it is not as it was written.
        """
        data = self._read(position, self.image_places, IMAGE)
        try:
            return decode_picture(data, self.resolution, self.channels)
        except ValueError as error:
            raise self._damaged(position, IMAGE, self.image_places, str(error)) from error

    def details(self, position: int) -> dict[str, object]:
        """What the source knows of a sample. Raises InputError like `image`."""
        return json.loads(self._read(position, self.details_places, DETAILS))

    def where(self, position: int) -> tuple[int, str]:
        """The number of the shard that holds a sample, and the sample's key.

        Raises IndexError outside 0..samples-1.
        """
        if not 0 <= position < self.samples:
            raise IndexError(f"split {self.name!r} has {self.samples} samples, no position {position}")
        shard = int(np.searchsorted(self.shard_starts, position, side="right")) - 1
        return shard, sample_key(self.name, position)

    def _read(self, position: int, places: "Places", member: str) -> bytes:
        shard, _ = self.where(position)
        size, offset = int(places.size[position]), int(places.offset[position])
        try:
            file = self._file(shard)
            data = os.pread(file.descriptor, size, offset)
        except OSError as error:
            raise InputError(
                f"cannot read {self.folder / self.shard_names[shard]} ({error.strerror})"
            ) from error
        if zlib.crc32(data) != places.crc32[position]:
            raise self._damaged(position, member, places, "is not the bytes that were written")
        return data

    def _file(self, shard: int) -> "_OpenFile":
        file = self._files.get(shard)
        if file is None:
            if len(self._files) >= OPEN_SHARDS:
                self._files.pop(next(iter(self._files)), None)
            file = self._files[shard] = _OpenFile(self.folder / self.shard_names[shard])
        return file

    def _damaged(self, position: int, member: str, places: "Places", trouble: str) -> InputError:
        shard, key = self.where(position)
        return InputError(
            f"{self.folder / self.shard_names[shard]}: member {key}.{member} at byte "
            f"{places.offset[position]} {trouble}: build the shards again, or copy them again from where "
            f"they came (`fes-shards verify {self.folder}` lists all damage)"
        )


@dataclass(frozen=True)
class Places:
    """Where the members of one kind lie in their shards: int64 [samples], in bytes, and their checksums."""

    offset: np.ndarray
    size: np.ndarray
    crc32: np.ndarray

    @classmethod
    def joined(cls, shards: list[dict[str, list[int]]]) -> "Places":
        """The places of consecutive shards, as the index lists them. Raises ValueError where lists differ."""
        offset, size, crc32 = (
            np.concatenate([np.array(shard[column], dtype=np.int64) for shard in shards])
            for column in ("offset", "size", "crc32")
        )
        if not len(offset) == len(size) == len(crc32):
            raise ValueError("offset, size and crc32 differ in length")
        return cls(offset, size, crc32)

    def __len__(self) -> int:
        return len(self.offset)


class _OpenFile:
    """A descriptor that closes when nobody holds it, so that no thread loses one that it is reading."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def read_index(folder: Path) -> dict[str, object]:
    """The content of a folder's index.json. Raises InputError where there is none that this version reads."""
    path = folder / INDEX_NAME
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of shards; {_build_hint(folder)}")
    if not path.exists():
        raise InputError(f"{folder} holds no {INDEX_NAME}, so no finished data set; {_build_hint(folder)}")
    document = read_document(path, _build_hint(folder))
    if document.get("schema") != SCHEMA:
        raise InputError(
            f"{path} is of schema {document.get('schema')!r}, not {SCHEMA!r}; {_build_hint(folder)}"
        )
    if document.get("classes") != list(EXPRESSIONS):
        raise InputError(f"{path} has classes other than {', '.join(EXPRESSIONS)}; {_build_hint(folder)}")
    return document


def _build_hint(folder: Path) -> str:
    return f"`fes-shards build drawn --out {folder}` makes one, `fes-shards build --help` names other sources"


def _fingerprint(shards: list[dict[str, object]]) -> str:
    lines = "".join(f"{shard['name']} {shard['sha256']}\n" for shard in shards)
    return hashlib.sha256(lines.encode()).hexdigest()


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

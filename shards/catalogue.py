"""The index of a data set as documents: index.json and index.npy, written, read and held to the format."""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.files import write_file
from shards.documents import to_text
from shards.schema import (
    INDEX_NAME,
    NOBODY,
    PLACES_NAME,
    SCHEMA,
    SPLITS,
    UNLABELLED_NAME,
    Crop,
)

MOST = 2**48
"""No number in an index is as large; the sums of such still fit into 63 bits."""

Counts = dict[str, dict[str, object]]
"""{split: {"samples": n, "identities": n, "classes": {name: n, ..., "unlabelled": n}}}, no empty splits."""


@dataclass(frozen=True)
class Shard:
    """A shard's entry in index.json: `samples` in it, and the size and hash of its file."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str

    @property
    def file(self) -> tuple[str, int, str]:
        """Its name, size and hash: what it takes to fetch it."""
        return self.name, self.bytes, self.sha256


@dataclass(frozen=True)
class Catalogue:
    """The content of index.json."""

    source: str
    resolution: int
    channels: int
    crop: Crop | None
    splits: Counts
    shards: tuple[Shard, ...]
    places_bytes: int
    places_sha256: str

    @property
    def samples(self) -> int:
        """In all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """64 hex digits that identify the data: equal only for shards, labels and crops that are equal."""
        lines = "".join(f"{shard.name} {shard.sha256}\n" for shard in self.shards)
        return hashlib.sha256(f"{lines}{self.places_sha256}\n{self.crop}\n".encode()).hexdigest()


def write_index(
    folder: Path,
    *,
    source: str,
    resolution: int,
    channels: int,
    crop: Crop | None,
    shards: Sequence[Shard],
    places: np.ndarray,
) -> dict[str, object]:
    """Writes index.npy and then index.json, whose content it returns.

    `shards` are in the order of their splits; `places` is an array of `PLACE`, a row per sample in the
    order of the shards. Raises InputError where the folder cannot be written.
    """
    contents = places_file(places)
    document = {
        "schema": SCHEMA,
        "source": source,
        "resolution": resolution,
        "channels": channels,
        "crop": asdict(crop) if crop else None,
        "classes": list(EXPRESSIONS),
        "splits": counts_of(shards, places),
        "places": {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()},
        "shards": [asdict(shard) for shard in shards],
    }
    write_file(folder / PLACES_NAME, contents)
    write_file(folder / INDEX_NAME, to_text(document).encode())
    return document


def places_file(places: np.ndarray) -> bytes:
    """The bytes of index.npy."""
    file = io.BytesIO()
    np.save(file, places, allow_pickle=False)
    return file.getvalue()


def counts_of(shards: Sequence[Shard], places: np.ndarray) -> Counts:
    """What is in every split; `places` is an array of `PLACE`, a row per sample, in the shards' order."""
    split_of = split_of_each(shards)
    names = {**dict(enumerate(EXPRESSIONS)), UNLABELLED: UNLABELLED_NAME}
    counts = {}
    for number, split in enumerate(SPLITS):
        rows = places[split_of == number]
        if len(rows):
            known = rows["identity"][rows["identity"] != NOBODY]
            classes = {name: int((rows["label"] == label).sum()) for label, name in names.items()}
            counts[split] = {
                "samples": len(rows),
                "identities": len(np.unique(known)),
                "classes": classes,
            }
    return counts


def split_of_each(shards: Sequence[Shard]) -> np.ndarray:
    """The split of every sample, as its place in `SPLITS`: int64 [samples]."""
    return np.repeat([SPLITS.index(shard.split) for shard in shards], [shard.samples for shard in shards])


def parse_index(content: bytes, where: str) -> Catalogue:
    """The content of an index.json; `where` it is from begins the sentence that tells what is wrong with it.

    Raises InputError where it is none that this version reads.
    """
    hint = f"`fes-shards build --help` names the sources to build {where} from again"
    try:
        document = json.loads(content)
        schema, classes = document.get("schema"), document.get("classes")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{where} holds a damaged {INDEX_NAME} ({error}); {hint}") from error
    if schema != SCHEMA:
        raise InputError(f"{where} holds shards of schema {schema!r}, not {SCHEMA!r}; {hint}")
    if classes != list(EXPRESSIONS):
        raise InputError(f"{where} has classes other than {', '.join(EXPRESSIONS)}; {hint}")
    try:
        return _catalogue(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        trouble = f"{type(error).__name__}: {error}"
        raise InputError(f"{where} holds a damaged {INDEX_NAME} ({trouble}); {hint}") from error


def _catalogue(document: dict[str, object]) -> Catalogue:
    shards = _shards(document["shards"])
    crop = None if document["crop"] is None else Crop(**document["crop"])
    for name, value in vars(crop).items() if crop else ():
        _whole(value, f"crop {name}", least=0 if name in ("left", "top") else 1)
    counts = document["splits"]
    for split in {shard.split for shard in shards}:
        for name in (*EXPRESSIONS, UNLABELLED_NAME):
            _whole(counts[split]["classes"][name], f"count of {name}")
    if document["channels"] not in (1, 3):
        raise ValueError(f"channels is {document['channels']!r}")
    return Catalogue(
        source=_text(document["source"], "source"),
        resolution=_whole(document["resolution"], "resolution", least=1),
        channels=document["channels"],
        crop=crop,
        splits=counts,
        shards=shards,
        places_bytes=_whole(document["places"]["bytes"], "bytes of places"),
        places_sha256=_digest(document["places"]["sha256"], "sha256 of places"),
    )


def _shards(listed: list[dict[str, object]]) -> tuple[Shard, ...]:
    shards = tuple(Shard(**shard) for shard in listed)
    order = [SPLITS.index(shard.split) for shard in shards]
    if order != sorted(order) or not shards:
        raise ValueError("the shards do not stand in the order of their splits")
    for shard in shards:
        _text(shard.name, "name of a shard")
        _whole(shard.samples, f"samples of {shard.name}", least=1)
        _whole(shard.bytes, f"bytes of {shard.name}")
        _digest(shard.sha256, f"sha256 of {shard.name}")
    if len({shard.name for shard in shards}) < len(shards):
        raise ValueError("two shards have the same name")
    return shards


def _whole(value: object, name: str, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < MOST:
        raise ValueError(f"{name} is {value!r}")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{name} is {value!r}")
    return value


def _digest(value: object, name: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{name} is {value!r}")
    return value

"""What disks, copies and people do to a folder of shards."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shards.catalogue import places_file
from shards.schema import INDEX_NAME, PLACES_NAME


def flip(path: Path, *offsets: int) -> None:
    """Changes a bit of the bytes at these offsets."""
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 1
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    """Leaves so many bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])


def edit_index(folder: Path, change: Callable[[dict], None]) -> None:
    """Changes the content of index.json, and nothing that should change with it."""
    document = json.loads((folder / INDEX_NAME).read_bytes())
    change(document)
    (folder / INDEX_NAME).write_text(json.dumps(document))


def edit_places(folder: Path, change: Callable[[np.ndarray], None]) -> None:
    """Changes rows of index.npy, and what index.json tells of that file."""
    rows = np.load(folder / PLACES_NAME)
    change(rows)
    put_places(folder, places_file(rows))


def put_places(folder: Path, contents: bytes) -> None:
    """Writes an index.npy, and what index.json tells of that file."""
    (folder / PLACES_NAME).write_bytes(contents)
    told = {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}
    edit_index(folder, lambda document: document.update(places=told))


def places_of(folder: Path) -> np.ndarray:
    """The rows of index.npy."""
    return np.load(folder / PLACES_NAME)

"""Writes one shard: a tar, and the record of where each of its members lies."""

import hashlib
import io
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.documents import one_line
from shards.schema import DETAILS, IMAGE, LABEL, MODE, MODIFIED, OWNER, Sample, Source, sample_key

Places = dict[str, list[int]]
"""By "offset", "size" and "crc32": a number for each sample."""


@dataclass(frozen=True)
class Plan:
    """One shard to write: the source's samples at int64 `positions`, as the split's from `first` on."""

    name: str
    split: str
    first: int
    positions: np.ndarray


def write_shard(source: Source, out: Path, plan: Plan) -> dict[str, object]:
    """Writes the planned shard into the folder `out` and returns its entry in the index.

    Raises OSError where the disk does not take it; the folder then holds nothing of that shard.
    """
    contents, labels, image, details = pack(source, plan)
    write_atomically(out / plan.name, contents)
    return {
        "name": plan.name,
        "split": plan.split,
        "samples": len(labels),
        "bytes": len(contents),
        "sha256": hashlib.sha256(contents).hexdigest(),
        "label": labels,
        "image": image,
        "details": details,
    }


def pack(source: Source, plan: Plan) -> tuple[bytes, list[int], Places, Places]:
    """The shard's bytes, its labels, and where its pictures and details lie in those bytes."""
    # Imported here because it imports torch, for which looking at shards need not wait.
    from webdataset import TarWriter

    labels: list[int] = []
    places: dict[str, Places] = {
        kind: {"offset": [], "size": [], "crc32": []} for kind in (LABEL, DETAILS, IMAGE)
    }
    archive = io.BytesIO()
    pictures = source.encode(plan.positions.tolist())
    with TarWriter(archive, OWNER, OWNER, MODE, encoder=False, mtime=MODIFIED) as writer:
        for at, (position, picture) in enumerate(zip(plan.positions, pictures, strict=True), plan.first):
            sample = source.samples[position]
            labels.append(sample.label)
            members = dict(zip(places, _contents(sample, picture), strict=True))
            _note(places, members, writer.tarstream.offset)
            writer.write({"__key__": sample_key(plan.split, at), **members})
    return archive.getvalue(), labels, places[IMAGE], places[DETAILS]


def _contents(sample: Sample, picture: bytes) -> tuple[bytes, bytes, bytes]:
    return str(sample.label).encode(), one_line(sample.details).encode(), picture


def _note(places: dict[str, Places], members: dict[str, bytes], offset: int) -> None:
    """Adds where the members of a sample that begins at `offset` will lie: in the order of their names."""
    for kind, data in sorted(members.items()):
        places[kind]["offset"].append(offset + tarfile.BLOCKSIZE)
        places[kind]["size"].append(len(data))
        places[kind]["crc32"].append(zlib.crc32(data))
        offset += tarfile.BLOCKSIZE + len(data) + -len(data) % tarfile.BLOCKSIZE


def write_atomically(path: Path, contents: bytes) -> None:
    """Puts the file there whole or not at all; what stood there before stays until then."""
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        with open(unfinished, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())  # some disks tell only here that they are full
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise

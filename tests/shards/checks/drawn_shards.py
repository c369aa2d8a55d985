"""Drawn shards that a test may damage: their names, and what a folder holds before and after."""

from pathlib import Path

from shards.checks.staging import QUARANTINE_NAME
from shards.checks.verify import verify
from shards.index import ShardIndex
from tests.shards.damage import flip, places_of

FIRST = "drawn-train-000000.tar"
SHARD = "drawn-train-000002.tar"  # positions 12 to 16 of train
LAST = "drawn-train-000007.tar"
SAMPLES = 63

Contents = dict[bytes, tuple[str, int, int, bytes]]


def contents_of(folder: Path) -> Contents:
    """Split, label, identity and details of every picture."""
    index, contents = ShardIndex.load(folder), {}
    for name in index.splits:
        split = index.split(name)
        for at in range(split.samples):
            told = (name, int(split.labels[at]), int(split.identities[at]), split.read(at, "details"))
            contents[split.read(at, "image")] = told
    return contents


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def files_of(folder: Path, **options: object) -> set[str]:
    return {fault.file for fault in verify(folder, **options)}


def quarantined(folder: Path) -> set[str]:
    return {path.name for path in (folder / QUARANTINE_NAME).iterdir()}


def spoil_picture(folder: Path, position: int, shard: str = SHARD) -> None:
    flip(folder / shard, int(places_of(folder)[position]["image_offset"]) + 60)

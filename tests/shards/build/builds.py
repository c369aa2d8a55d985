"""Builds of made-up pictures, and the files that they leave."""

from pathlib import Path

from shards.build.writer import (
    BuildOptions,
    build,
)
from tests.shards.made_up import MadeUpSource

SPLITS_OF_25 = ["train"] * 15 + ["valid"] * 7 + ["test"] * 3


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def made(source: MadeUpSource, out: Path, **options: object) -> dict[str, object]:
    return build(source, out, BuildOptions(**{"workers": 1, **options}))

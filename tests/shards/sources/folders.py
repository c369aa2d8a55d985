"""Folders of files that hold their own names, one of photographs, and what is read of them."""

from collections.abc import Iterable
from pathlib import Path

from shards.sources.folder import FolderSource

REAL_FOLDER = Path(__file__).parents[4] / "shared/data/webmorph"


def fill(root: Path, names: Iterable[str]) -> Path:
    """Files that hold their own names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def told(source: FolderSource) -> dict[object, tuple[str, int]]:
    return {sample.origin: (sample.split, sample.label) for sample in source.samples}


def found(source: FolderSource) -> dict[str, list]:
    return {finding.reason: finding.origins for finding in source.findings}

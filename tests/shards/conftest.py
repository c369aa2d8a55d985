"""What several tests of the shards begin with: a csv, and finished shards."""

import csv
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from shards.build.writer import BuildOptions, build
from shards.sources.drawn import DrawnOptions, draw

PEOPLE = DrawnOptions(train_identities=6, valid_identities=2, test_identities=1)


@pytest.fixture
def csv_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes a csv of rows and returns its path."""

    def write(rows: Iterable[list[str]], header: Iterable[str] = ("emotion", "pixels", "Usage")) -> Path:
        path = tmp_path / "fer2013.csv"
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished shards of a few drawn people; not to be changed."""
    folder = tmp_path_factory.mktemp("drawn") / "shards"
    build(draw(PEOPLE), folder, BuildOptions(samples_per_shard=8, workers=1))
    return folder


@pytest.fixture
def folder(drawn_folder: Path, tmp_path: Path) -> Path:
    """A copy of the drawn shards that a test may damage."""
    return shutil.copytree(drawn_folder, tmp_path / "copy")

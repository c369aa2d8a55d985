"""Full and read-only disks, and folders that cannot be: told in a sentence, most before anything is read."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.writer import (
    prepare,
)
from shards.schema import INDEX_NAME
from tests.shards.build.builds import contents, made
from tests.shards.made_up import MadeUpSource


def mounted(folder: Path, options: str) -> Iterator[Path]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr if done else 'not root'}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path, "size=64k")


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path, "size=64k,ro")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_in_a_sentence_and_leaves_no_index(small_disk: Path, workers: int) -> None:
    with pytest.raises(InputError, match=r"cannot write .*No space left on device\): free some space"):
        made(MadeUpSource(["train"] * 60), small_disk / "out", samples_per_shard=8, workers=workers)
    assert not (small_disk / "out" / INDEX_NAME).exists()
    assert not list((small_disk / "out").glob(".*.partial"))


def test_a_disk_that_is_full_already_is_told_before_anything_is_read(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(64 * 1024))
    with pytest.raises(InputError, match=r"cannot write to the folder .*No space left"):
        prepare(small_disk)
    assert list(contents(small_disk)) == ["filler"]


def test_a_read_only_folder_is_told_before_anything_is_read(read_only_disk: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write to the folder .*Read-only file system"):
        prepare(read_only_disk / "out")


def test_a_folder_below_a_file_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to the folder .*Not a directory"):
        prepare(tmp_path / "file" / "out")
    with pytest.raises(InputError, match=r"cannot write to the folder .*File exists"):
        prepare(tmp_path / "file")

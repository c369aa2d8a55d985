"""Files appear whole or not at all."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fes.errors import InputError
from fes.files import (
    check_folder,
    folders_left_as_found,
    hold_folder,
    make_folder,
    remove_if_there,
    sha256_of,
    write_file,
    write_folder,
)


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of 64 kB in memory, where the machine lets one be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "small", "size=64k")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "read_only", "size=64k,ro")


@pytest.fixture
def breaking_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes what is written, and fails when it is forced to keep it."""

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a"
    for content in (b"one", b"other", b""):
        write_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, breaking_disk):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match=r"cannot write .*: Input/output error"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk):
    path = small_disk / "a"
    write_file(path, b"old")
    with pytest.raises(InputError, match="No space left on device"):
        write_file(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_a_folder_is_written_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "state"
    write_folder(path, {"a": b"1", "b": b"2"})
    write_folder(path, {"b": b"3", "c": b"4"})
    assert {each.name: each.read_bytes() for each in path.iterdir()} == {"b": b"3", "c": b"4"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_of_a_folder_leaves_the_old_one_and_nothing_else(tmp_path, breaking_disk):
    path = tmp_path / "state"
    path.mkdir()
    (path / "a").write_bytes(b"old")
    with pytest.raises(InputError, match="Input/output error"):
        write_folder(path, {"a": b"new", "b": b"2"})
    assert {each.name: each.read_bytes() for each in path.iterdir()} == {"a": b"old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_folder_and_nothing_else(small_disk):
    path = small_disk / "state"
    write_folder(path, {"a": b"old"})
    with pytest.raises(InputError, match="No space left on device"):
        write_folder(path, {"a": b"new", "b": bytes(100_000)})
    assert (path / "a").read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_what_a_killed_write_left_is_in_nobodys_way(tmp_path):
    partial = tmp_path / ".state.partial"
    partial.mkdir()
    (partial / "half").write_bytes(b"x")
    write_folder(tmp_path / "state", {"a": b"1"})
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
    assert [each.name for each in (tmp_path / "state").iterdir()] == ["a"]


@pytest.mark.parametrize("folder", ["missing", "file", "x" * 300])
def test_a_place_that_is_no_folder_is_one_sentence(tmp_path, folder):
    (tmp_path / "file").write_text("in the way")
    for write, content in ((write_file, b""), (write_folder, {"a": b""})):
        with pytest.raises(InputError, match="cannot write"):
            write(tmp_path / folder / "a", content)


def test_a_read_only_place_is_one_sentence(read_only):
    for write, content in ((write_file, b""), (write_folder, {"a": b""})):
        with pytest.raises(InputError, match="Read-only file system"):
            write(read_only / "a", content)
    with pytest.raises(InputError, match="Read-only file system"):
        make_folder(read_only / "a")
    with pytest.raises(InputError, match="Read-only file system"):
        make_folder(read_only)


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    path = tmp_path / "a" / "b"
    make_folder(path)
    make_folder(path)
    assert list(path.iterdir()) == []


def test_a_folder_where_a_file_stands_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write to the folder"):
            make_folder(path)


def test_what_cannot_be_a_folder_is_told_without_making_one(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(InputError) as caught:
            check_folder("--out", path)
        assert (
            str(caught.value)
            == f"--out {path} cannot be a folder: {tmp_path / 'file'} is a file; name another"
        )
    for path in (tmp_path, tmp_path / "a" / "b"):
        check_folder("--out", path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_written_is_told_before_anything_is(read_only):
    with pytest.raises(InputError, match=f"^--out {read_only}/a: you may not read and write in "):
        check_folder("--out", read_only / "a")


@pytest.mark.parametrize(("content", "left"), [([], []), (["file"], ["a", "b", "file"])])
def test_folders_that_were_made_for_what_failed_go_again_unless_something_is_in_them(tmp_path, content, left):
    def fail(folder):
        make_folder(folder)
        for name in content:
            (folder / name).touch()
        raise InputError("in vain")

    with pytest.raises(InputError, match="in vain"), folders_left_as_found(tmp_path / "a" / "b"):
        fail(tmp_path / "a" / "b")
    assert sorted(each.name for each in tmp_path.rglob("*")) == left


def test_removing_what_is_not_there_is_no_error(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file" / "below", tmp_path / "file"):
        remove_if_there(path)
    assert list(tmp_path.iterdir()) == []


def test_the_sum_of_a_file_is_that_of_its_bytes_and_of_no_other(tmp_path):
    contents = (b"", b"one", b"one ", bytes(3_000_000))
    sums = set()
    for content in contents:
        (tmp_path / "a").write_bytes(content)
        assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
        sums.add(sha256_of(tmp_path / "a"))
    assert len(sums) == len(contents)


@pytest.mark.parametrize(("name", "told"), [("none", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_has_no_sum_but_one_sentence(tmp_path, name, told):
    with pytest.raises(InputError) as caught:
        sha256_of(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name} cannot be read: {told}"


HOLD = """
import sys, time
from pathlib import Path
from fes.files import hold_folder
hold_folder(Path(sys.argv[1]))
print("holds", flush=True)
time.sleep(600)
"""


def test_a_folder_is_held_by_one_process_until_that_ends_even_where_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout.readline() == b"holds\n"
        with pytest.raises(InputError, match=f"another run is writing to .*, process {holder.pid}"):
            hold_folder(tmp_path, patience=0.2)
        holder.kill()
    hold_folder(tmp_path, patience=0.0)
    hold_folder(tmp_path, patience=0.0)  # its own holder is not in the way

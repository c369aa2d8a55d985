"""Writing files so that a reader never meets half of one."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from fes.errors import InputError


def make_folder(path: Path) -> None:
    """Makes a folder and makes sure that files can be written to it.

    Raises:
        InputError: it cannot be made or written.
    """
    probe = path / f".writable-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"?")
        probe.unlink()
    except OSError as error:
        remove_if_there(probe)
        raise InputError(f"cannot write to the folder {path}: {error.strerror}") from None


def write_file(path: Path, content: bytes) -> None:
    """Writes a file under another name, forces it to disk, then gives it its name.

    Raises:
        InputError: the folder cannot be written, or is full; a file that was there is left as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        _write_through(partial, content)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        remove_if_there(partial)
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Writes a folder of files, all of it or nothing: under another name first, as `write_file` does.

    A folder that was there is replaced.

    Raises:
        InputError: as `write_file`.
    """
    partial, old = (path.with_name(f".{path.name}.{end}") for end in ("partial", "old"))
    try:
        for rest in (partial, old):
            shutil.rmtree(rest, ignore_errors=True)
        partial.mkdir()
        for name, content in contents.items():
            _write_through(partial / name, content)
        _sync_folder(partial)
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
        _sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def remove_if_there(path: Path) -> None:
    """Removes what is left of a file, also where its folder is what stands in the way."""
    with contextlib.suppress(OSError):
        path.unlink()


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

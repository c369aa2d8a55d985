"""Writing files so that a reader never meets half of one."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from fes.errors import InputError

_MOMENT = re.compile(r"(state|snapshot)-\d{6,}\.\d{3}(\.safetensors)?")

_LONGEST_NAME = 220
"""Bytes: files are written under a name that is longer, and systems know names of up to 255."""


def sha256_of(path: Path) -> str:
    """The sum of a file; raises `InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def of_moments(run: Path, pattern: str) -> list[Path]:
    """What a run keeps of moments, as `state-*`, oldest first. A name is that of a moment, in kimg, to the
    letter: a copy that somebody put beside it is none."""
    return sorted(each for each in run.glob(pattern) if _MOMENT.fullmatch(each.relative_to(run).parts[0]))


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


@contextlib.contextmanager
def folders_left_as_found(path: Path) -> Iterator[None]:
    """Where what is done within ends with an error, the folder goes again if it was made and left empty, and
    so do those above it that were made for it."""
    made = [each for each in (path, *path.parents) if not os.path.lexists(each)]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # there is something in it, or it was not made at all
            for each in made:
                each.rmdir()
        raise


def check_folder(flag: str, path: Path) -> None:
    """Raises `InputError`, which names the flag, where a folder could not be made or written to."""
    there = path
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    if not os.path.isdir(there):
        raise InputError(f"{flag} {path} cannot be a folder: {there} is a file; name another")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"{flag} {path}: you may not read and write in {there}; name another folder")


def check_file(flag: str, path: Path, ending: str = "") -> None:
    """Raises `InputError`, which names the flag, where a file of that name could not be written later on, or
    does not end as it should."""
    if os.path.isdir(path):  # which a name that is too long does not trouble
        raise InputError(f"{flag} {path} is a folder: name a file in it")
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise InputError(
            f"{flag} {path}: the name is too long; choose one of less than {_LONGEST_NAME} bytes"
        )
    if not path.name.lower().endswith(ending):
        raise InputError(f"{flag} {path}: let it end in {ending}")
    make_folder(path.parent)


def hold_folder(path: Path, patience: float = 120.0) -> None:
    """Keeps other processes from holding a folder, until this one ends, however it ends.

    Args:
        patience: seconds to wait for a holder on another machine: where that machine is lost, a shared disk
            learns of it late. One on this machine, which may just be ending, is waited for 5 seconds.

    Raises:
        InputError: another process holds it.
    """
    handle = os.open(path / ".holder", os.O_RDWR | os.O_CREAT, 0o666)  # closing it would let go
    begun = time.monotonic()
    while not _locked(handle):
        holder = os.pread(handle, 200, 0).decode(errors="replace")
        here = holder.startswith(f"host {socket.gethostname()},")
        if time.monotonic() - begun > (min(patience, 5.0) if here else patience):
            os.close(handle)
            raise InputError(
                f"another run is writing to {path} ({holder}): stop it first, or take another --run folder"
            )
        time.sleep(0.1)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"host {socket.gethostname()}, process {os.getpid()}".encode(), 0)


def _locked(handle: int) -> bool:
    # Not flock: processes that were forked would hold it on.
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # a disk that knows no locks is not held
    return True


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
        raise InputError(f"cannot write {path}: {error.strerror}{_hint(error)}") from None


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
        raise InputError(f"cannot write {path}: {error.strerror}{_hint(error)}") from None


def _hint(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "; make room, and give the same command again" if full else ""


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

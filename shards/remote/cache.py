"""A folder of bounded size that holds verified copies of files, for all processes of a machine.

A file is named after the sha256 of its contents. While it is made it bears the ending `.part`, has its
full size, and is locked by whoever makes it: a part that nobody has locked is what a killed process left.
To make room, the files that were opened longest ago go; whoever has one open can still read it.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fes.errors import InputError

LOCK_NAME = "lock"
WAIT_SECONDS = 0.05
_OURS = re.compile(r"[0-9a-f]{64}(\.part)?")


class Wanted(NamedTuple):
    """A file behind an address, as an index describes it: its size is in bytes, its sha256 64 hex digits."""

    name: str
    size: int
    sha256: str


class Cache:
    """The folder. Any number of processes and threads may use one at the same time."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """`limit_bytes` bounds the sum of the sizes of all files, finished or not."""
        self.folder, self.limit_bytes = folder, limit_bytes

    def has(self, shard: Wanted) -> bool:
        """Whether the file is there, whole."""
        with suppress(OSError):
            return self._path(shard).stat().st_size == shard.size
        return False

    def find(self, shard: Wanted) -> int | None:
        """A descriptor of the file, to be closed by the caller; None where it is not there."""
        try:
            file = os.open(self._path(shard), os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._told(error) from None
        if os.fstat(file).st_size != shard.size:
            os.close(file)
            return None
        with suppress(OSError):  # another user's, or on a disk that is mounted to be read alone
            os.utime(file)
        return file

    def obtain(self, shard: Wanted, fill: Callable[[int], None], keep: Collection[str] = ()) -> int:
        """A descriptor of the file, to be closed by the caller; makes the file where it is not there.

        Where another process or thread is making the same file, this waits for it.

        Args:
            fill: is given a descriptor, to write the contents of the file to from its beginning on. Has to
                check them, and raises where they cannot be had.
            keep: the sha256 of files that should go last where room has to be made.

        Raises:
            InputError: the file is larger than the cache may be, or the folder cannot be written, or is full.
        """
        if shard.size > self.limit_bytes:
            raise InputError(
                f"'{shard.name}' has {shard.size} bytes, more than the {self.limit_bytes} that the cache "
                f"{self.folder} may hold; allow it at least {2 * shard.size}"
            )
        part = self._path(shard).with_suffix(".part")
        try:
            while True:
                self.folder.mkdir(parents=True, exist_ok=True)
                with _locked(part) as file:
                    made = self._make_locked(shard, part, file, fill, keep)
                if made is not None:
                    return made
        except OSError as error:
            raise self._told(error) from None

    def forget(self, shard: Wanted, descriptor: int) -> None:
        """Removes the file, if it is still the one that this descriptor reads.

        Raises:
            InputError: the folder cannot be written.
        """
        try:
            with _locked(self.folder / LOCK_NAME):
                if _is_at(descriptor, self._path(shard)):
                    self._path(shard).unlink()
        except FileNotFoundError:  # the folder was removed
            return
        except OSError as error:
            raise self._told(error) from None

    def _make_locked(
        self, shard: Wanted, part: Path, file: int, fill: Callable[[int], None], keep: Collection[str]
    ) -> int | None:
        try:
            if (made := self.find(shard)) is None:
                os.ftruncate(file, 0)
                self._make_room(file, shard.size, keep)
                fill(file)
                os.fsync(file)  # some disks tell only here that they are full
                return self._finish(shard, part, file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.unlink(missing_ok=True)
        return made

    def _finish(self, shard: Wanted, part: Path, file: int) -> int | None:
        """Gives a whole file its name; None where somebody emptied the folder meanwhile."""
        with _locked(self.folder / LOCK_NAME):  # lest who adds up the sizes sees neither name
            if not _is_at(file, part):
                return None
            made = os.open(part, os.O_RDONLY)
            part.replace(self._path(shard))
            return made

    def _make_room(self, file: int, size: int, keep: Collection[str]) -> None:
        while True:
            with _locked(self.folder / LOCK_NAME):
                if self._evict(self.limit_bytes - size, keep):
                    os.ftruncate(file, size)
                    return
            time.sleep(WAIT_SECONDS)  # the rest is being made by others: finished, it may go

    def _evict(self, allowed: int, keep: Collection[str]) -> bool:
        """Removes files until the others have `allowed` bytes or less; whether that succeeded."""
        files = [
            (entry.name in keep, status.st_mtime_ns, status.st_size, Path(entry.path))
            for entry, status in _entries(self.folder)
        ]
        total = sum(size for _, _, size, _ in files)
        for _, _, size, path in sorted(files):
            if path.suffix == ".part":
                total -= size if _remove_if_left(path) else 0
            elif total > allowed:
                path.unlink(missing_ok=True)
                total -= size
        return total <= allowed

    def _path(self, shard: Wanted) -> Path:
        return self.folder / shard.sha256

    def _told(self, error: OSError) -> InputError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return InputError(
                f"the disk of the cache {self.folder} is full; make room there, or choose another folder "
                f"or a smaller cache"
            )
        return InputError(f"cannot use the cache {self.folder}: {error.strerror}; choose another folder")


def _entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # gone since
                    yield entry, entry.stat()


def _remove_if_left(part: Path) -> bool:
    """Removes a part unless somebody is making it; whether it did."""
    with suppress(FileNotFoundError, BlockingIOError), _locked(part, create=False, wait=False):
        part.unlink(missing_ok=True)
        return True
    return False


@contextmanager
def _locked(path: Path, create: bool = True, wait: bool = True) -> Iterator[int]:
    """A descriptor of the file at this path, which no other process or thread can lock meanwhile.

    Raises BlockingIOError where another has it locked and this is not to wait.
    """
    while True:
        file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(file, path):
                yield file
                return
        finally:
            # Said outright: a process forked meanwhile holds the descriptor too, and the lock with it.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)


def _is_at(file: int, path: Path) -> bool:
    """Whether the path still names this file, which may have been renamed while its lock was awaited."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(file)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

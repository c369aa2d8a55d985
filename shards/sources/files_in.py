"""The files of a folder, or of a zip of one, by their names in it."""

import contextlib
import errno
import hashlib
import os
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fes.errors import InputError
from shards.pictures import LARGEST
from shards.schema import Unreadable

CLUTTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
OF_ONE_FILE = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
        *(errno.ELOOP, errno.ENAMETOOLONG),
    )
)
"""What the system says of a file that cannot be read whenever it is tried."""

MISSING = Unreadable("file that cannot be read: missing, no regular file, or not for you to read")
TOO_LARGE = Unreadable(f"file of more than {LARGEST // 2**20} MiB")
DAMAGED = Unreadable("file that is damaged or encrypted in the zip")


def suffix_of_name(name: str) -> str:
    """What follows the last dot of a file's name, in lower case: "jpg"."""
    return name.rpartition(".")[2].lower()


@dataclass(frozen=True)
class FilesIn:
    """The files below a folder, or in a zip.

    `names` are relative to `path`, with / between folders, sorted; what systems leave behind (names
    that begin with a dot, __MACOSX, Thumbs.db) is not among them. `links` are links to folders, which
    are not followed. `stamp` changes with the names, sizes and times of change of the files.
    """

    path: Path
    names: tuple[str, ...]
    links: tuple[str, ...]
    stamp: str
    zipped: bool

    def read(self, names: Sequence[str]) -> list[bytes | Unreadable]:
        """The contents of some of the files, in the order asked for; `Unreadable` where one is no good.

        Raises InputError where the trouble may be gone the next time: too many open files, a disk that
        fails, a zip that is not there any more.
        """
        if self.zipped:
            return [_unzipped(self, name) for name in names]
        return [_content(self.path / name) for name in names]


def unread(path: Path, error: OSError | MemoryError) -> InputError:
    """Tells of trouble that says nothing of what is in the file, and so must cost no picture."""
    code = getattr(error, "errno", None)
    trouble = os.strerror(code) if code else "there is not enough memory"
    return InputError(
        f"cannot read {path} ({trouble}): run the same command again, which goes on where it was; if it "
        "stays so, see to the disk or the memory, or take that file away"
    )


def tells_of_damage(error: OSError) -> bool:
    """Whether it is raised for what is in an archive: by a library, or for a place that cannot be."""
    return error.errno in (None, errno.EINVAL)


def files_in(path: Path) -> FilesIn:
    """Lists the files below a folder or in a zip.

    Raises InputError where there is neither at this path, or it cannot be read.
    """
    path = Path(path)
    try:
        return _in_folder(path) if path.is_dir() else _in_zip(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the path given as --source") from error
    except OSError as error:
        where = error.filename or path
        raise InputError(
            f"cannot read {where} ({error.strerror}): give a folder that you may read"
        ) from error


def _in_folder(path: Path) -> FilesIn:
    names, links = [], []
    digest = hashlib.sha256()
    for folder, below, files in os.walk(path, onerror=_raise):
        inside = os.path.relpath(folder, path).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        below[:] = sorted(name for name in below if not _is_clutter(name))
        links += [prefix + name for name in below if os.path.islink(os.path.join(folder, name))]
        names += [prefix + name for name in files if not _is_clutter(name)]
    names.sort()
    for name in names:
        digest.update(f"{name}\n{_state(path / name)}\n".encode("utf-8", "surrogateescape"))
    return FilesIn(path, tuple(names), tuple(sorted(links)), digest.hexdigest(), zipped=False)


def _in_zip(path: Path) -> FilesIn:
    known = path.stat()
    if not stat.S_ISREG(known.st_mode):
        raise InputError(f"{path} is neither a folder nor a zip: give a folder of pictures, or a zip of one")
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in _members(archive) if not _is_clutter(name))
    except OSError:
        raise
    except Exception as error:  # zipfile meets damage with a dozen kinds of exception
        raise InputError(
            f"{path} is neither a folder nor a zip that can be read ({error}): give a folder of pictures, or "
            "a whole zip of one"
        ) from error
    return FilesIn(path, tuple(names), (), f"{known.st_size} {known.st_mtime_ns}", zipped=True)


def _raise(error: OSError) -> None:
    raise error


def _state(path: Path) -> str:
    with contextlib.suppress(OSError):
        known = path.stat()
        return f"{known.st_size} {known.st_mtime_ns}"
    return "missing"


def _is_clutter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in CLUTTER for part in name.split("/"))


def _content(path: Path) -> bytes | Unreadable:
    try:
        known = path.stat()
        if not stat.S_ISREG(known.st_mode):  # reading a pipe would wait for ever
            return MISSING
        return TOO_LARGE if known.st_size > LARGEST else path.read_bytes()
    except OSError as error:
        if error.errno in OF_ONE_FILE:
            return MISSING
        raise unread(path, error) from error
    except MemoryError as error:
        raise unread(path, error) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by name, of equal names the last, as unzip does."""
    # Some programs on Windows write \ between folders.
    return {
        info.filename.replace("\\", "/").lstrip("/"): info for info in archive.infolist() if not info.is_dir()
    }


def _unzipped(files: FilesIn, name: str) -> bytes | Unreadable:
    try:
        archive, members = _opened(files.path, files.stamp, os.getpid())
        info = members.get(name)
        if info is None:
            return MISSING
        # A damaged size of what is packed would have as much memory taken.
        return TOO_LARGE if max(info.file_size, info.compress_size) > LARGEST else archive.read(info)
    except MemoryError as error:
        raise unread(files.path, error) from error
    except OSError as error:
        if tells_of_damage(error):
            return DAMAGED
        raise unread(files.path, error) from error
    except Exception:  # zipfile meets damage with a dozen kinds of exception
        return DAMAGED


# Opening a zip of many files takes long; a process must not use what another one has opened.
@lru_cache(maxsize=1)
def _opened(path: Path, stamp: str, process: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    archive = zipfile.ZipFile(path)
    return archive, _members(archive)

"""Changes a folder of shards as a whole: all that is new is written beside, and then put in place.

What is put where stands in a journal. As long as there is none the folder is as it was; once there is one
whoever was interrupted goes on by it, as often as needed.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fes.errors import InputError
from fes.files import make_folder, write_file
from shards.documents import to_text
from shards.schema import INDEX_NAME

STAGING_NAME = "repair-unfinished"
JOURNAL_NAME = "journal.json"
QUARANTINE_NAME = "quarantine"


@dataclass
class Changes:
    """What is to become of a folder, all by the names of files in it; `actions` tell people of it.

    `quarantined` go to the folder of that name, under another name there. `staged` take their places from
    the staging folder, and `staged_quarantine` theirs in the quarantine. `removed` files and folders go.
    """

    actions: list[str] = field(default_factory=list)
    kept: int = 0
    dropped: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    staged: list[str] = field(default_factory=list)
    staged_quarantine: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def has_journal(folder: Path) -> bool:
    """Whether changes of this folder were interrupted that can only go on."""
    return (folder / STAGING_NAME / JOURNAL_NAME).exists()


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """An empty folder for all that is new; gone when whoever fills it fails, and no journal is there yet."""
    path = folder / STAGING_NAME
    shutil.rmtree(path, ignore_errors=True)
    make_folder(path / QUARANTINE_NAME)
    try:
        yield path
    except OSError as error:
        raise InputError(f"cannot change {folder} ({error.strerror}): it is as it was") from error
    finally:
        if not has_journal(folder):
            shutil.rmtree(path, ignore_errors=True)


def decide(folder: Path, changes: Changes) -> None:
    """Writes the journal: from now on the changes will be made. `staged` must hold a new index.json."""
    write_file(folder / STAGING_NAME / JOURNAL_NAME, to_text(asdict(changes)).encode())


def carry_out(folder: Path) -> Changes:
    """Makes the changes of the journal, as far as they are not made yet.

    Raises InputError where the journal is damaged, or the disk does not allow it: then call it again.
    """
    staged = folder / STAGING_NAME
    try:
        changes = Changes(**json.loads((staged / JOURNAL_NAME).read_bytes()))
        _put_in_place(folder, staged, changes)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{staged / JOURNAL_NAME} is damaged ({error}): what belongs to the repaired data set lies "
            "beside it"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot finish the repair of {folder} ({error.strerror}): run it again when that is mended"
        ) from error
    return changes


def _put_in_place(folder: Path, staged: Path, changes: Changes) -> None:
    quarantine = folder / QUARANTINE_NAME
    if (staged / INDEX_NAME).exists():  # else everything but the last step was done before
        (folder / INDEX_NAME).unlink(missing_ok=True)  # a folder without one is never taken for whole
        if changes.quarantined or changes.staged_quarantine:
            quarantine.mkdir(exist_ok=True)
        for name, new_name in changes.quarantined.items():
            # What has arrived is not moved again: a new shard may stand there under the same name.
            if not (quarantine / _plain(new_name)).exists() and (folder / _plain(name)).exists():
                os.replace(folder / name, quarantine / new_name)
        for name in changes.staged_quarantine:
            _move(staged / QUARANTINE_NAME / _plain(name), quarantine / name)
        for name in changes.removed:
            _remove(folder / _plain(name))
        for name in sorted(changes.staged, key=INDEX_NAME.__eq__):
            _move(staged / _plain(name), folder / name)
    shutil.rmtree(staged)


def _plain(name: str) -> str:
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return name


def _move(path: Path, target: Path) -> None:
    if path.exists():
        os.replace(path, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

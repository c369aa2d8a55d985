"""Finds the tars that a user means, and tells the split of each by its name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from fes.errors import InputError, nearest
from shards.schema import SPLITS
from shards.sources.splits import split_named

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class TarFiles:
    """Tars, each once; and compressed ones that lie in the same folders and are none of them."""

    tars: tuple[Path, ...]
    packed: tuple[str, ...]


def find_tars(paths: Sequence[Path | str]) -> TarFiles:
    """The tars of files, of folders and all below, and of names with braces as in `a-{000..146}.tar`.

    Raises InputError where there is nothing of that name, or no tar.
    """
    tars, packed = [], []
    for path in map(Path, paths):
        if path.is_dir():
            below = [each for each in path.rglob("*") if each.is_file() and not each.name.startswith(".")]
            tars += [each for each in below if each.suffix.lower() == ".tar"]
            packed += [str(each) for each in below if each.name.lower().endswith(PACKED)]
        else:
            tars += [path] if path.exists() else _expanded(str(path))
    if not tars:
        hint = (
            f"unpack {min(packed)} and the like" if packed else "give .tar files, or folders that hold some"
        )
        raise InputError(f"there is no tar in {', '.join(map(str, paths)) or 'nothing'}: {hint}")
    # A folder is resolved, because the index tells the way to it; a link to a tar may have the better name.
    whole = {path.parent.resolve() / path.name for path in tars}
    return TarFiles(tuple(sorted(whole)), tuple(sorted(packed)))


def _expanded(path: str) -> list[Path]:
    from braceexpand import braceexpand

    try:
        paths = [Path(each) for each in braceexpand(path)]
    except ValueError as error:
        raise InputError(
            f"{path} has braces without a partner ({error}): write a-{{000..146}}.tar"
        ) from error
    missing = next((each for each in paths if not each.is_file()), None)
    if missing is not None:
        raise InputError(f"{missing} is no file: check the paths of the tars")
    return paths


def splits_of(tars: Sequence[Path], wanted: Mapping[str, str]) -> dict[Path, str]:
    """The split of each tar.

    `wanted` are patterns of file names, as "eval-*.tar", and their splits; the first that fits counts.
    Else the file's name tells, by a word such as train or val in it, or that of its folder, if it is such
    a word. Where neither does, it is training.
    Raises InputError where a name tells two, and where a pattern fits no tar or its split is none.
    """
    for pattern, split in wanted.items():
        if split_named(split) is None:
            raise InputError(f"--split {pattern} cannot be {split!r}{nearest(split, SPLITS)}")
        if not any(fnmatch(tar.name, pattern) for tar in tars):
            raise InputError(f"--split {pattern} fits none of the {len(tars)} tars, such as {tars[0].name}")
    return {tar: _split_of(tar, wanted) for tar in tars}


def _split_of(tar: Path, wanted: Mapping[str, str]) -> str:
    for pattern, split in wanted.items():
        if fnmatch(tar.name, pattern):
            return split_named(split)
    told = {split_named(word) for word in re.split(r"[^a-z]+", tar.name.lower())} - {None}
    if len(told) > 1:
        raise InputError(
            f"the name of {tar} tells of {' and '.join(sorted(told))}: say which it is with --split "
            f"'{tar.name}' {min(told)}"
        )
    return told.pop() if told else split_named(tar.parent.name) or "train"

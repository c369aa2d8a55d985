"""Reads a folder of picture files, or a zip of one: a folder per class, in one per split where there are."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards.documents import printable
from shards.pictures import PICTURE_SUFFIXES, size_of
from shards.schema import (
    NOBODY,
    Crop,
    Finding,
    Picture,
    Progress,
    Sample,
    Square,
    Unreadable,
    no_progress,
)
from shards.sources.files_in import FilesIn, files_in, suffix_of_name
from shards.sources.layout import REFUSE, Placed, arrange, class_names
from shards.sources.splits import Shares

NOT_A_PICTURE = "not a picture file"
LINK = "link to a folder, which is not followed"
OUTSIDE = "picture outside the folders of the classes"
TO_DROP = "picture of a class that is to be dropped"
OUTREACHED = "picture that does not hold the square of --crop"
NO_IDENTITY = "file whose name --identity does not match"
LEFT_OUT, DROPPED, OF_NOBODY = "left out", "dropped", "kept, as of an unknown person"
FILES = "files"


@dataclass
class FolderSource:
    """A `Source` of picture files: `names` holds the file of each sample."""

    files: FilesIn
    names: list[str]
    samples: list[Sample]
    findings: list[Finding]
    facts: dict[str, int]
    name: str = "folder"
    crop: Crop | None = None
    unit: str = "files"
    warnings: Sequence[str] = ()

    @property
    def stamp(self) -> str:
        """Changes with the names, sizes and times of change of the files."""
        return self.files.stamp

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The bytes of the files of `samples` at these positions; `Unreadable` where one is gone."""
        return self.files.read([self.names[position] for position in positions])


def read_folder(
    path: Path,
    *,
    identity: str | None = None,
    contempt: str = REFUSE,
    aliases: Mapping[str, str] | None = None,
    valid_share: float = 0.0,
    test_share: float = 0.0,
    seed: int = 0,
    square: Square | None = None,
    progress: Progress = no_progress,
) -> FolderSource:
    r"""The pictures of a folder, or of a zip, that is laid out class/file or split/class/file.

    Below a class there may be more folders. Without folders of splits all is for training, but for the
    shares asked for: of the people where they are known, so that nobody is in two splits, else of the
    files, of which the source then warns. `progress` is called with the number of files when they are
    listed, and before that as their sizes are read, where there is a square to hold.

    Args:
        identity: a regular expression for a file's name from the class folder on, such as `(\d+)`: its
            first group, or without one all that it matches, names the person. People are numbered in the
            order of their names.
        contempt: what becomes of the class contempt, which fes does not have: "refuse", "drop",
            "unlabelled", or a class to put it to.
        aliases: what becomes of other folders, by their names: a class, "drop" or "unlabelled".
        valid_share: the part of training to take for validation, from 0 to below 1.
        test_share: the part of training to take for the test, from 0 to below 1; or 1, all of it.
        seed: decides who is taken.
        square: left edge, upper edge and side of what to read of every picture, in its pixels; None: the
            central square. Pictures that do not hold it are dropped. It is that of the size that most have:
            of a picture of another size the same part is read.

    Raises:
        InputError: nothing is there or can be read, a folder is no class, the layout could mean two
            things, an option makes no sense, there is no picture to use, or none holds the square.
    """
    pattern, classes = _pattern(identity), class_names(contempt, aliases or {})
    shares = Shares(valid_share, test_share, seed)
    files = files_in(path)
    pictures = [name for name in files.names if suffix_of_name(name) in PICTURE_SUFFIXES]
    placed, outside = arrange(files.path, pictures, classes)
    used = [picture for picture in placed if picture.label is not None]
    _check_used(path, used)
    crop, outreached = None, set()
    if square is not None:
        crop, outreached = _cropped(files, used, square, progress)
        used = [picture for picture in used if picture.name not in outreached]
    people = _people(used, pattern)
    samples = _samples(used, _splits(path, used, people, shares), people)
    found = {
        (NOT_A_PICTURE, LEFT_OUT): sorted({*files.names} - {*pictures}),
        (LINK, LEFT_OUT): files.links,
        (OUTSIDE, LEFT_OUT): outside,
        (TO_DROP, DROPPED): [picture.name for picture in placed if picture.label is None],
        (OUTREACHED, DROPPED): sorted(outreached),
        (NO_IDENTITY, OF_NOBODY): _unmatched(used, people) if pattern else [],
    }
    progress(len(files.names), len(files.names))
    facts = {"picture_files": len(pictures), "people": len({*people} - {None})}
    names, warnings = [picture.name for picture in used], _warnings(used, people, shares)
    return FolderSource(files, names, samples, _findings(found), facts, crop=crop, warnings=warnings)


def _findings(found: Mapping[tuple[str, str], Sequence[str]]) -> list[Finding]:
    return [
        Finding(reason, action, [printable(name) for name in names], FILES)
        for (reason, action), names in found.items()
        if names
    ]


def _pattern(identity: str | None) -> re.Pattern[str] | None:
    try:
        return None if identity is None else re.compile(identity)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(
            f"--identity {identity!r} is no regular expression ({error}): give one such as '(\\d+)'"
        ) from error


def _check_used(path: Path, used: list[Placed]) -> None:
    if not used:
        raise InputError(
            f"{path} has no picture in a folder of a class: put pictures into folders named "
            f"{', '.join(EXPRESSIONS)}, and those into train, valid and test if you have splits"
        )


def _cropped(
    files: FilesIn, used: list[Placed], square: Square, progress: Progress
) -> tuple[Crop | None, set[str]]:
    """The square in a picture of the size that most have, and the names of those that do not hold it.

    What tells no size is no picture, which is for those to tell who read it; where all are such, there is no
    crop.
    """
    holding, outreached = Counter(), {}
    for done, picture in enumerate(used):
        progress(done, len(files.names))
        content = files.read([picture.name])[0]
        size = None if isinstance(content, Unreadable) else size_of(content)
        if size and Crop(*size, *square).fits:
            holding[size] += 1
        elif size:
            outreached[picture.name] = size
    if outreached and not holding:
        name, (width, height) = next(iter(outreached.items()))
        left, top, side = square
        raise InputError(
            f"the square of {side} pixels from {left}, {top} on lies in no picture of {files.path}, such as "
            f"{printable(name)}, which is {width} pixels wide and {height} high: give another one as --crop"
        )
    crop = Crop(*holding.most_common(1)[0][0], *square) if holding else None
    return crop, {*outreached}


def _people(used: list[Placed], pattern: re.Pattern[str] | None) -> list[str | None]:
    """The names of the people in the pictures, None where a file does not tell."""
    if pattern is None:
        return [None for _ in used]
    matches = [pattern.search(picture.inner) for picture in used]
    people = [match and (match[min(pattern.groups, 1)] or None) for match in matches]
    if not any(people):
        raise InputError(
            f"--identity {pattern.pattern!r} matches none of the {len(used)} files, such as "
            f"{printable(used[0].inner)!r}: give an expression for that part of it that names the person"
        )
    return people


def _unmatched(used: list[Placed], people: list[str | None]) -> list[str]:
    return [picture.name for picture, person in zip(used, people, strict=True) if person is None]


def _splits(path: Path, used: list[Placed], people: list[str | None], shares: Shares) -> list[str]:
    """The split of each picture: its folder's, or what the shares make of training."""
    told = {picture.split for picture in used}
    asked = [split for split, share in shares.asked.items() if share]
    for split in asked:
        if split in told:
            raise InputError(f"{path} has a folder for {split} already: leave out --{split}-share")
    splits = [
        shares.split_of(person or picture.name) if picture.split in (None, "train") else picture.split
        for picture, person in zip(used, people, strict=True)
    ]
    for split in asked:
        if split not in splits:
            raise InputError(
                f"--{split}-share {shares.asked[split]} takes no picture of {path}: ask for a larger share, "
                "or try another --seed"
            )
    return splits


def _warnings(used: list[Placed], people: list[str | None], shares: Shares) -> list[str]:
    """That files were split one by one where it is not known who is on them; none where all go one way."""
    unknown = sum(
        person is None and picture.split in (None, "train")
        for picture, person in zip(used, people, strict=True)
    )
    if not unknown or not 0 < shares.valid + shares.test < 1:
        return []
    flags = " and ".join(f"--{split}-share" for split, share in shares.asked.items() if share)
    return [
        f"{flags} split {unknown:,} files of unknown people one by one: the same person may stand in several "
        "splits; --identity tells people apart"
    ]


def _samples(used: list[Placed], splits: list[str], people: list[str | None]) -> list[Sample]:
    numbers = {person: number for number, person in enumerate(sorted({*people} - {None}))}
    samples = []
    for picture, split, person in zip(used, splits, people, strict=True):
        name = printable(picture.name)
        details = {"file": name} if person is None else {"file": name, "identity": printable(person)}
        samples.append(Sample(split, picture.label, name, details, numbers.get(person, NOBODY)))
    return samples

"""Finds the splits and the classes in the names of a folder's pictures: class/file, or split/class/file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fes.errors import InputError, nearest
from fes.expressions import EXPRESSIONS, UNLABELLED, expression_label
from shards.schema import DROP, UNLABELLED_NAME
from shards.sources.splits import split_named

CONTEMPT = ("contempt", "contemptuous")
UNLABELLED_NAMES = (UNLABELLED_NAME, "unlabeled")
REFUSE = "refuse"

Classes = Mapping[str, int | None]
"""The labels of folders whose names, in lower case, do not tell them; None stands for those to drop."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture in the folder of a class.

    `name` is its file, `inner` that from the class folder on, `split` what a folder tells, if any, and
    `label` that of the class, None where it is to be dropped.
    """

    name: str
    inner: str
    split: str | None
    label: int | None


def class_names(contempt: str, aliases: Mapping[str, str]) -> Classes:
    """What the user wants of contempt, which is no class of fes, and of other folders by their names.

    Raises InputError where it is no class, "drop" or "unlabelled", or for contempt also "refuse".
    """
    names: dict[str, int | None] = dict.fromkeys(UNLABELLED_NAMES, UNLABELLED)
    if contempt != REFUSE:
        names.update(dict.fromkeys(CONTEMPT, _wanted("--contempt", contempt, (REFUSE,))))
    for folder, wanted in aliases.items():
        names[folder.strip().lower()] = _wanted(f"--alias {folder}", wanted, ())
    return names


def _wanted(flag: str, wanted: str, others: tuple[str, ...]) -> int | None:
    if wanted == DROP:
        return None
    label = UNLABELLED if wanted.lower() in UNLABELLED_NAMES else expression_label(wanted)
    if label is None:
        choices = (*EXPRESSIONS, UNLABELLED_NAME, DROP, *others)
        raise InputError(f"{flag} cannot be {wanted!r}{nearest(wanted, choices)}")
    return label


def arrange(path: Path, names: Sequence[str], classes: Classes) -> tuple[list[Placed], list[str]]:
    """The pictures in folders of classes, and the names of the others; in the order of the names.

    Folders around everything, as a zip often has one, are passed over.
    Raises InputError where a folder is no class, or splits and classes are mixed.
    """
    paths = [name.split("/") for name in names]
    around = _folders_around(paths, classes)
    tops = sorted({parts[around] for parts in paths if len(parts) > around + 1})
    split_of = {top: split_named(top) for top in tops}
    _check_tops(path, split_of, classes)
    level = around + any(split_of.values())
    inside = [parts for parts in paths if len(parts) > level + 1]
    _check_classes(path, inside, level, classes)
    _check_order(path, inside, level)
    placed = [
        Placed(
            name="/".join(parts),
            inner="/".join(parts[level + 1 :]),
            split=split_of[parts[around]],
            label=_label(parts[level], classes),
        )
        for parts in inside
    ]
    outside = [name for name, parts in zip(names, paths, strict=True) if len(parts) <= level + 1]
    return placed, outside


def _folders_around(paths: list[list[str]], classes: Classes) -> int:
    """How many folders, one in the other, lie around those of the splits or the classes."""
    for level in range(max(map(len, paths), default=0)):
        folders = {parts[level] for parts in paths if len(parts) > level + 1}
        if any(split_named(folder) or _is_class(folder, classes) for folder in folders):
            return level
        if len(folders) != 1:
            break
    return 0


def _is_class(folder: str, classes: Classes) -> bool:
    name = folder.strip().lower()
    return name in classes or name in CONTEMPT or expression_label(name) is not None


def _label(folder: str, classes: Classes) -> int | None:
    name = folder.strip().lower()
    return classes[name] if name in classes else expression_label(name)


def _check_tops(path: Path, split_of: Mapping[str, str | None], classes: Classes) -> None:
    splits = [top for top, split in split_of.items() if split]
    others = [top for top, split in split_of.items() if not split]
    if not splits or not others:
        return
    mixed = [top for top in others if _is_class(top, classes)]
    if mixed:
        raise InputError(
            f"{path} has folders of splits ({splits[0]}) and of classes ({mixed[0]}) side by side: put those "
            "of the classes into those of the splits, or give only one kind"
        )
    raise InputError(
        f"{path / others[0]} holds pictures and is neither a split nor a class, beside {', '.join(splits)}: "
        "move it elsewhere, or give it alone"
    )


def _check_classes(path: Path, inside: list[list[str]], level: int, classes: Classes) -> None:
    folders = sorted({tuple(parts[: level + 1]) for parts in inside})
    unknown = [parts for parts in folders if not _is_class(parts[-1], classes)]
    if unknown:
        folder = unknown[0][-1]
        more = f" (the first of {len(unknown)} such)" if unknown[1:] else ""
        raise InputError(
            f"the folder {path.joinpath(*unknown[0])} is no class that fes knows{more}, rename it or say "
            f"what it is with --alias '{folder}' CLASS{nearest(folder.lower(), EXPRESSIONS)}"
        )
    refused = [parts for parts in folders if parts[-1].strip().lower() in {*CONTEMPT} - {*classes}]
    if refused:
        raise InputError(
            f"{path.joinpath(*refused[0])} is a class that fes does not have: say what becomes of it with "
            "--contempt drop, --contempt unlabelled, or a class, as --contempt disgusted"
        )


def _check_order(path: Path, inside: list[list[str]], level: int) -> None:
    for parts in inside:
        if len(parts) > level + 2 and split_named(parts[level + 1]):
            folder = path.joinpath(*parts[: level + 2])
            raise InputError(
                f"{folder} is the folder of a split in one of a class: put it the other way round, as "
                f"{parts[level + 1]}/{parts[level]}"
            )

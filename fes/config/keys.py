"""Keys of a yaml file of settings: one that means nothing is told with the setting that may be meant.

Whoever misses a key's place (`resolution: 48` for `model: {resolution: 48}`) or has its flag in mind
(`critic-rate`) finds it by its last word, wherever it stands.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence

from fes.commandline import NEAR, likeness
from fes.config import Config
from fes.config.levels import KEY, has_levels
from fes.errors import InputError
from fes.hardware import Hardware

_OF_THE_HARDWARE = [field.name for field in dataclasses.fields(Hardware)]


def check_keys(tree: object, where: str) -> None:
    """Looks for keys that mean nothing, in all settings of a file and in those of its levels.

    Raises:
        InputError: there is one; `where` begins the sentence, the level and the section follow.
    """
    if not isinstance(tree, Mapping):
        return  # which is told where its values are taken
    known = list(_names(Config))
    _check(tree, where, [*known, KEY])
    levels = tree[KEY] if has_levels(tree) else ()
    for number, level in enumerate(levels if isinstance(levels, list) else (), start=1):
        if isinstance(level, Mapping):
            _check(level, f"{where}: level {number}", known)


def _names(kind: type, within: str = "") -> Iterator[str]:
    """The sections and settings of a dataclass, as `loss` and `loss.image_weight`."""
    for name, hint in typing.get_type_hints(kind).items():
        yield f"{within}{name}"
        if dataclasses.is_dataclass(hint):
            yield from _names(hint, f"{within}{name}.")


def _check(tree: Mapping[object, object], where: str, known: Sequence[str], within: str = "") -> None:
    """Raises `InputError` for a key of a section, whose name and a dot are `within`."""
    for key, value in tree.items():
        name = f"{within}{key}"
        if name not in known or "." in str(key):
            raise InputError(f"{where}: unknown key '{key}'{_hint(str(key), known, within)}")
        if isinstance(value, Mapping) and any(each.startswith(f"{name}.") for each in known):
            _check(value, f"{where}: {key}", known, f"{name}.")


def _hint(key: str, known: Sequence[str], within: str) -> str:
    """What may be meant by a key of a section, with its place; or where all settings are listed."""
    asked = key.replace("-", "_")
    last, whole = asked.rpartition(".")[2], f"{within}{asked}"

    def nearness(name: str) -> tuple[bool, bool, float, bool, int]:
        section, _, own = name.rpartition(".")
        alike = max(likeness(each, name) for each in (last, asked, whole))
        return name in (asked, whole), own == last, alike, section == within[:-1], -name.count(".")

    meant = max((*known, *_OF_THE_HARDWARE), key=nearness)
    if nearness(meant)[2] < NEAR:
        return "; 'train.py --help' lists all settings"
    if meant in _OF_THE_HARDWARE:
        flag = f"--{meant.replace('_', '-')}"
        return f"; what is of the hardware is a flag of train.py, and no key: give {flag}"
    return f"; did you mean {_placed(meant, within)}?"


def _placed(name: str, within: str) -> str:
    """A setting as it is written in a section, or from the file's or the level's first column on."""
    *sections, last = name.split(".")
    if sections == within.split(".")[:-1]:
        return f"'{last}'"
    if not sections:
        return f"'{last}', outside all sections"
    return f"'{''.join(f'{each}: {{' for each in sections)}{last}: ...{'}' * len(sections)}'"

"""Configs as nested dicts of plain values, and back: what yaml files and the metadata of weights hold."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path

import yaml

from fes.errors import InputError, nearest

Tree = dict[str, typing.Any]

_MERGE = "tag:yaml.org,2002:merge"
"""What a key `<<` is: it may stand twice, and nothing is lost by it."""


def to_tree(config: typing.Any) -> Tree:
    """A config as nested dicts of plain values, for yaml, json and comparisons."""
    return {
        name: to_tree(value)
        if dataclasses.is_dataclass(value)
        else str(value)
        if isinstance(value, Path)
        else value
        for name, value in vars(config).items()
    }


def begin_alike(one: Tree, other: Tree) -> bool:
    """Whether two trees of a run's settings begin with the networks of the same run: they name it alike, or
    as a neighbour of their own, as levels do, wherever both lie."""
    beside = _neighbour(one)
    return one.get("init_from") == other.get("init_from") or (beside and beside == _neighbour(other)) is True


def _neighbour(tree: Tree) -> str:
    """The name of the run that a tree begins with where it lies beside its own; else nothing."""
    run, other = (Path(tree.get(name) or "") for name in ("run", "init_from"))
    return other.name if other.name and other.parent == run.parent else ""


def flat(tree: Tree, prefix: str = "") -> Tree:
    """The plain values of a tree, by names as `loss.image_weight`."""
    values: Tree = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


def from_tree(kind: type, tree: object, where: str, missing: object = dataclasses.MISSING) -> typing.Any:
    """A config of dataclass `kind` from nested dicts, the inverse of `to_tree`.

    Keys that are absent take their defaults; fields without one take `missing`.

    Raises:
        InputError: an unknown key (with the nearest right one) or a value of another type; `where`
            (a file, say) begins the sentence.
    """
    if not isinstance(tree, Mapping):
        raise InputError(f"{where}: expected keys and values, found {tree!r}")
    hints = typing.get_type_hints(kind)
    for key in tree:
        if key not in hints:
            raise InputError(f"{where}: unknown key '{key}'{nearest(str(key), hints)}")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in tree.items()}
    if missing is not dataclasses.MISSING:
        for spec in dataclasses.fields(kind):
            if spec.default is spec.default_factory is dataclasses.MISSING:
                values.setdefault(spec.name, missing)
    return kind(**values)


def _convert(hint: typing.Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(hint):
        return from_tree(hint, value, where)
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value in choices:
            return value
        raise InputError(f"{where} is {value!r}{nearest(str(value), choices)}")
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    wanted = next(option for option in options if option is not type(None))
    # yaml 1.1 reads 2e-4 as text: only 2.0e-4 is a number to it.
    accepted = {Path: str, float: (int, float, str)}.get(wanted, wanted)
    try:
        if isinstance(value, accepted) and isinstance(value, bool) == (wanted is bool):
            return wanted(value)
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{where} is {value!r}: it must be of type {wanted.__name__}")


class _Loader(yaml.SafeLoader):
    """Reads plain values alone, and refuses a key that stands twice: yaml would
    drop the first without a word.

    It looks at keys as they are written, before those that `<<` brings are put beside them.
    """

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node, found = super().compose_mapping_node(anchor), {}
        for key, _ in node.value:
            first = found.setdefault((key.tag, str(key.value)), key)
            if first is not key and key.tag != _MERGE:
                before, line = (each.start_mark.line + 1 for each in (first, key))
                raise InputError(
                    f"{self.name}: '{key.value}' stands twice, in line {before} and in line {line}, and only "
                    "the last would count: make one of them"
                )
        return node


def read_yaml(path: Path) -> Tree:
    """The contents of a yaml file of settings; an empty file is an empty tree.

    Raises:
        InputError: no such file, not yaml, or a key that stands twice.
    """
    try:
        with path.open() as file:
            return _Loader(file).get_single_data() or {}
    except OSError as error:
        raise InputError(f"cannot read the config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid yaml: {' '.join(str(error).split())}") from None

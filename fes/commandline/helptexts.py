"""The docstrings of settings as help texts: their line breaks are those of the source, not of a terminal.

tyro takes a break for meant where the next line is indented, as are all lines but the first of a docstring.
"""

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterator


def unfold(text: str) -> str:
    """A docstring with each of its paragraphs on one line, for a terminal to break."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def give_help_texts(kind: object) -> None:
    """Gives the fields of a dataclass, and of those that it holds, their docstrings as help for tyro to show.

    Args:
        kind: a dataclass, or a union of some, each of which may be `Annotated`; what else there is is left.
    """
    for each in dict.fromkeys(_dataclasses(kind)):
        texts = _docstrings(each)
        for field in dataclasses.fields(each):
            if field.name in texts and "help" not in field.metadata:
                field.metadata = types.MappingProxyType({**field.metadata, "help": texts[field.name]})


def _dataclasses(kind: object) -> Iterator[type]:
    """The dataclasses in a type, and those in the types of their fields."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
        parts = tuple(typing.get_type_hints(kind).values())
    else:
        parts = typing.get_args(kind)
    for part in parts:
        yield from _dataclasses(part)


def _docstrings(kind: type) -> dict[str, str]:
    """What stands below each field of a class or of what it inherits from, by the field's name."""
    texts: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        try:
            source = inspect.getsource(each)
        except (OSError, TypeError):  # fes without its sources: tyro finds no texts either
            continue
        body = ast.parse(textwrap.dedent(source)).body[0].body
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and _is_text(below):
                texts[field.target.id] = unfold(below.value.value)
    return texts


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )

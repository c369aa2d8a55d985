"""Settings: what they mean."""

import ast
import dataclasses
import inspect
import itertools
import typing
from pathlib import Path

import pytest

from fes import config
from fes.config import Config

SECTIONS = [each for each in vars(config).values() if dataclasses.is_dataclass(each)]


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_setting_says_what_it_means(kind):
    """A text stands after each field, where the command line's --help finds it."""
    (found,) = ast.parse(inspect.getsource(kind)).body
    texts = {
        field.target.id: after.value.value
        for field, after in itertools.pairwise(found.body)
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr)
    }
    hints = typing.get_type_hints(kind)
    settings = [name for name, hint in hints.items() if not dataclasses.is_dataclass(hint)]
    assert list(texts) == settings
    assert all(text.endswith(".") for text in texts.values())


def test_configs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config("d", Path("r")).batch = 3

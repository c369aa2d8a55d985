"""Runs of rising resolution in one file of settings: each begins with the networks of the one before.

    model: {skip: mask}
    levels:
      - {model: {resolution: 48}, clock: {total_kimg: 400}}
      - {model: {resolution: 96}, clock: {total_kimg: 200}, grow_kimg: 40}

Each level has the settings of the file and its own in their place. Its folder is that of the run, and in it
the resolution.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from fes.config import Config, StartConfig
from fes.config.tree import Tree
from fes.errors import InputError

KEY = "levels"
"""The key of a file under which the settings of each level stand."""
_OF_ALL = ("run", "init_from")
"""Settings that a level has by the others."""


def has_levels(tree: object) -> bool:
    """Whether settings are those of several runs."""
    return isinstance(tree, Mapping) and KEY in tree


def split(tree: Tree, where: str) -> list[Tree]:
    """The settings of each level; raises `InputError`, which `where` begins, where they are none."""
    levels = tree[KEY]
    if not isinstance(levels, list) or not levels:
        raise InputError(f"{where}: levels is {levels!r}: it must be a list, the settings of a level each")
    shared = {key: value for key, value in tree.items() if key != KEY}
    for number, level in enumerate(levels, start=1):
        if not isinstance(level, Mapping) or not isinstance(level.get("model"), Mapping):
            raise InputError(
                f"{where}: level {number} is {level!r}: it must have a model with its resolution"
            )
        for key in _OF_ALL:
            if key in level:
                raise InputError(f"{where}: level {number} has its own {key}: give it for all levels")
    return [_merged(shared, level) for level in levels]


def _merged(below: Tree, above: Tree) -> Tree:
    """Two trees of settings; where both have a value, that of `above`."""
    both = {
        key: _merged(below[key], above[key])
        for key in below.keys() & above.keys()
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping)
    }
    return {**below, **above, **both}


def chain(configs: Sequence[Config], where: str) -> list[Config]:
    """The levels with a folder each, the later ones beginning with the networks of the one before.

    Raises:
        InputError: the resolutions do not rise.
    """
    resolutions = [config.model.resolution for config in configs]
    rising = itertools.pairwise(resolutions)
    if None in resolutions or any(first >= then for first, then in rising):
        told = ", ".join(map(str, resolutions))
        raise InputError(
            f"{where}: the levels have the resolutions {told}: each must be higher than the one before"
        )
    chained: list[Config] = []
    for config in configs:
        start = chained[-1].run if chained else config.init_from
        run = config.run / str(config.model.resolution)
        # Single networks are what the first begins with: the others have all of the one before.
        begun = StartConfig(guide=config.start.guide) if chained else config.start
        chained.append(dataclasses.replace(config, run=run, init_from=start, start=begun))
    return chained

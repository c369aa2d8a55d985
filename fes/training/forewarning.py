"""What is doubtful of a run, told before it begins: its guide or its lack, its judges, and its folder."""

import dataclasses
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from fes.config import Config
from fes.config.validity import guided
from fes.evaluation.in_loop import graders_for
from fes.files import check_folder
from fes.judge import doubts
from fes.learning.guide import guide_for
from fes.report import STATS_NAME
from fes.runtime.processes import Runtime

_OF_PEOPLE = ".safetensors", ".yaml", ".log", ".out"
"""What people keep in the folder of a run for it: guides and judges, settings, and what it prints."""


def forewarn(configs: Sequence[Config], runtime: Runtime) -> None:
    """Prints what is doubtful of runs before the first begins, on the main rank; makes nothing.

    Raises:
        InputError: the guide of one, or a judge, is missing or reads other pictures than are drawn; or its
            folder cannot be one.
    """
    found = [runtime.together(partial(_doubts, config, runtime.is_main)) for config in configs]
    for sentence in dict.fromkeys(itertools.chain(*found)):  # levels may share a guide
        print(sentence, flush=True)


def _doubts(config: Config, is_main: bool) -> list[str]:
    guide, asked = guide_for(config, torch.device("cpu")), config.evaluation
    if not is_main:
        return []
    found = doubts(guide.judge, config.start.guide, "guide") if guide else []
    for judge, path in zip(graders_for(config), (asked.judge, asked.second_judge), strict=True):
        found += doubts(judge, path) if judge else []
    check_folder("--run", config.run)
    return found + _without_a_guide(config) + _others_in(config.run)


def _without_a_guide(config: Config) -> list[str]:
    """A note where settings tell how a guide pulls, and none does: of a recipe one may leave it out."""
    if guided(config):
        return []
    sections = {"loss": config.loss, "stages.closing": config.stages.closing}
    told = ", ".join(
        f"{section}.{field.name}"
        for section, settings in sections.items()
        for field in dataclasses.fields(settings)
        if field.name.startswith("guide_") and field.name != "guide_weight"
        if getattr(settings, field.name) != field.default
    )
    return [f"note: no guide pulls in this run, so nothing comes of {told}"] if told else []


def _others_in(run: Path) -> list[str]:
    """A warning where a folder has no run but other things in it: what a run keeps would lie among them."""
    names = sorted(each.name for each in run.iterdir()) if run.is_dir() else []
    others = [name for name in names if not name.startswith(".") and Path(name).suffix not in _OF_PEOPLE]
    if not others or any(name == STATS_NAME or name.startswith(("state-", "snapshot-")) for name in names):
        return []
    told = ", ".join(others[:3]) + (f" and {len(others) - 3:,} more" if others[3:] else "")
    return [f"warning: {run} holds no run, but other things ({told}): take a folder of its own as --run"]

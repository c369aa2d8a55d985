"""Whole runs in the tests' own process, as the command line trains, and every tensor of what they leave."""

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fes.config import Config
from fes.config.tree import to_tree
from fes.saved.state import list_states
from fes.train import main


def written(config: Config, folder: Path) -> str:
    """A config as a yaml file."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(to_tree(config)))
    return str(path)


def run(config: Config, *flags: str) -> int:
    """Trains in this process as the command line does; the exit code."""
    config.run.parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(SystemExit) as ended:
        main(["--config", written(config, config.run.parent), *flags])
    return ended.value.code


def sentence(capsys) -> str:
    """What stderr holds, if it is one line that names the program."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train.py: ")
    return lines[0]


def with_total(config: Config, total_kimg: float, **others: object) -> Config:
    clock = dataclasses.replace(config.clock, total_kimg=total_kimg)
    return dataclasses.replace(config, clock=clock, **others)


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a run's newest state, and of its newest snapshot."""
    state = list_states(run)[-1]
    found = {}
    for path in (state / "networks.safetensors", state / "average.safetensors", max(run.glob("snapshot-*"))):
        found |= {f"{path.stem.split('-')[0]}/{name}": value for name, value in load_file(path).items()}
    kept = torch.load(state / "players.pt", weights_only=True)
    for player, saved in ((name, kept[name]) for name in ("critics", "autoencoder")):
        for place, entry in saved["optimiser"]["state"].items():
            found |= {f"{player}/{place}/{name}": value for name, value in entry.items()}
    return found

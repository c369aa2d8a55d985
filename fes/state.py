"""States: everything that is needed to go on with a run as if it had never stopped.

A state is a folder `state-<kimg>` of a run: the four networks and the average as safetensors, the two
optimisers (loaded with `weights_only`, so that no pickle runs code), and `state.json`. There is no
generator or loader to save: random draws and the order of the data are functions of the step.
"""

import io
import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from fes.config import Config
from fes.errors import InputError
from fes.files import write_folder
from fes.tree import Tree, to_tree

FORMAT = "fes-state-1"
KEEP = 2
FREE = ("data", "run", "stream", "clock", "grid_faces")
"""Settings that a run may change when it goes on: they do not touch the numbers. The data themselves are
compared by their fingerprint. One of them does touch the numbers, `stream.on_bad_sample`: a run that ended
at a damaged sample has to be able to go on without it."""


@dataclass(frozen=True)
class Parts:
    """What a state saves and restores, in place."""

    networks: nn.Module
    average: nn.Module
    optimisers: dict[str, torch.optim.Optimizer]


def save_state(run: Path, parts: Parts, *, step: int, kimg: float, config: Config, fingerprint: str) -> Path:
    """Writes a state, all or nothing, and removes all but the last two; returns its folder.

    Raises:
        InputError: the folder cannot be written, or is full; older states are kept.
    """
    path = run / f"state-{kimg:010.3f}"
    about = {"format": FORMAT, "step": step, "config": to_tree(config), "fingerprint": fingerprint}
    optimisers = io.BytesIO()
    torch.save({name: optimiser.state_dict() for name, optimiser in parts.optimisers.items()}, optimisers)
    contents = {
        "networks.safetensors": save(_tensors(parts.networks)),
        "average.safetensors": save(_tensors(parts.average)),
        "optimisers.pt": optimisers.getvalue(),
        "state.json": json.dumps(about, indent=2).encode(),
    }
    write_folder(path, contents)
    for old in list_states(run)[:-KEEP]:
        shutil.rmtree(old)
    return path


def list_states(run: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted(run.glob("state-*"))


def load_state(path: Path, parts: Parts, config: Config, fingerprint: str) -> int:
    """Restores a state in place and returns its step.

    Raises:
        InputError: the state is damaged, or belongs to another config or other data; the differences
            are named.
    """
    try:
        about = _read_about(path / "state.json")
        _refuse_differences(path, about, config, fingerprint)
        parts.networks.load_state_dict(load((path / "networks.safetensors").read_bytes()))
        parts.average.load_state_dict(load((path / "average.safetensors").read_bytes()))
        saved = _read_optimisers(path / "optimisers.pt")
        for name, optimiser in parts.optimisers.items():
            optimiser.load_state_dict(saved[name])
        return int(about["step"])
    except InputError:
        raise
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(
            f"the state {path} is damaged ({' '.join(str(error).split())}): "
            "remove that folder, and the same command goes on from the one before"
        ) from None


def _read_about(path: Path) -> dict[str, Any]:
    about = json.loads(path.read_bytes())
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path.name} is not of the format {FORMAT}")
    return about


def _read_optimisers(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError):  # torch's sentence advises to load without the guard
        raise ValueError(f"{path.name} holds something other than tensors") from None


def _refuse_differences(path: Path, about: dict[str, Any], config: Config, fingerprint: str) -> None:
    then, now = _flat(about["config"]), _flat(to_tree(config))
    differences = [
        f"{key} was {then.get(key)} and is {now.get(key)}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and key.split(".")[0] not in FREE
    ]
    if differences:
        raise InputError(
            f"the run goes on from {path}, but the config is another: {'; '.join(differences)}. "
            "Take the same settings, or another --run folder"
        )
    if about["fingerprint"] != fingerprint:
        raise InputError(
            f"the run goes on from {path}, which saw other data than --data {config.data}, or with other "
            "weights. Take the same data, or another --run folder"
        )


def _flat(tree: Tree, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}

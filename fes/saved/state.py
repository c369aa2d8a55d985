"""States: everything that is needed to go on with a run as if it had never stopped.

A state is a folder `state-<kimg>` of a run: the four networks and the average as safetensors, what the
players keep (loaded with `weights_only`, so that no pickle runs code), `state.json`, and the sums of all of
them, as `sha256sum --check SHA256SUMS` reads them. There is no generator or loader to save: random draws and
the order of the data are functions of the step.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import nn

from fes.config import Config
from fes.config.tree import Tree, begin_alike, flat, to_tree
from fes.config.validity import may_change
from fes.errors import InputError
from fes.files import of_moments, write_folder
from fes.model.edges import edge_among

FORMAT = "fes-state-3"
SUMS = "SHA256SUMS"
FILES = "networks.safetensors", "average.safetensors", "players.pt", "state.json"
KEEP = 2
FREE = ("data", "run", "stream", "clock", "evaluation", "grid_faces")
"""Settings that a run may change when it goes on: they do not touch the numbers. The data themselves are
compared by their fingerprint. One of them does touch the numbers, `stream.on_bad_sample`: a run that ended
at a damaged sample has to be able to go on without it."""


class Keeper(Protocol):
    """A player, dials or a guide, as far as a state is concerned."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and words that are all it needs to go on; asked for on all ranks at once."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there; raises InputError where that cannot be done with the ranks at hand."""


@dataclass(frozen=True)
class Parts:
    """What a state saves and restores, in place."""

    networks: nn.Module
    average: nn.Module
    keepers: Mapping[str, Keeper]


@dataclass(frozen=True)
class Found:
    """The newest sound state of a run, read."""

    path: Path
    contents: dict[str, bytes]
    """Each file of it."""
    damaged: tuple[str, ...] = ()
    """A sentence on each newer one that is damaged."""

    @property
    def step(self) -> int:
        """The step that is next."""
        return int(json.loads(self.contents["state.json"])["step"])


@dataclass(frozen=True)
class Restored:
    """Where a run goes on."""

    step: int = 0
    """The step that is next."""
    changes: tuple[str, ...] = ()
    """Settings that are no longer as they were, each with both values."""


class _Damaged(Exception):
    """A state is not what was written."""


def save_state(
    run: Path,
    parts: Parts,
    players: Mapping[str, Mapping[str, Any]],
    *,
    step: int,
    kimg: float,
    config: Config,
    fingerprint: str,
) -> Path:
    """Writes a state, all or nothing, and removes all but the last two; returns its folder.

    Args:
        players: what each player's `state_dict` gave, on all ranks together.

    Raises:
        InputError: the folder cannot be written, or is full; older states are kept.
    """
    path = run / f"state-{kimg:010.3f}"
    about = {"format": FORMAT, "step": step, "config": to_tree(config), "fingerprint": fingerprint}
    kept = io.BytesIO()
    torch.save(dict(players), kept)
    written = (
        save(_tensors(parts.networks)),
        save(_tensors(parts.average)),
        kept.getvalue(),
        json.dumps(about, indent=2).encode(),
    )
    contents = dict(zip(FILES, written, strict=True))
    write_folder(path, {**contents, SUMS: _sums(contents)})
    for old in list_states(run)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)  # what stays, on a network's disk, goes next time
    return path


def list_states(run: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return of_moments(run, "state-*")


def has_finished(run: Path, total_kimg: float) -> bool:
    """Whether a run has a state of its end."""
    return any(float(path.name.partition("-")[2]) >= total_kimg for path in list_states(run))


def edge_in(found: Found) -> int | None:
    """The lower resolution whose edges a state's networks have; None where nothing fades in."""
    return edge_among(load(found.contents["networks.safetensors"]))


def find_state(run: Path) -> Found | None:
    """The newest sound state of a run, None where it has none yet.

    A damaged one that is newer is put aside as `damaged-state-<kimg>`; what was left half-written, by a
    process that was killed, is removed.

    Raises:
        InputError: there are states, and none of them is sound or can be read.
    """
    for unfinished in (*run.glob(".state-*.partial"), *run.glob(".state-*.old")):
        shutil.rmtree(unfinished, ignore_errors=True)
    damaged: list[tuple[Path, str]] = []
    for path in reversed(list_states(run)):
        try:
            return Found(path, _read(path), tuple(_put_aside(*each) for each in damaged))
        except _Damaged as damage:
            damaged.append((path, str(damage)))
    if damaged:
        faults = "; ".join(f"{path.name}: {reason}" for path, reason in damaged)
        raise InputError(
            f"no state of the run {run} can be used ({faults}): take another --run folder, or remove these "
            "states to begin anew"
        )
    return None


def restore(
    found: Found, parts: Parts, config: Config, fingerprint: str, allow_change: Collection[str] = ()
) -> Restored:
    """Puts a state's contents into the parts, in place.

    Args:
        allow_change: settings of the config, as `loss.image_weight`, that may differ from the state's.

    Raises:
        InputError: the state belongs to another config, to other data, or to another number of ranks than a
            player can go on with; the differences are named, and no weights were changed.
    """
    about = json.loads(found.contents["state.json"])
    changes = _agreed_on(found.path, about, config, fingerprint, allow_change)
    kept = _read_players(found.contents["players.pt"])
    for name, keeper in parts.keepers.items():
        keeper.load_state_dict(kept[name])
    parts.networks.load_state_dict(load(found.contents["networks.safetensors"]))
    parts.average.load_state_dict(load(found.contents["average.safetensors"]))
    return Restored(found.step, changes)


def foreseen(
    config: Config, fingerprint: str, allow_change: Collection[str] = ()
) -> tuple[Path, tuple[str, ...]] | None:
    """The state that a run would go on from, by what its state.json tells alone, and the changes from there
    on; None where the run would begin.

    Raises:
        InputError: as `restore` does, of its config and its data.
    """
    for path in reversed(list_states(config.run)):
        try:
            about = json.loads((path / "state.json").read_bytes())
        except (OSError, ValueError):  # it is damaged, and would be put aside
            continue
        return path, _agreed_on(path, about, config, fingerprint, allow_change)
    return None


def _agreed_on(
    path: Path, about: Mapping[str, Any], config: Config, fingerprint: str, allowed: Collection[str]
) -> tuple[str, ...]:
    """The changes of settings from a state on, all of them allowed."""
    changes = _changes(path, about["config"], config, allowed)
    if about["fingerprint"] != fingerprint:
        raise InputError(
            f"the run goes on from {path}, which saw other data than --data {config.data}, or with "
            "other weights. Take the same data, or another --run folder"
        )
    return changes


def _read(path: Path) -> dict[str, bytes]:
    """Every file of a state that is as it was written."""
    try:
        lines = (path / SUMS).read_text().splitlines() if (path / SUMS).exists() else []
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        contents = {each.name: each.read_bytes() for each in path.iterdir() if each.name != SUMS}
    except PermissionError as error:
        raise InputError(f"cannot read the state {path}: {error.strerror}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _Damaged(" ".join(str(error).split())) from None
    if not sums:
        raise _Damaged(
            f"it has no {SUMS}: it is of an older fes, and `sha256sum * > {SUMS}` in it makes one, or was cut"
        )
    for name in FILES:
        if name not in sums:
            raise _Damaged(f"{SUMS} does not list {name}")
    for name, digest in sums.items():
        if name not in contents:
            raise _Damaged(f"{name} is missing")
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise _Damaged(f"{name} is not what was written, by its sum in {SUMS}")
    about = json.loads(contents["state.json"])
    if about["format"] != FORMAT:
        raise _Damaged(f"it is of the format {about['format']}, and this fes reads {FORMAT}")
    return contents


def _put_aside(path: Path, reason: str) -> str:
    aside = path.with_name(f"damaged-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(path, aside)
    return f"the state {path} is damaged ({reason}); it is kept as {aside.name}"


def _sums(contents: Mapping[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    return "".join(lines).encode()


def _read_players(content: bytes) -> dict[str, Any]:
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError):  # torch's sentence advises to load without the guard
        raise InputError(
            "the state's players.pt holds something other than tensors: it is not loaded"
        ) from None


def _changes(path: Path, then_tree: Tree, config: Config, allowed: Collection[str]) -> tuple[str, ...]:
    # A setting that the state does not know of came later; its default is what was done before.
    then = flat(to_tree(Config(data="", run=Path()))) | flat(then_tree)
    now = flat(to_tree(config))
    free = {*FREE, "init_from"} if begin_alike(then, now) else FREE
    differing = {
        key: f"{key} was {then.get(key)} and is {now.get(key)}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and key.split(".")[0] not in free
    }
    fixed = [name for name in differing if not may_change(name, then.get(name), now.get(name))]
    refused = [name for name in differing if name in fixed or name not in allowed]
    if refused:
        told = "; ".join(differing[name] for name in refused)
        raise InputError(
            f"the run goes on from {path}, but the config is another: {told}. "
            f"Take the same settings, or another --run folder{_way_out(fixed, differing)}"
        )
    return tuple(differing.values())


def _way_out(fixed: Collection[str], differing: Collection[str]) -> str:
    """What else can be done about settings that differ."""
    if fixed:
        return f": {' and '.join(fixed).replace('_', '-')} cannot change within a run"
    names = " ".join(name.replace("_", "-") for name in differing)
    return f"; to change {'them' if len(differing) > 1 else 'it'} on purpose add --allow-change {names}"


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}

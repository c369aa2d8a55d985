"""Snapshots: the averaged encoder and generator in one safetensors file, for people.

The metadata (text, as safetensors wants it) holds what is needed to use the file with nothing else:
the config, the order of the classes, kimg, the commit of the code, and what data it was trained on.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fes.config import Config, ModelConfig
from fes.config.tree import from_tree, to_tree
from fes.config.validity import check_shape
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.files import make_folder, of_moments, write_file
from fes.model.edges import edge_among, edges_of, fade
from fes.model.ema import Ema
from fes.model.networks import Encoder, Generator, open_edges

FORMAT = "fes-snapshot-1"
_LARGEST_HALF = torch.finfo(torch.float16).max
_AKIN = 0.1
"""Below this cosine of their convolutions networks are taken to have begun apart: such have 0.00."""


@dataclass(frozen=True)
class Snapshot:
    """An autoencoder ready for use, and what is known of it."""

    encoder: Encoder
    generator: Generator
    model: ModelConfig
    kimg: float
    metadata: dict[str, Any]


def snapshot_path(run: Path, kimg: float) -> Path:
    """Where a run keeps the snapshot of a moment; names sort by time."""
    return run / f"snapshot-{kimg:010.3f}.safetensors"


def save_snapshot(
    path: Path, ema: Ema, config: Config, kimg: float, data: dict[str, Any], guide: str = ""
) -> None:
    """Writes a snapshot; `data` says what it was trained on, `guide` the sum of its guide's file.

    Raises:
        InputError: the folder cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(to_tree(config)),
        "classes": json.dumps(EXPRESSIONS),
        "kimg": repr(kimg),
        "commit": code_commit(),
        "data": json.dumps(data),
        "guide": guide,
    }
    shares = {edges.share for edges in edges_of(ema.average) if edges}
    if shares:
        metadata["faded"] = repr(max(shares))
    tensors = {name: tensor.float().contiguous() for name, tensor in ema.average.state_dict().items()}
    write_file(path, save(tensors, metadata))


def find_snapshot(path: Path) -> Path:
    """The snapshot that a user means by a file, or by a run's folder: its newest, or the highest level's.

    Raises:
        InputError: there is none.
    """
    if os.path.isfile(path):  # unlike Path's, not troubled by a name that is too long
        return path
    if not os.path.isdir(path):
        raise InputError(f"no snapshot and no run at {path}")
    levels = sorted((each for each in path.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))
    found = [each for run in (*levels, path) for each in of_moments(run, "snapshot-*.safetensors")]
    if not found:
        raise InputError(
            f"the folder {path} holds no snapshot-<kimg>.safetensors: is it a run that has begun?"
        )
    return found[-1]


def load_snapshot(path: Path) -> Snapshot:
    """Reads a snapshot, or the newest one of a run's folder, on the CPU.

    Raises:
        InputError: there is none, it is damaged, or it is another kind of file.
    """
    path = find_snapshot(path)
    tensors, metadata = _read(path)
    known, model = _read_metadata(path, metadata)
    try:
        networks = nn.ModuleDict({"encoder": Encoder(model), "generator": Generator(model)})
        if edge := edge_among(tensors):
            open_edges(networks, model, edge)
            fade(networks, known["faded"])
        networks.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} holds other weights than its config says: {reason}") from None
    networks.requires_grad_(False).eval()
    return Snapshot(networks["encoder"], networks["generator"], model, known["kimg"], known)


def read_snapshot(path: Path) -> tuple[dict[str, Tensor], ModelConfig]:
    """The tensors of a snapshot's file as they are, and what its networks look like.

    Raises:
        InputError: it is damaged, or another kind of file.
    """
    tensors, metadata = _read(path)
    return tensors, _read_metadata(path, metadata)[1]


def export_snapshot(weights: Sequence[Path], out: Path, note: str = "") -> None:
    """Writes a snapshot, or the newest one of a run's folder, in half precision and with all that is known
    of it, to be given to others: of the places that its config names only their last parts.

    Args:
        weights: several are averaged, number by number (Izmailov et al., 2018; Wortsman et al., 2022): those
            of moments of one run, or of runs that went different ways from one beginning.
        note: a word to whoever uses it, also kept in the metadata.

    Raises:
        InputError: there is no snapshot, it is damaged, a number is too large for half precision, several do
            not fit one another, or `out` cannot be written.
    """
    paths = [find_snapshot(each) for each in weights]
    kept = {path: load_snapshot(path) for path in paths}  # what is given to others can be used
    _check_alike(kept)
    newest = max(kept, key=lambda path: kept[path].kimg)
    (_, metadata), tensors = _read(newest), _mean(paths)
    halves = {name: _halved(newest, name, tensor) for name, tensor in tensors.items()}
    changed = {
        "config": json.dumps(_without_places(json.loads(metadata["config"]))),
        "note": note or metadata.get("note", ""),
        "guide": " ".join(sorted({one for each in kept.values() for one in each.metadata["guide"].split()})),
    }
    if len(paths) > 1:
        changed["averaged"] = json.dumps(sorted(kept[path].kimg for path in paths))
    make_folder(out.parent)
    write_file(out, save(halves, metadata | changed))


def is_export(path: Path) -> bool:
    """Whether a file was written by `export_snapshot`: neither by a run nor by something else."""
    try:
        return "note" in _read(path)[1]
    except InputError:
        return False


def _check_alike(kept: dict[Path, Snapshot]) -> None:
    """Raises `InputError` where the mean of snapshots would be none of anything."""
    (first, one), *others = kept.items()
    for path, other in others:
        pairs = {
            "networks": [(each.model, each.metadata["faded"], _shapes(each)) for each in (one, other)],
            "data": [each.metadata["data"] for each in (one, other)],
        }
        for name, (own, found) in pairs.items():
            if own != found:
                raise InputError(f"{path} is of other {name} than {first}: they have no mean")
        if (cosine := _cosine(_weights(one), _weights(other))) < _AKIN:
            raise InputError(
                f"the weights of {path} and {first} have nothing in common (their cosine is {cosine:.2f}): "
                "average moments of one run, or runs that went different ways from one beginning"
            )


def _shapes(snapshot: Snapshot) -> dict[str, torch.Size]:
    """Networks that have grown have edges as long as these fade."""
    parts = {"encoder": snapshot.encoder, "generator": snapshot.generator}
    return {name: tensor.shape for name, tensor in nn.ModuleDict(parts).state_dict().items()}


def _weights(snapshot: Snapshot) -> Tensor:
    """Those of the convolutions, in float64 [n]; scales and offsets begin alike in any two networks."""
    parts = (*snapshot.encoder.parameters(), *snapshot.generator.parameters())
    return torch.cat([part.detach().flatten().double() for part in parts if part.ndim == 4])


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def _mean(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Tensor by tensor, taken in float64."""
    first, *others = (_read(path)[0] for path in paths)
    mean = {name: tensor.double() for name, tensor in first.items()}
    for tensors in others:
        for name, tensor in tensors.items():
            mean[name] += tensor
    return {name: (total / len(paths)).to(first[name].dtype) for name, total in mean.items()}


def _halved(path: Path, name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        raise InputError(f"{path} cannot be halved: {name} holds numbers beyond {_LARGEST_HALF:,.0f}")
    return half


def _without_places(config: Any) -> Any:
    """A config whose paths and addresses are cut to their last parts: where they lie is nobody's business."""
    if isinstance(config, dict):
        return {key: _without_places(value) for key, value in config.items()}
    if isinstance(config, str):
        return ",".join(part.rstrip("/").rpartition("/")[2] for part in config.split(","))
    return config


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a snapshot; raises `InputError` where it is none."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a snapshot, or is damaged: {error}") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file, but not a snapshot that fes made ({FORMAT})")
    return tensors, metadata


def _read_metadata(path: Path, metadata: dict[str, str]) -> tuple[dict[str, Any], ModelConfig]:
    try:
        known = {key: json.loads(metadata[key]) for key in ("config", "classes", "kimg", "data")}
        known |= {
            "commit": metadata["commit"],
            "kimg": float(known["kimg"]),
            "note": metadata.get("note", ""),
            "guide": metadata.get("guide", ""),
            "faded": float(metadata.get("faded", 0.0)),
        }
        model = from_tree(ModelConfig, known["config"]["model"], "the config")
        if None in (model.resolution, model.channels):
            raise ValueError("it does not tell the shape of the pictures")
        check_shape(model.resolution, model.channels, "--model.")
        return known, model
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # an InputError among them
        raise InputError(
            f"{path} holds a damaged description of its weights ({error}): copy the file again"
        ) from None


def code_commit() -> str:
    """The git commit of this code, with a + where files were changed since; "unknown" outside git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

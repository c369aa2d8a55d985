"""`fes evaluate`: measures the snapshots of a run, or one."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from fes.config import StreamConfig
from fes.data.mixture import open_index
from fes.errors import InputError
from fes.evaluation.embedder import OnnxEmbedder
from fes.evaluation.evaluator import Evaluator
from fes.evaluation.faces import HELD_OUT, load_faces
from fes.evaluation.inception import check_inception, inception_figures
from fes.evaluation.results import FOLDER, is_there, place_of, told, write_results
from fes.files import check_folder, of_moments, sha256_of
from fes.hardware import Hardware
from fes.judge import doubts, load_graders
from fes.learning.guide import check_independent
from fes.machine import keep_memory
from fes.report import progress
from fes.runtime.launcher import Launch
from fes.runtime.precision import set_arithmetic
from fes.saved.snapshot import find_snapshot, load_snapshot
from shards.index import ShardIndex


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure, on which faces, and with what."""

    data: str
    """Folder or address of shards whose held-out faces are drawn. What an address holds is kept in fes/shards
    in $XDG_CACHE_HOME or ~/.cache, at most 20 GB."""
    judge: Path
    """A judge made by 'fes judge train'."""
    run: Path | None = None
    """The folder of a run: each snapshot that has not been measured so before, newest first."""
    weights: Path | None = None
    """Instead of --run, one snapshot-*.safetensors, or a folder of them: its newest."""
    newest: bool = False
    """Of a run, measure the newest snapshot alone."""
    out: Path | None = None
    """Folder for a json and a picture of each snapshot. None: evaluation in the folder of the run; for a file
    given by --weights in the current folder."""
    second_judge: Path | None = None
    """Another judge, better of another kind and seed: what fools the first shows by it."""
    identity: Path | None = None
    """An ONNX network that turns a face in [-1, 1] into a vector. None: eigenfaces of training faces."""
    split: Literal["test", "valid"] = "test"
    """Whose faces are drawn. Where there is no test split, those of valid."""
    faces: int = 500
    """Most faces to draw, each with all seven expressions."""
    gallery: int = 100
    """Most people among whom the right one is looked for."""
    torch_fidelity: bool = False
    """Also FID and KID by the Inception network of torch-fidelity, which it downloads once."""


def evaluate_command(options: EvaluateOptions) -> None:
    """Measures what is asked for, writes it and tells it.

    Raises:
        InputError: an option makes no sense, or a file cannot be used.
    """
    _check(options)
    index = open_index(options.data, StreamConfig())
    found = [_Found.of(path, index, options) for path in _snapshots(options)]
    waiting = [each for each in found if not is_there(each.result, each.made)]
    for each in waiting[:1]:
        check_folder("--out", each.result.parent)  # before anything long begins
    if not waiting:
        print(f"measured so before, see {found[0].result}.json")
    on_gpu = torch.cuda.is_available() and not Launch.read(dict(os.environ)).on_cpu
    evaluator, shape, device = None, None, torch.device("cuda" if on_gpu else "cpu")
    set_arithmetic(Hardware(), device)  # as in a run that asks for nothing else
    keep_memory(device.type)
    for each in waiting:
        snapshot = load_snapshot(each.weights)
        judges = filter(None, (options.judge, options.second_judge))
        check_independent(snapshot.metadata["guide"], *judges)
        if evaluator is None or shape != (snapshot.model.resolution, snapshot.model.channels):
            shape = snapshot.model.resolution, snapshot.model.channels
            evaluator = _evaluator(options, index, *shape, device)
        networks = snapshot.encoder.to(device), snapshot.generator.to(device)
        with progress("measuring", "faces") as tell:
            figures, shown = evaluator.evaluate(*networks, progress=tell)
        figures = {"snapshot": each.weights.name, "kimg": snapshot.kimg, **evaluator.faces.about, **figures}
        write_results(each.result, each.made, figures, shown)
        print(f"{told(each.weights.stem, figures)}\nsee {each.result}.json and .png", flush=True)


def _check(options: EvaluateOptions) -> None:
    for flag, value in (("--faces", options.faces), ("--gallery", options.gallery)):
        if value < 1:
            raise InputError(f"{flag} is {value}: it must be at least 1")
    if (options.run is None) == (options.weights is None):
        raise InputError("give either --run, a run's folder, or --weights, one snapshot")
    if options.run is not None and options.run.is_file():
        raise InputError(f"--run is a run's folder, and {options.run} is a file: give it by --weights")
    if options.newest and options.run is None:
        raise InputError("--newest chooses among the snapshots of --run: leave it out with --weights")
    if options.torch_fidelity:
        check_inception()


@dataclass(frozen=True)
class _Found:
    """A snapshot, where its evaluation belongs, and what it is made with."""

    weights: Path
    result: Path
    made: dict[str, Any]

    @classmethod
    def of(cls, weights: Path, index: ShardIndex, options: EvaluateOptions) -> "_Found":
        folder = options.out or _home_of(weights, options) / FOLDER
        files = {
            "weights": weights,
            "judge": options.judge,
            "second_judge": options.second_judge,
            "identity": options.identity,
        }
        made = {name: sha256_of(path) if path else None for name, path in files.items()}
        made |= {name: getattr(options, name) for name in ("split", "faces", "gallery", "torch_fidelity")}
        made["data"] = index.fingerprint
        return cls(weights, place_of(folder / f"{weights.stem}-{options.split}", made), made)


def _home_of(weights: Path, options: EvaluateOptions) -> Path:
    """Where an evaluation belongs: to the run, or, of a file, to whoever asks for it, who may well be no more
    than a guest in that file's folder."""
    if options.weights is None:
        return options.run
    return Path() if options.weights.is_file() else weights.parent


def _snapshots(options: EvaluateOptions) -> list[Path]:
    """What to measure, newest first."""
    if options.weights is not None:
        return [find_snapshot(options.weights)]
    folder = find_snapshot(options.run).parent
    newest_first = of_moments(folder, "snapshot-*.safetensors")[::-1]
    return newest_first[:1] if options.newest else newest_first


def _evaluator(
    options: EvaluateOptions, index: ShardIndex, resolution: int, channels: int, device: torch.device
) -> Evaluator:
    paths = options.judge, options.second_judge
    judges = load_graders(paths, resolution, channels)  # before all else
    for judge, path in zip(judges, paths, strict=True):
        for sentence in doubts(judge, path) if judge else ():
            print(sentence, flush=True)
    names = HELD_OUT if options.split == "test" else (options.split,)
    return Evaluator(
        load_faces(index, names, resolution, channels, options.faces),
        *judges,
        embedder=OnnxEmbedder(options.identity) if options.identity else None,
        gallery=options.gallery,
        device=device,
        inception=inception_figures if options.torch_fidelity else None,
    )

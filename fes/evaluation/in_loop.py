"""Measuring a run at its snapshots, on the main rank."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fes.config import Config
from fes.data.mixture import Mixture
from fes.errors import InputError
from fes.evaluation.best import best_score, save_best
from fes.evaluation.evaluator import Evaluator
from fes.evaluation.faces import held_out, load_faces
from fes.evaluation.figures import Figures
from fes.evaluation.results import FOLDER, write_results
from fes.expressions import EXPRESSIONS
from fes.files import sha256_of
from fes.judge import Judge, load_graders
from shards.index import ShardIndex

SPLITS = "valid", "test"
"""Where the faces are from, the first that there is: what chooses weights should not also grade them."""
GALLERY = 100
"""Most people among whom the right one is looked for."""
LOGGED = (
    "score",
    "score_expression",
    "score_identity",
    "score_naturalness",
    "expression_accuracy",
    "second_judge_expression_accuracy",
    "judge_accuracy",
    "identity_rank1",
    "identity_cosine",
    "reconstruction_l1",
    "reconstruction_ssim",
    "judge_frechet_distance",
    "judge_kernel_distance",
    "change_outside_regions",
    "truth_l1",
    "truth_ratio",
    "expression_in_code",
)
"""Figures that are told as `evaluation/...` beside the measurements of the loss."""


@dataclass(frozen=True)
class Measured:
    """What there is to tell of one snapshot."""

    figures: Figures
    is_best: bool

    @property
    def logged(self) -> dict[str, float]:
        """The figures to log, by name."""
        known = {name: self.figures.get(name) for name in LOGGED}
        return {f"evaluation/{name}": value for name, value in known.items() if value is not None}

    @property
    def sentence(self) -> str:
        """The most important of them, for people."""
        figures = self.figures
        told = (
            f"read as asked {figures['expression_accuracy']:.3f}, real faces rightly "
            f"{figures['judge_accuracy']:.3f}; person found {figures['identity_rank1']:.3f}"
        )
        if "score" in figures:
            told = f"score {figures['score']:.3f}{', the best yet' if self.is_best else ''}: {told}"
        short = figures["faces"] < figures["faces_asked"]
        return f"{told}{_cut_short(figures) if short else ''}"


def _cut_short(figures: Figures) -> str:
    return f" ({figures['faces']} of {figures['faces_asked']} faces in --evaluation.seconds)"


@dataclass(frozen=True)
class InLoop:
    """What measures the snapshots of one run."""

    run: Path
    evaluator: Evaluator
    made: dict[str, Any]
    """What scores are made with: those that were made otherwise do not compare."""
    seconds: float

    def measure(self, snapshot: Path, kimg: float, encoder: nn.Module, generator: nn.Module) -> "Measured":
        """Measures networks on the device, whose weights were just written to `snapshot`.

        Writes evaluation/<snapshot>-<split>.json and .png, and best.safetensors where the score is the
        highest yet.

        Raises:
            InputError: a file cannot be written.
        """
        figures, shown = self.evaluator.evaluate(encoder, generator, self.seconds)
        about = self.evaluator.faces.about
        figures = {"snapshot": snapshot.name, "kimg": kimg, **about, **figures}
        write_results(self.run / FOLDER / f"{snapshot.stem}-{about['split']}", self.made, figures, shown)
        best, score = best_score(self.run, self.made), figures.get("score")
        is_best = score is not None and (best is None or score > best)
        if is_best:
            save_best(self.run, snapshot, figures, self.made)
        return Measured(figures, is_best)


def evaluation_for(
    config: Config, mixture: Mixture, device: torch.device, is_main: bool = True
) -> InLoop | None:
    """What measures the snapshots of a run on its main rank; None on others, or where no judge is given.

    Raises:
        InputError: a judge or the faces cannot be used.
    """
    asked = config.evaluation
    if asked.judge is None or not is_main:
        return None
    shape = config.model.resolution, config.model.channels
    judges = graders_for(config)
    index = ShardIndex.load(asked.data) if asked.data else _of_the_run(mixture)
    faces = load_faces(index, SPLITS, *shape, asked.faces, config.stream.on_bad_sample == "skip")
    files = {"judge": asked.judge, "second_judge": asked.second_judge}
    made = {name: sha256_of(path) if path else None for name, path in files.items()}
    made |= {**faces.about, "faces": asked.faces, "gallery": GALLERY}
    return InLoop(config.run, Evaluator(faces, *judges, gallery=GALLERY, device=device), made, asked.seconds)


def graders_for(config: Config) -> list[Judge | None]:
    """The judge and the second judge of a run, None where there is none.

    Raises:
        InputError: one cannot be used, or reads pictures of another shape than the run draws.
    """
    asked, model = config.evaluation, config.model
    return load_graders([asked.judge, asked.second_judge], model.resolution, model.channels)


def _of_the_run(mixture: Mixture) -> ShardIndex:
    """The first data set of the run whose held-out pictures have labels."""
    for index in mixture.sets:
        if set(SPLITS) & set(index.splits):
            counts = index.counts(held_out(index, SPLITS))
            if any(counts.get(name) for name in EXPRESSIONS):
                return index
    raise InputError(
        f"{mixture.place} has no held-out pictures with labels to evaluate on: name a data set by "
        "--evaluation.data, or leave --evaluation.judge out"
    )

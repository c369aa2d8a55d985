"""From readings to figures: shares, means and distances, each with what it is to be compared with."""

from collections.abc import Mapping

import numpy as np

from fes.evaluation.distances import LEAST, frechet_distance, kernel_distance
from fes.evaluation.identity import cosine, rank_one
from fes.evaluation.probe import largest_share, probe_accuracy
from fes.expressions import EXPRESSIONS, UNLABELLED

Figures = dict[str, object]


def expression_figures(readings: Mapping[str, np.ndarray], label: np.ndarray) -> Figures:
    """How often a judge reads what was asked for: of all, by target, and by the source's own class."""
    probability = readings["probability"]  # [faces, targets, classes]
    target = np.arange(len(EXPRESSIONS))
    right = probability.argmax(2) == target
    asked = probability[:, target, target]
    figures: Figures = {
        "expression_accuracy": float(right.mean()),
        "expression_accuracy_by_class": by_class(right.mean(0)),
        "target_probability": float(asked.mean()),
        "target_probability_by_class": by_class(asked.mean(0)),
        "expression_table": {
            name: by_class(right[label == at].mean(0)) if (label == at).any() else None
            for at, name in enumerate(EXPRESSIONS)
        },
    }
    if "second" in readings:
        second = readings["second"] == target
        figures |= {
            "second_judge_expression_accuracy": float(second.mean()),
            "second_judge_expression_accuracy_by_class": by_class(second.mean(0)),
            "judges_agreement": float((readings["second"] == probability.argmax(2)).mean()),
        }
    return figures


def judge_figures(told: np.ndarray, label: np.ndarray, prefix: str = "") -> Figures:
    """How often a judge is right on real pictures: the ceiling. `told` and `label` are int64 [pictures]."""
    right, known = told == label, label != UNLABELLED
    each = [right[label == at].mean() if (label == at).any() else np.nan for at in range(len(EXPRESSIONS))]
    return {
        f"{prefix}judge_accuracy": float(right[known].mean()),
        f"{prefix}judge_accuracy_by_class": by_class(np.array(each)),
        f"{prefix}judge_balanced_accuracy": float(np.nanmean(each)),
    }


def identity_figures(query: np.ndarray, source: np.ndarray, true: np.ndarray | None) -> Figures:
    """Whether the person is found again, among the sources or, where they are known, among true pictures.

    Args:
        query: of synthesised faces, [faces, targets, numbers].
        source: of the sources, [faces, numbers].
        true: of the same people with each expression, [faces, targets, numbers]; None: not known of all.
    """
    among_sources = rank_one(query, source)
    near, found = cosine(query, source), among_sources
    figures: Figures = {"gallery": len(source), "gallery_of": "sources"}
    if true is not None and len(true) == len(query):
        # An expression may move a face further than another person does: in one expression people compare.
        targets = range(query.shape[1])
        found = np.stack([rank_one(query[:, each], true[:, each]) for each in targets], 1)
        figures |= {
            "gallery_of": "true faces with the asked expression",
            "identity_rank1_among_sources": float(among_sources.mean()),
            "identity_rank1_of_true_faces_among_sources": float(rank_one(true, source).mean()),
        }
    return figures | {
        "identity_rank1": float(found.mean()),
        "identity_rank1_by_class": by_class(found.mean(0)),
        "identity_cosine": float(near.mean()),
        "identity_cosine_by_class": by_class(near.mean(0)),
    }


def reconstruction_figures(readings: Mapping[str, np.ndarray]) -> Figures:
    """How near faces that are drawn with their own expression come to the source."""
    return {"reconstruction_l1": mean(readings["l1"]), "reconstruction_ssim": mean(readings["ssim"])}


def change_figures(readings: Mapping[str, np.ndarray]) -> Figures:
    """How much changes, where an expression shows and elsewhere."""
    return {
        "change_inside_regions": mean(readings["inside"]),
        "change_outside_regions": mean(readings["outside"]),
    }


def truth_figures(readings: Mapping[str, np.ndarray]) -> Figures:
    """The error to the true picture, beside that of copying the source."""
    if "truth" not in readings:
        return {}
    truth, copy = readings["truth"], readings["copy"]
    figures: Figures = {"truth_pairs": int(np.isfinite(truth).sum())}
    if figures["truth_pairs"]:
        drawn, copied = float(np.nanmean(truth)), float(np.nanmean(copy))
        figures |= {"truth_l1": drawn, "copy_l1": copied, "truth_ratio": drawn / copied if copied else None}
    return figures


def dealt(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces and the classes to draw them with, so that each class is as frequent as among the sources.

    Features tell classes apart: other shares of them would be a distance already. Each labelled face gets
    the class of the next one; two int64 [labelled faces].
    """
    known = np.flatnonzero(label != UNLABELLED)
    return np.roll(known, 1), label[known]


def natural_figures(drawn: np.ndarray, real: np.ndarray, average: np.ndarray, other: np.ndarray) -> Figures:
    """Distances of synthesised faces from other real ones in the judge's features, and two to compare with.

    Args:
        drawn: features of synthesised faces, [faces, features], their classes dealt.
        real: of real faces with the same classes.
        average: of the mean face of each of these classes.
        other: of other real pictures, [pictures, features].
    """
    if min(len(drawn), len(other)) < LEAST:
        return {}
    figures: Figures = {"natural_faces": len(drawn), "natural_others": len(other)}
    for name, rows in {"": drawn, "_real": real, "_mean_face": average}.items():
        figures[f"judge_frechet_distance{name}"] = frechet_distance(rows, other)
        figures[f"judge_kernel_distance{name}"] = kernel_distance(rows, other)
    return figures


def leak_figures(code: np.ndarray, pixels: np.ndarray, label: np.ndarray, person: np.ndarray) -> Figures:
    """What a plane reads of the source's expression in its code, and in as many numbers of its eigenfaces.

    The probe learns from every other person and is tested on the rest.
    """
    known = label != UNLABELLED
    taught = person[known] % 2 == 0
    if len(np.unique(label[known][taught])) < 2 or taught.all():
        return {}
    return {
        "expression_in_code": probe_accuracy(code[known], label[known], taught),
        "expression_in_eigenfaces": probe_accuracy(pixels[known], label[known], taught),
        "expression_by_chance": largest_share(label[known][~taught]),
    }


def by_class(values: np.ndarray) -> dict[str, float | None]:
    """A figure for each class, None where it is not known."""
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(EXPRESSIONS, values, strict=True)
    }


def mean(values: np.ndarray) -> float | None:
    """The mean of those that are known."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None

"""The one number that `best.safetensors` follows."""

import math
from collections.abc import Mapping
from typing import Any

from fes.expressions import EXPRESSIONS


def score(figures: Mapping[str, Any]) -> dict[str, float]:
    """The harmonic mean of three terms, each 0 for the cheat that it is there for and 1 for real pictures.

    - expression: (accuracy - 1/7) / (the judge's accuracy on real pictures - 1/7). A generator that copies
      its input is read as asked once in seven times. With a second judge it is the lower of the two, so
      that a pattern that only one of them sees gains nothing.
    - identity: (rank-1 - 1/N) / (1 - 1/N), in a gallery of N. One that draws the same face for everybody
      finds the right person once in N times.
    - naturalness: (M - F) / (M - R), where F is the root of the judge's Frechet distance of the synthesised
      faces, M that of the mean face of each class, and R that of as many real faces: what so few make it
      wrong by. The root, as the formula gives a squared distance, in which all but the worst look alike.

    Each is cut to 0..1. The harmonic mean lies near the least of them: nothing makes up for what is missing.

    Returns:
        `score` and its terms; empty where one of them could not be measured.
    """
    names = "judge_frechet_distance", "judge_frechet_distance_mean_face", "judge_frechet_distance_real"
    if any(figures.get(name) is None for name in (*names, "identity_rank1")) or figures["gallery"] < 2:
        return {}
    drawn, worst, best = (math.sqrt(figures[name]) for name in names)
    terms = {
        "expression": min(_expression(figures, prefix) for prefix in _judges(figures)),
        "identity": _share(figures["identity_rank1"], 1 / figures["gallery"], 1.0),
        "naturalness": _share(worst - drawn, 0.0, worst - best),
    }
    whole = len(terms) / sum(1 / each for each in terms.values()) if all(terms.values()) else 0.0
    return {"score": whole, **{f"score_{name}": value for name, value in terms.items()}}


def _judges(figures: Mapping[str, Any]) -> list[str]:
    return ["", "second_judge_"] if "second_judge_expression_accuracy" in figures else [""]


def _expression(figures: Mapping[str, Any], prefix: str) -> float:
    ceiling = figures["second_judge_accuracy" if prefix else "judge_accuracy"]
    return _share(figures[f"{prefix}expression_accuracy"], 1 / len(EXPRESSIONS), ceiling)


def _share(value: float, nothing: float, everything: float) -> float:
    """How far a value has come from nothing up to everything, in 0..1; 0 where there is nothing between."""
    if everything <= nothing:
        return 0.0
    return min(1.0, max(0.0, (value - nothing) / (everything - nothing)))

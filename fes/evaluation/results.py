"""What an evaluation leaves: a json and a picture; and how it is told on the terminal."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fes.expressions import EXPRESSIONS
from fes.files import write_file
from fes.pictures import sheet, write_picture

FORMAT = "fes-evaluation-1"
FOLDER = "evaluation"
"""Of a run, where its evaluations lie."""
TILE = 96
"""Pictures on the sheet are enlarged to so many pixels."""
NAME, COLUMN = 26, 10
"""Widths of the table's columns."""


def write_results(path: Path, made: Mapping[str, Any], figures: Mapping[str, Any], shown: Tensor) -> None:
    """Writes `path`.json and `path`.png.

    Args:
        made: what was measured with what: equal for evaluations that compare.
        shown: uint8 [faces, 1 + classes, channels, height, width].

    Raises:
        InputError: they cannot be written.
    """
    rows = sheet(shown.numpy(), ("source", *EXPRESSIONS), max(TILE, shown.shape[-1]))
    write_picture(rows, path.with_name(f"{path.name}.png"))
    text = json.dumps({"format": FORMAT, **figures, "made_with": made}, indent=2)
    write_file(path.with_name(f"{path.name}.json"), f"{text}\n".encode())


def place_of(path: Path, made: Mapping[str, Any]) -> Path:
    """`path`, or with a number behind it: where no evaluation lies that was made with something else."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(
        place for place in itertools.chain([path], numbered) if _read(place).get("made_with", made) == made
    )


def is_there(path: Path, made: Mapping[str, Any]) -> bool:
    """Whether `path`.json is the whole evaluation that would be made again."""
    found = _read(path)
    return found.get("made_with") == made and found.get("faces", 0) == found.get("faces_asked")


def _read(path: Path) -> dict[str, Any]:
    """What `path`.json holds; nothing where it is none of ours."""
    try:
        found = json.loads(path.with_name(f"{path.name}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def told(name: str, figures: Mapping[str, Any]) -> str:
    """The figures as a short table."""
    lines = [
        f"{name}: {figures['kimg']:g} kimg, {figures['faces']} faces, {figures['seconds']:.1f} s",
        _line("", ["all", *EXPRESSIONS]),
    ]
    rows = {
        "read as asked": "expression_accuracy",
        "  by the second judge": "second_judge_expression_accuracy",
        "real faces, read rightly": "judge_accuracy",
        "  by the second judge ": "second_judge_accuracy",
        "probability of the asked": "target_probability",
        f"person found of {figures['gallery']}": "identity_rank1",
        "cosine to the source": "identity_cosine",
    }
    lines += [
        _line(title, [figures[key], *figures[f"{key}_by_class"].values()])
        for title, key in rows.items()
        if key in figures
    ]
    return "\n".join([*lines, *_sentences(figures)])


def _line(title: str, cells: Sequence[Any]) -> str:
    return f"{title:<{NAME}}" + "".join(f"{_number(cell):>{COLUMN}}" for cell in cells)


def _number(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.3f}"


def _sentences(figures: Mapping[str, Any]) -> list[str]:
    shapes = {
        "reconstruction": "L1 {reconstruction_l1:.4f}, SSIM {reconstruction_ssim:.3f}",
        "error to the true face": "{truth_l1:.4f}, {truth_ratio:.2f} times that of a copy, {copy_l1:.4f}",
        "change": "{change_inside_regions:.4f} in the regions of brows, eyes and mouth, "
        "{change_outside_regions:.4f} outside",
        "judge's Frechet distance": "{judge_frechet_distance:.3g} (real faces "
        "{judge_frechet_distance_real:.3g}, mean faces {judge_frechet_distance_mean_face:.3g})",
        "judge's kernel distance": "{judge_kernel_distance:.3g} (real faces "
        "{judge_kernel_distance_real:.3g}, mean faces {judge_kernel_distance_mean_face:.3g})",
        "expression in the code": "{expression_in_code:.3f} (eigenfaces {expression_in_eigenfaces:.3f}, "
        "chance {expression_by_chance:.3f})",
        "Inception": "FID {inception_fid:.2f}, KID {inception_kid:.4f}",
        "score": "{score:.3f} (expression {score_expression:.3f}, identity {score_identity:.3f}, naturalness "
        "{score_naturalness:.3f})",
    }
    known = {name: value for name, value in figures.items() if value is not None}
    return [f"{title:<{NAME}}{text}" for title, shape in shapes.items() if (text := _filled(shape, known))]


def _filled(shape: str, figures: Mapping[str, Any]) -> str | None:
    """The text with its figures, None where one is missing."""
    try:
        return shape.format_map(figures)
    except KeyError:
        return None

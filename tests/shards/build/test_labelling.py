from pathlib import Path

import numpy as np
import pytest
import torch

from fes.errors import InputError
from fes.judge import new_judge, save_judge
from shards.build.gather import gather, stamp_of, start_over_where_other
from shards.build.labelling import JudgeLabeller
from shards.schema import no_progress
from shards.sources.drawn import DrawnOptions, draw
from tests.shards.made_up import GONE, MadeUpSource


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A judge that takes every picture for a sad one, with a probability that is the same for all."""
    judge = new_judge("plain", 64, 3, seed=0)
    with torch.no_grad():
        judge.classify.weight.zero_()
        judge.classify.bias.copy_(torch.tensor([0.0, 0, 0, 0, 2, 0, 0]))
    path = tmp_path / "judge.safetensors"
    save_judge(path, judge)
    return path


SURE = float(np.exp(2) / (np.exp(2) + 6))


def labelled(weights: Path, confidence: float, folder: Path) -> list[tuple[int, dict]]:
    source = MadeUpSource(["train"] * 4, others={2: GONE})
    samples = [*source.samples]
    for at in (1, 2, 3):
        object.__setattr__(samples[at], "label", -1)
    start_over_where_other(folder, stamp_of(source))
    gathered = gather(source, folder, workers=1, progress=no_progress)
    given = JudgeLabeller(weights, confidence)(samples, gathered, None, no_progress)
    return [(each.label, each.details) for each in given]


def test_pictures_without_a_class_get_the_one_that_the_judge_sees(weights: Path, tmp_path: Path) -> None:
    given = labelled(weights, 0.5, tmp_path / "work")
    assert [label for label, _ in given] == [0, 4, -1, 4]
    assert given[1][1] == {"row": 2, "judge_class": "sad", "judge_confidence": round(SURE, 4)}


def test_pictures_that_have_a_class_or_cannot_be_read_stay_as_they_are(weights: Path, tmp_path: Path) -> None:
    given = labelled(weights, 0.0, tmp_path / "work")
    assert given[0] == (0, {"row": 1})
    assert given[2] == (-1, {"row": 3})


def test_below_the_confidence_asked_for_a_picture_stays_unlabelled_but_tells_what_was_seen(
    weights: Path, tmp_path: Path
) -> None:
    given = labelled(weights, SURE + 0.01, tmp_path / "work")
    assert [label for label, _ in given] == [0, -1, -1, -1]
    assert given[3][1]["judge_class"] == "sad"


def test_what_is_no_judge_or_no_probability_is_told_before_anything_is_read(
    weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is not a judge"):
        JudgeLabeller(tmp_path / "no.safetensors", 0.5)
    with pytest.raises(InputError, match="--confidence is a probability between 0 and 1, not 80"):
        JudgeLabeller(weights, 80)


def test_a_drawn_face_is_read_at_the_judges_size(weights: Path, tmp_path: Path) -> None:
    source = draw(DrawnOptions(1, 0, 0, resolution=48))
    start_over_where_other(tmp_path / "work", stamp_of(source))
    gathered = gather(source, tmp_path / "work", workers=1, progress=no_progress)
    assert [
        each.label for each in JudgeLabeller(weights, 0)(source.samples, gathered, None, no_progress)
    ] == [*range(7)]

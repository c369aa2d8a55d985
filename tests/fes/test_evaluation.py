"""Measures whose right answer is known: of networks that copy, and of networks that know the truth."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from fes.errors import InputError
from fes.evaluation import evaluate, held_out
from fes.expressions import EXPRESSIONS
from fes.judge import Judge, new_judge
from fes.pictures import to_float
from fes.snapshot import Snapshot, load_snapshot
from shards.build.writer import BuildOptions, build
from shards.drawing.faces import render
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw


class Copy(nn.Module):
    """A generator that shows the source, whatever is asked."""

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return z


class Truth(nn.Module):
    """A generator that looks up who the source shows and draws that person as asked."""

    def __init__(self, index: ShardIndex) -> None:
        super().__init__()
        split = index.split("test")
        self.people = {split.image(p).tobytes(): split.details(p)["numbers"] for p in range(split.samples)}

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        sources = z.mul(127.5).add(127.5).round().to(torch.uint8).numpy()
        numbers = np.array([self.people[source.tobytes()] for source in sources], np.float32)
        drawn = render(numbers, label.numpy(), 48, 1)
        return to_float(torch.from_numpy(drawn).permute(0, 3, 1, 2))


def results(generator: nn.Module, judge: Judge, index: ShardIndex, model, faces: int = 500) -> dict:
    return evaluate(Snapshot(nn.Identity(), generator, model, 7.5, {}), judge, index, faces)


def test_a_copy_errs_as_much_as_a_copy_and_is_read_as_asked_by_chance(drawn_judge, drawn_index, tiny_model):
    found = results(Copy(), drawn_judge, drawn_index, tiny_model)
    assert found["truth_l1"] == found["copy_l1"] > 0.005
    assert found["reconstruction_l1"] == 0
    # Each face is asked for seven expressions and read as one of them, whichever it is.
    assert found["expression_accuracy"] == pytest.approx(1 / 7)
    assert (found["kimg"], found["faces"]) == (7.5, 42)


def test_drawing_the_truth_has_no_error_and_the_judges_own_accuracy(drawn_judge, drawn_index, tiny_model):
    found = results(Truth(drawn_index), drawn_judge, drawn_index, tiny_model)
    assert found["truth_l1"] == 0
    assert found["reconstruction_l1"] == 0
    assert found["copy_l1"] > 0.005
    # Every test person is there in all seven expressions, so the true faces are the test faces.
    assert found["expression_accuracy"] == pytest.approx(found["judge_accuracy"])
    right, labelled = drawn_judge.score([drawn_index.split("test")])
    assert found["judge_accuracy"] == pytest.approx(right / labelled)
    by_class = found["expression_accuracy_by_class"]
    assert tuple(by_class) == EXPRESSIONS
    assert sum(by_class.values()) / 7 == pytest.approx(found["expression_accuracy"])


def test_an_untrained_snapshot_is_measured_on_as_many_faces_as_asked(drawn_judge, drawn_index, snapshot_file):
    found = evaluate(load_snapshot(snapshot_file), drawn_judge, drawn_index, faces=5)
    assert found["faces"] == 5
    assert found["truth_l1"] > found["copy_l1"]
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))


def test_the_test_split_is_held_out_or_else_the_validation_split(drawn_index, tmp_path):
    assert held_out(drawn_index) == "test"
    for valid in (1, 0):
        options = DrawnOptions(train_identities=1, valid_identities=valid, test_identities=0)
        build(draw(options), tmp_path / str(valid), BuildOptions(workers=1))
    assert held_out(ShardIndex.load(tmp_path / "1")) == "valid"
    with pytest.raises(InputError, match="no test or valid split"):
        held_out(ShardIndex.load(tmp_path / "0"))


def test_a_judge_of_another_shape_is_refused(drawn_index, snapshot_file):
    with pytest.raises(InputError, match=r"the judge reads pictures of 64 px .* and the weights draw 48 px"):
        evaluate(load_snapshot(snapshot_file), new_judge(64, 1, seed=0), drawn_index, 5)


@pytest.mark.parametrize("shape", [(96, 3), (48, 1)])
def test_data_of_another_shape_are_read_in_that_of_the_weights(shape, tiny_model, tmp_path):
    resolution, channels = shape
    options = DrawnOptions(
        train_identities=0, valid_identities=0, test_identities=2, resolution=64, channels=4 - channels
    )
    build(draw(options), tmp_path / "data", BuildOptions(workers=1))
    index = ShardIndex.load(tmp_path / "data")
    model = dataclasses.replace(tiny_model, resolution=resolution, channels=channels)
    found = results(Copy(), new_judge(*shape, seed=0).eval(), index, model)
    assert found["faces"] == 14
    assert found["reconstruction_l1"] == 0
    # The truth goes the way of the data: a copy of the neutral face errs nowhere but in the expression.
    natural = results(
        Copy(),
        new_judge(64, 4 - channels, seed=0).eval(),
        index,
        dataclasses.replace(tiny_model, resolution=64, channels=4 - channels),
    )
    assert found["truth_l1"] == pytest.approx(natural["truth_l1"], rel=0.2)


def test_held_out_pictures_without_labels_are_refused(unlabelled_folder, drawn_judge, snapshot_file):
    with pytest.raises(InputError, match="have no labels to compare with"):
        evaluate(load_snapshot(snapshot_file), drawn_judge, ShardIndex.load(unlabelled_folder), 5)

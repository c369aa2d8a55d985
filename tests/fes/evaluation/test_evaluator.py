"""Figures whose right value is known: of generators that copy, and of one that knows the truth."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from fes.errors import InputError
from fes.evaluation.evaluator import Evaluator, joined, mean_faces
from fes.evaluation.faces import Pictures, load_faces
from fes.evaluation.figures import dealt
from fes.expressions import EXPRESSIONS
from fes.judge import new_judge
from fes.saved.snapshot import load_snapshot
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw
from tests.fes.evaluation.generators import SOURCE, Copy, Truth


@pytest.fixture(scope="module")
def of_a_copy(evaluator):
    return evaluator.evaluate(SOURCE, Copy())


@pytest.fixture(scope="module")
def of_the_truth(evaluator, drawn_index):
    return evaluator.evaluate(SOURCE, Truth(drawn_index.split("test")))


def test_a_copy_errs_as_much_as_a_copy_and_is_read_as_asked_by_chance(of_a_copy, drawn_judge, faces):
    found, shown = of_a_copy
    assert found["truth_l1"] == found["copy_l1"] > 0.005
    assert (found["truth_ratio"], found["truth_pairs"]) == (1, 42 * 7)
    assert (found["reconstruction_l1"], found["reconstruction_ssim"]) == (0, pytest.approx(1))
    assert (found["change_inside_regions"], found["change_outside_regions"]) == (0, 0)
    # Each face is asked for seven expressions and read as one of them, whichever it is.
    assert found["expression_accuracy"] == pytest.approx(1 / 7)
    read = drawn_judge.read(faces.held.image).numpy()
    happy = (read[faces.held.label == 3] == 0).mean()
    assert found["expression_table"]["happy"]["angry"] == pytest.approx(happy)
    shares = drawn_judge.probabilities(faces.held.image).mean(0).tolist()
    assert [*found["target_probability_by_class"].values()] == pytest.approx(shares)
    assert (found["faces"], found["faces_asked"], found["gallery"]) == (42, 42, 6)
    assert torch.equal(shown, faces.held.image[:10, None].expand(-1, 8, -1, -1, -1))


def test_drawing_the_truth_has_no_error_and_the_judges_own_accuracy(of_the_truth, drawn_judge, drawn_index):
    found, shown = of_the_truth
    assert (found["truth_l1"], found["truth_ratio"], found["reconstruction_l1"]) == (0, 0, 0)
    assert found["copy_l1"] > 0.005
    assert found["change_inside_regions"] > 5 * found["change_outside_regions"] > 0
    assert (found["identity_rank1"], found["gallery_of"]) == (1, "true faces with the asked expression")
    assert found["identity_rank1_among_sources"] == found["identity_rank1_of_true_faces_among_sources"]
    # Every test person is there in all seven expressions, so the true faces are the test faces.
    assert found["expression_accuracy"] == pytest.approx(found["judge_accuracy"])
    right, labelled = drawn_judge.score([drawn_index.split("test")])
    assert found["judge_accuracy"] == pytest.approx(right / labelled)
    assert found["expression_accuracy_by_class"] == pytest.approx(found["judge_accuracy_by_class"])
    assert tuple(found["expression_table"]) == EXPRESSIONS
    assert shown.shape == (10, 8, 1, 48, 48)


def test_figures_are_plain_values_for_json(of_the_truth):
    assert json.loads(json.dumps(of_the_truth[0])) == of_the_truth[0]


def test_an_expression_that_stands_in_the_code_is_found(of_a_copy):
    found = of_a_copy[0]  # its code is the picture
    assert found["expression_in_code"] > 0.4 > found["expression_by_chance"]
    assert found["expression_in_eigenfaces"] > 0.4


def test_without_time_some_faces_are_measured_and_it_is_told_and_random_draws_are_left_alone(evaluator):
    before = torch.get_rng_state()
    found, shown = evaluator.evaluate(SOURCE, Copy(), seconds=0)
    assert (found["faces"], found["faces_asked"], len(shown)) == (32, 42, 10)
    assert found["expression_accuracy"] == pytest.approx(1 / 7)
    assert "score" in found
    assert torch.equal(torch.get_rng_state(), before)


def test_an_untrained_snapshot_is_measured(drawn_judge, drawn_index, snapshot_file):
    snapshot = load_snapshot(snapshot_file)
    some = load_faces(drawn_index, ("test",), 48, 1, 5)
    found, _ = Evaluator(some, drawn_judge, gallery=4).evaluate(snapshot.encoder, snapshot.generator)
    assert (found["faces"], found["gallery"]) == (5, 4)
    assert found["truth_l1"] > found["copy_l1"]
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))


def test_people_without_a_true_picture_are_looked_for_among_the_sources(faces, drawn_judge):
    alone = dataclasses.replace(faces, truth=None, count=7)
    found, _ = Evaluator(alone, drawn_judge).evaluate(SOURCE, Copy())
    assert (found["identity_rank1"], found["gallery_of"]) == (1, "sources")
    assert "truth_l1" not in found


@pytest.mark.parametrize("shape", [(96, 3), (48, 1)])
def test_data_of_another_shape_are_read_in_that_of_the_weights(shape, tmp_path):
    options = DrawnOptions(
        train_identities=0, valid_identities=0, test_identities=2, resolution=64, channels=4 - shape[1]
    )
    build(draw(options), tmp_path / "data", BuildOptions(workers=1))
    index, errors = ShardIndex.load(tmp_path / "data"), []
    for each in (shape, (64, 4 - shape[1])):
        evaluator = Evaluator(
            load_faces(index, ("test",), *each, 20), new_judge("plain", *each, seed=0).eval()
        )
        found, _ = evaluator.evaluate(SOURCE, Copy())
        assert (found["faces"], found["reconstruction_l1"]) == (14, 0)
        errors.append(found["truth_l1"])
    # The truth goes the way of the data: a copy errs nowhere but in the expression.
    assert errors[0] == pytest.approx(errors[1], rel=0.2)


def test_a_judge_of_another_shape_is_refused(faces, drawn_judge):
    other = new_judge("plain", 64, 1, seed=0)
    for judges in ((other,), (drawn_judge, other)):
        with pytest.raises(InputError, match=r"the judge reads pictures of 64 px .* the weights draw 48 px"):
            Evaluator(faces, *judges)


def test_the_mean_face_of_a_class_is_that_of_its_pictures():
    image = torch.tensor([0, 10, 21, 255], dtype=torch.uint8).reshape(4, 1, 1, 1)
    found = mean_faces(Pictures(image, torch.tensor([2, 2, 2, 5])))
    assert found.flatten().tolist() == [72, 72, 10, 72, 72, 255, 72]  # all of them where there is none


def test_classes_are_dealt_to_other_people_as_often_as_they_are_there():
    label = np.array([3, -1, 0, 5])
    faces, asked = dealt(label)
    assert (faces.tolist(), asked.tolist()) == ([3, 0, 2], [3, 0, 5])


def test_readings_are_joined_where_they_are():
    parts = [{"a": np.ones((2, 3))}, {"a": np.zeros((1, 3)), "b": np.ones(1)}]
    assert {name: value.shape for name, value in joined(parts).items()} == {"a": (3, 3), "b": (1,)}

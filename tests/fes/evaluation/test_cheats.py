"""Generators that please one figure and fail another: none of them gets a good score."""

import pytest

from fes.evaluation.evaluator import Evaluator
from fes.evaluation.faces import load_faces
from fes.evaluation.score import score
from tests.fes.evaluation.generators import SOURCE, Adversary, Copy, MeanFace, Truth

GOOD, BAD = 0.9, 0.1


@pytest.fixture(scope="module")
def two_judges(drawn_index, drawn_judge, residual_judge) -> Evaluator:
    return Evaluator(load_faces(drawn_index, ("test",), 48, 1, 14), drawn_judge, residual_judge)


def test_the_truth_scores_well_so_that_a_bad_score_means_something(two_judges, drawn_index):
    figures, _ = two_judges.evaluate(SOURCE, Truth(drawn_index.split("test")))
    assert figures["score"] > GOOD
    assert figures["judge_accuracy"] > GOOD
    assert figures["second_judge_accuracy"] > GOOD


def test_a_generator_that_copies_its_input_shows_no_expression(two_judges):
    figures, _ = two_judges.evaluate(SOURCE, Copy())
    assert figures["identity_rank1_among_sources"] == 1
    assert figures["identity_cosine"] == pytest.approx(1)
    assert figures["judge_frechet_distance"] == pytest.approx(figures["judge_frechet_distance_real"], rel=0.5)
    assert figures["expression_accuracy"] == pytest.approx(1 / 7)
    assert figures["truth_ratio"] == 1.0
    assert figures["score"] < BAD


def test_a_generator_that_draws_the_mean_face_of_the_class_loses_the_person(two_judges):
    figures, _ = two_judges.evaluate(SOURCE, MeanFace(two_judges.faces.trained))
    assert figures["expression_accuracy"] > GOOD
    assert figures["identity_rank1"] == pytest.approx(1 / 6, abs=0.01)
    assert figures["score_naturalness"] < BAD
    assert figures["score"] < BAD


def test_a_pattern_that_one_judge_sees_alone_does_not_convince_another(two_judges, drawn_judge):
    figures, _ = two_judges.evaluate(SOURCE, Adversary(drawn_judge))
    assert figures["expression_accuracy"] > 0.8
    assert figures["identity_rank1_among_sources"] > GOOD
    assert figures["second_judge_expression_accuracy"] < 0.35
    assert figures["judges_agreement"] < 0.5
    assert figures["score"] < 0.4
    # Without the second judge it would have passed for a success.
    alone = {name: value for name, value in figures.items() if not name.startswith("second_judge")}
    assert score(alone)["score"] > 0.7

"""The score of cheats, of real pictures, and of what lies between."""

import pytest

from fes.evaluation.score import score

REAL = {
    "expression_accuracy": 0.6,
    "judge_accuracy": 0.6,
    "identity_rank1": 1.0,
    "gallery": 100,
    "judge_frechet_distance": 4.0,
    "judge_frechet_distance_real": 4.0,
    "judge_frechet_distance_mean_face": 100.0,
}


def test_real_pictures_score_1_and_what_is_better_no_more():
    assert score(REAL) == {"score": 1, "score_expression": 1, "score_identity": 1, "score_naturalness": 1}
    assert score(REAL | {"expression_accuracy": 0.9, "judge_frechet_distance": 1.0})["score"] == 1


@pytest.mark.parametrize(
    ("term", "cheat"),
    [
        ("expression", {"expression_accuracy": 1 / 7}),
        ("expression", {"expression_accuracy": 0.05}),
        ("expression", {"judge_accuracy": 1 / 7}),
        ("identity", {"identity_rank1": 0.01}),
        ("naturalness", {"judge_frechet_distance": 100.0}),
        ("naturalness", {"judge_frechet_distance_real": 150.0}),
    ],
)
def test_one_term_at_nothing_leaves_nothing(term, cheat):
    found = score(REAL | cheat)
    assert (found[f"score_{term}"], found["score"]) == (0, 0)


def test_between_them_the_terms_are_shares_of_the_way_and_their_harmonic_mean_counts():
    found = score(
        REAL
        | {"expression_accuracy": 1 / 7 + (0.6 - 1 / 7) / 2, "identity_rank1": 0.505}
        | {"judge_frechet_distance": 36.0}  # 6 is half of the way from 10 to 2
    )
    assert [*found.values()] == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert score(REAL | {"identity_rank1": 0.505})["score"] == pytest.approx(3 / (1 + 2 + 1))


def test_of_two_judges_the_less_convinced_counts():
    second = {"second_judge_expression_accuracy": 0.2, "second_judge_accuracy": 0.5}
    assert score(REAL | second)["score_expression"] == pytest.approx((0.2 - 1 / 7) / (0.5 - 1 / 7))


@pytest.mark.parametrize("missing", ["judge_frechet_distance", "identity_rank1"])
def test_without_a_term_there_is_no_score(missing):
    assert score({name: value for name, value in REAL.items() if name != missing}) == {}
    assert score(REAL | {"gallery": 1}) == {}

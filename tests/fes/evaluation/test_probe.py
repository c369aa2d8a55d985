"""What a plane reads from a vector."""

import numpy as np
import pytest

from fes.evaluation.probe import RIDGE, _ridge, largest_share, probe_accuracy

RANDOM = np.random.default_rng(0)
LABEL = RANDOM.integers(0, 3, 600)
TAUGHT = np.arange(600) % 2 == 0


def test_what_is_there_is_read_whatever_its_scale():
    told = np.eye(3)[LABEL] * 1e-3 + 50
    hidden = np.concatenate([told, RANDOM.normal(size=(600, 20)) * 100], axis=1)
    assert probe_accuracy(hidden, LABEL, TAUGHT) > 0.97
    assert probe_accuracy(hidden, LABEL, TAUGHT) == probe_accuracy(hidden, LABEL, TAUGHT)


def test_what_is_not_there_is_read_by_chance():
    assert probe_accuracy(RANDOM.normal(size=(600, 20)), LABEL, TAUGHT) == pytest.approx(1 / 3, abs=0.08)


def test_it_is_tested_on_others_than_it_learns_from():
    by_heart = RANDOM.normal(size=(60, 200))  # more numbers than rows: all taught rows can be told
    label, taught = LABEL[:60], TAUGHT[:60]
    assert probe_accuracy(by_heart, label, taught) < 0.6


def test_more_features_than_rows_change_nothing_but_the_way_of_reckoning():
    rows, asked = RANDOM.normal(size=(20, 30)), RANDOM.normal(size=(20, 2))
    few = np.linalg.solve(rows.T @ rows + RIDGE * 20 * np.eye(30), rows.T @ asked)
    assert _ridge(rows, asked) == pytest.approx(few)


def test_vectors_that_tell_nothing_give_the_most_frequent_class():
    label = np.where(np.arange(600) % 10 < 7, 4, 2)
    assert probe_accuracy(np.ones((600, 3)), label, TAUGHT) == largest_share(label[~TAUGHT]) == 0.6
    assert largest_share(np.array([1, 1, 1, 0])) == 0.75

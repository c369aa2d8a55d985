"""Answers counted by the true class."""

import numpy as np
import pytest

from fes.judge.confusion import accuracy, accuracy_by_class, count, summary, table

LABEL = np.array([0, 0, 0, 3, 3, 6, 6, 6])
ANSWER = np.array([0, 0, 5, 3, 6, 6, 6, 0])


def test_answers_are_counted_in_the_row_of_the_true_class():
    counts = count(LABEL, ANSWER)
    assert (counts.dtype, counts.shape, counts.sum()) == (np.int64, (7, 7), 8)
    assert (counts[0, 0], counts[0, 5], counts[3, 3], counts[3, 6], counts[6, 6], counts[6, 0]) == (
        2, 1, 1, 1, 2, 1
    )  # fmt: skip


def test_accuracy_is_the_share_of_right_answers_overall_and_per_class():
    counts = count(LABEL, ANSWER)
    assert accuracy(counts) == 5 / 8
    shares = accuracy_by_class(counts)
    assert (shares["angry"], shares["happy"], shares["neutral"]) == (
        pytest.approx(2 / 3),
        0.5,
        pytest.approx(2 / 3),
    )
    assert shares["sad"] is None
    assert summary(counts * 1000) == "right on 0.6250 of 8,000 labelled"


def test_the_table_fits_a_terminal_and_ends_each_row_with_its_share():
    lines = table(count(LABEL, ANSWER) * 1000).splitlines()
    assert len(lines) == 8
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[-3:] == ["surprised", "neutral", "right"]
    assert lines[1].split() == ["angry", "2,000", "0", "0", "0", "0", "1,000", "0", "0.667"]
    assert lines[5].split()[-1] == "-"
    assert len({len(line) for line in lines}) == 1

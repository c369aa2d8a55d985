"""Finding a person again among others."""

import numpy as np
import pytest

from fes.evaluation.identity import cosine, gallery_of, rank_one


def test_the_nearest_by_angle_is_found_whatever_the_length():
    gallery = np.array([[1.0, 0], [0, 1], [1, 1]])
    query = np.array([[[5, 1], [0.1, 3]], [[0.0, 9], [3, 2]], [[1, 1.1], [2, 2]]])
    assert rank_one(query, gallery).tolist() == [[1, 0], [1, 0], [1, 1]]
    assert cosine(query, gallery)[2].tolist() == pytest.approx([2.1 / (2 * (1 + 1.21)) ** 0.5, 1])


def test_of_pictures_that_are_equally_near_each_counts_a_part():
    gallery = np.array([[1.0, 0], [2, 0], [0, 1]])  # the first two are alike
    assert rank_one(gallery, gallery).tolist() == [0.5, 0.5, 1]
    assert rank_one(np.zeros((3, 2)), gallery) == pytest.approx(np.full(3, 1 / 3))  # a vector of nothing


def test_a_gallery_holds_each_person_once():
    person = np.array([0, 0, 1, 2, 1, 3])
    assert gallery_of(person, 10).tolist() == [0, 2, 3, 5]
    assert gallery_of(person, 2).tolist() == [0, 2]

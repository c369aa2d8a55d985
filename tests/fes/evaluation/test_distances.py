"""Distances whose value is known, and the same by another way of reckoning."""

import numpy as np
import pytest
import scipy.linalg

from fes.evaluation.distances import frechet_distance, kernel_distance


def drawn(rows: int, features: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, features)) @ np.diag(1.0 + np.arange(features))


def test_a_set_is_at_no_distance_from_itself():
    rows = drawn(9, 5, seed=0)
    assert frechet_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_independent_features_is_that_of_means_and_deviations():
    # Four rows with mean 0 and the covariance diag(4/3 a^2, 4/3 b^2), which has no other entries.
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    one, other = corners * [3, 5], corners * [1, 7] + [10, -2]
    expected = 10**2 + 2**2 + 4 / 3 * ((3 - 1) ** 2 + (5 - 7) ** 2)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [(50, 40), (5, 4)], ids=["many rows", "fewer rows than features"])
def test_the_frechet_distance_is_that_by_a_matrix_square_root(rows):
    a, b = drawn(rows[0], 8, seed=1), drawn(rows[1], 8, seed=2) + 0.5
    covariances = [np.cov(each, rowvar=False) for each in (a, b)]
    # As FID's own code does where covariances lack full rank: a little is added to the diagonals.
    product = np.linalg.multi_dot([each + 1e-10 * np.eye(8) for each in covariances])
    shared = np.trace(scipy.linalg.sqrtm(product).real)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(sum(covariances)) - 2 * shared
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_float32_features_far_from_zero_lose_nothing():
    a, b = (drawn(60, 4, seed).astype(np.float32) + np.float32(1000) for seed in (1, 2))
    centred = frechet_distance(a.astype(np.float64) - 1000, b.astype(np.float64) - 1000)
    assert frechet_distance(a, b) == pytest.approx(centred, rel=1e-9)


def test_the_kernel_distance_is_the_unbiased_sum_over_pairs():
    a, b = drawn(5, 3, seed=3), drawn(4, 3, seed=4)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(x, y, strict=True)) / 3 + 1) ** 3

    def within(rows: np.ndarray) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    across = sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    assert kernel_distance(a, b) == pytest.approx(within(a) + within(b) - 2 * across, rel=1e-12)


def test_the_kernel_distance_has_no_bias_and_the_frechet_distance_has_one():
    pairs = [(drawn(10, 3, seed), drawn(10, 3, seed + 500)) for seed in range(200)]
    kernels = [kernel_distance(*pair) for pair in pairs]
    assert abs(np.mean(kernels)) < 3 * np.std(kernels) / len(kernels) ** 0.5
    assert min(kernels) < 0
    assert np.mean([frechet_distance(*pair) for pair in pairs]) > 14 * (1 / 10 + 1 / 10)

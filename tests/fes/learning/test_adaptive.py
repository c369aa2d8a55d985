"""The strength of augmentation follows the critic's overfitting, exactly and within bounds."""

import numpy as np
import pytest
import torch

from fes.learning.adaptive import HIGHEST, TARGET, AdaptiveStrength

IMAGES = 128


def scores(count: int = 400) -> np.ndarray:
    """Mean scores of training, held-out and synthesised pictures, float64 [count, 3], as of a critic that
    overfits now and then."""
    rng = np.random.default_rng(0)
    wave = 0.5 + 0.6 * np.sin(np.arange(count) / 40)
    synthesised, train = rng.normal(size=count), 2.0
    return np.stack([synthesised + train, synthesised + train * (1 - wave), synthesised], 1)


def update(adaptive: AdaptiveStrength, row: np.ndarray, dtype: torch.dtype = torch.float64) -> float:
    train, validation, synthesised = torch.tensor(row, dtype=dtype)
    return adaptive.update(train - synthesised, validation - synthesised, images=IMAGES).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_strength_is_that_of_the_rule_written_out(dtype):
    adaptive, strength = AdaptiveStrength(adapt_kimg=20, first=0.3), 0.3
    seen = []
    for row in scores():
        told = update(adaptive, row, dtype)
        train, validation, synthesised = row
        overfitting = (train - validation) / (train - synthesised)
        strength += np.sign(overfitting - TARGET) * IMAGES / 20_000
        strength = min(max(strength, 0.0), HIGHEST)
        assert told == pytest.approx(overfitting, abs=1e-5)
        assert adaptive.strength.item() == pytest.approx(strength, abs=1e-6)
        seen.append(strength)
    assert min(seen) == 0.0
    assert max(seen) == HIGHEST  # both bounds are met, and left again
    assert len({round(each, 6) for each in seen}) > 100


def test_it_goes_from_0_to_1_in_the_pictures_told():
    adaptive = AdaptiveStrength(adapt_kimg=1.28, highest=1.0)
    for count in range(1, 13):
        update(adaptive, np.array([1.0, 0.0, 0.0]))
        assert adaptive.strength.item() == pytest.approx(min(count / 10, 1.0))


def test_it_begins_no_higher_than_the_highest_and_has_a_stride_of_whole_pictures():
    assert AdaptiveStrength(adapt_kimg=1.0, first=1.0).strength.item() == pytest.approx(0.8)
    shortest = AdaptiveStrength(adapt_kimg=1e-4, first=1.0, highest=1.0)
    assert shortest.strength.item() == 1.0
    update(shortest, np.array([1.0, 1.0, 0.0]))
    assert shortest.strength.item() == 0.0


def test_on_the_target_it_stays():
    adaptive = AdaptiveStrength(adapt_kimg=1.28, first=0.5, target=0.5)
    update(adaptive, np.array([2.0, 1.0, 0.0]))
    assert adaptive.strength.item() == 0.5


@pytest.mark.parametrize("row", [[0.0, -3.0, 0.0], [0.0, -3.0, 1.0], [0.0, 3.0, 1.0]])
def test_a_critic_that_has_learnt_nothing_takes_the_strength_down(row):
    adaptive = AdaptiveStrength(adapt_kimg=1.28, first=0.5)
    assert update(adaptive, np.array(row)) == 0
    assert adaptive.strength.item() == pytest.approx(0.4)


@pytest.mark.parametrize("row", [[1e-300, -1.0, 0.0], [1.0, 1e30, 0.0], [1.0, -1e30, 0.0]])
def test_what_is_told_is_bounded(row):
    assert -1 <= update(AdaptiveStrength(adapt_kimg=1), np.array(row)) <= 2


def test_scores_that_are_not_finite_leave_a_strength_that_is():
    adaptive = AdaptiveStrength(adapt_kimg=1.28, first=0.5)
    for row in ([np.nan, 0, 0], [1, np.nan, 0], [np.inf, 0, 0], [1, 0, np.nan]):
        update(adaptive, np.array(row, dtype=float))
        assert 0 <= adaptive.strength.item() <= HIGHEST


def test_means_over_any_equal_shares_give_the_same_to_the_bit():
    """Multiples of 1/16 have exact means: then the ranks' means of means are those of all."""
    rng = np.random.default_rng(1)
    one, others = AdaptiveStrength(20), {ranks: AdaptiveStrength(20) for ranks in (2, 4, 8)}
    for _ in range(100):
        raw = rng.integers(-64, 64, size=(3, 16)) / 16 + np.array([[2.0], [1.0], [0.0]])
        update(one, raw.mean(1))
        for ranks, other in others.items():
            update(other, raw.reshape(3, ranks, -1).mean(2).mean(1))
            assert torch.equal(other.progress, one.progress)
    assert one.progress > 0


def test_it_goes_on_from_its_state_in_any_precision():
    adaptive, rows = AdaptiveStrength(20), scores()
    for row in rows[:200]:
        update(adaptive, row)
    other = AdaptiveStrength(20).to(torch.float16)
    other.load_state_dict(adaptive.state_dict())
    for row in rows[200:]:
        update(adaptive, row)
        update(other, row)
    assert torch.equal(other.progress, adaptive.progress)
    assert other.progress.dtype == torch.int64
    assert other.strength.dtype == torch.float32

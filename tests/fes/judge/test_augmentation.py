"""Augmentation: a function of the seed and the step, as strong as asked for, and of each picture alone."""

import pytest
import torch

from fes.batch import to_float
from fes.judge.augmentation import augmented, noisy


@pytest.fixture(scope="module")
def x(drawn_index) -> torch.Tensor:
    """Faces of two people, 14 pictures [14, 1, 48, 48]."""
    split = drawn_index.split("test")
    return to_float(torch.stack([torch.from_numpy(split.image(p)) for p in range(14)]))


def test_the_same_seed_and_step_change_pictures_alike_and_others_otherwise(x):
    one = augmented(x, seed=3, step=5)
    torch.rand(7)
    assert torch.equal(augmented(x, seed=3, step=5), one)
    for other in (augmented(x, seed=4, step=5), augmented(x, seed=3, step=6)):
        assert not torch.equal(other, one)
    assert (one.shape, one.dtype) == (x.shape, torch.float32)
    assert one.abs().max() <= 1


def test_strength_nought_changes_nothing_and_more_of_it_more(x):
    assert torch.equal(augmented(x, 0, 0, strength=0), x)
    changes = [(augmented(x, 0, 0, strength) - x).abs().mean() for strength in (0.5, 1, 2)]
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_nearly_nought_leaves_half_of_the_pictures_mirrored_and_the_others_as_they_are(x):
    many = x[:1].expand(200, -1, -1, -1)
    found = augmented(many, seed=0, step=1, strength=1e-6)
    same = (found - many).abs().amax((1, 2, 3)) < 1e-3
    mirrored = (found - many.flip(3)).abs().amax((1, 2, 3)) < 1e-3
    assert (same ^ mirrored).all()
    assert 70 < same.sum() < 130


def test_pictures_are_moved_and_relit_and_about_half_have_a_patch_erased(x):
    grey = torch.full((400, 1, 48, 48), 0.25)
    found = augmented(grey, seed=0, step=2)
    light = found.flatten(1).median(1).values  # grey stays grey however it is moved
    assert light.min() < 0.1
    assert light.max() > 0.4
    erased = ((found - light.reshape(-1, 1, 1, 1)).abs() > 1e-3).flatten(1).float().mean(1)
    assert 140 < (erased > 0.001).sum() < 240
    assert erased.max() < 0.25


def test_pictures_are_moved_across_and_down_by_up_to_a_tenth_of_their_side():
    dot = torch.full((400, 1, 48, 48), -1.0)  # in the middle, where turning and scaling leave it
    dot[..., 23:25, 23:25] = 1.0
    place = augmented(dot, seed=0, step=3).flatten(1).argmax(1)
    for at in (place // 48, place % 48):
        low, high = at.float().quantile(torch.tensor([0.1, 0.9])).tolist()  # few are under the patch
        assert 18.7 <= low < 21
        assert 26 < high <= 28.3


def test_colours_are_changed_together():
    pictures = torch.rand(8, 1, 48, 48).mul(2).sub(1).expand(-1, 3, -1, -1)
    found = augmented(pictures, seed=0, step=0)
    assert torch.equal(found[:, :1].expand(-1, 3, -1, -1), found)


# ---- noise


def test_the_same_seed_and_step_draw_the_same_noise_and_others_other(x):
    one = noisy(x, seed=3, step=5, most=0.5)
    torch.rand(7)
    assert torch.equal(noisy(x, seed=3, step=5, most=0.5), one)
    for other in (noisy(x, seed=4, step=5, most=0.5), noisy(x, seed=3, step=6, most=0.5)):
        assert not torch.equal(other, one)
    assert (one.shape, one.dtype) == (x.shape, torch.float32)


def test_no_noise_at_all_leaves_pictures_as_they_are_and_more_of_it_is_more_of_the_same(x):
    assert torch.equal(noisy(x, 0, 0, most=0.0), x)
    one, three = (noisy(x, 0, 0, most) - x for most in (0.5, 1.5))
    torch.testing.assert_close(three, 3 * one, rtol=0, atol=1e-5)
    assert one.abs().max() > 0.5


def test_each_picture_has_gaussian_noise_of_its_own_deviation_from_nought_to_the_most():
    noise = noisy(torch.zeros(400, 1, 48, 48), seed=0, step=1, most=0.5).flatten(1)
    deviation = noise.std(1)
    assert deviation.min() < 0.02
    assert 0.48 < deviation.max() < 0.53
    for quarter in (0.25, 0.5, 0.75):
        assert (deviation < 0.5 * quarter).float().mean() == pytest.approx(quarter, abs=0.07)
    scaled = noise / deviation[:, None]
    assert scaled.mean().abs() < 0.01
    assert (scaled.abs() < 1).float().mean() == pytest.approx(0.683, abs=0.005)
    assert (scaled.abs() < 2).float().mean() == pytest.approx(0.954, abs=0.005)
    assert torch.corrcoef(scaled[:20]).fill_diagonal_(0).abs().max() < 0.1  # of 2304 pixels, by chance 0.02


def test_colours_have_each_their_own_noise():
    red, green, blue = noisy(torch.zeros(1, 3, 48, 48), seed=0, step=0, most=0.5)[0].flatten(1)
    for one, other in ((red, green), (green, blue), (red, blue)):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1].abs() < 0.1

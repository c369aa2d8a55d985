"""Augmented pictures: each by its own draws, differentiable twice, untouched where nothing is to change."""

import pytest
import torch
from torch import Tensor, nn

from fes.draws import AUGMENTATION_DRAWS, noise
from fes.learning.augment import augment
from fes.learning.losses import gradient_norm

NEVER = 0.99  # a draw above any strength below it
BRIGHT, SATURATE, CONTRAST, SHIFT, HOLE = range(5)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=rng, dtype=torch.float64)


def pictures(batch: int = 4, channels: int = 1, side: int = 16, seed: int = 1) -> Tensor:
    return uniform(batch, channels, side, side, seed=seed) * 2 - 1


def only(change: int, *amounts: float) -> Tensor:
    """Draws of one picture with one change; its amounts are in the order of the columns."""
    draws = torch.full((1, AUGMENTATION_DRAWS), NEVER, dtype=torch.float64)
    draws[0, change] = 0.0
    first = {BRIGHT: 5, SATURATE: 6, CONTRAST: 7, SHIFT: 8, HOLE: 10}[change]
    draws[0, first : first + len(amounts)] = torch.tensor(amounts, dtype=torch.float64)
    return draws


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.0, 0, torch.tensor(0.0)])
def test_strength_0_gives_the_pictures_back_exactly(channels, strength):
    x = pictures(channels=channels).float().requires_grad_()
    changed = augment(x, uniform(4, AUGMENTATION_DRAWS), strength)
    assert changed.dtype == torch.float32
    assert torch.equal(changed, x)
    for draw in (0.0, 8.5 / 16):  # the least, and the middle of a pixel
        assert torch.equal(augment(x, torch.full((4, AUGMENTATION_DRAWS), draw), strength), x)
    (gradient,) = torch.autograd.grad(changed.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))


def test_a_strength_on_the_device_does_what_the_number_does():
    x, draws = pictures(), uniform(4, AUGMENTATION_DRAWS)
    assert torch.equal(augment(x, draws, 0.5), augment(x, draws, torch.tensor(0.5)))


@pytest.mark.parametrize(("channels", "strength"), [(1, 1.0), (3, 1.0), (3, torch.tensor(0.6))])
def test_it_is_differentiable_twice(channels, strength):
    draws = uniform(2, AUGMENTATION_DRAWS, seed=2)
    x = pictures(2, channels, side=6).requires_grad_()

    def bent(x: Tensor) -> Tensor:  # else the second derivative of what is linear in x would be 0 anyway
        return augment(x, draws, strength).pow(3)

    assert torch.autograd.gradcheck(bent, x)
    assert torch.autograd.gradgradcheck(bent, x, fast_mode=True)


def test_a_gradient_penalty_through_it_reaches_the_critic():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(1)).double()
    x, draws = pictures(), uniform(4, AUGMENTATION_DRAWS, seed=3)
    critic(x)
    gradient_norm(lambda x: critic(augment(x, draws, 1.0)), x).sub(1).square().mean().backward()
    assert all(
        parameter.grad.abs().sum() > 0 for name, parameter in critic.named_parameters() if name != "3.bias"
    )


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_picture_depends_on_its_own_draws_alone(strength):
    x, draws = pictures(8, 3), uniform(8, AUGMENTATION_DRAWS)
    whole = augment(x, draws, strength)
    for row in range(8):
        assert torch.allclose(whole[row], augment(x[[row]], draws[[row]], strength)[0], rtol=0, atol=1e-15)
    others = torch.roll(draws, 1, 0)
    others[3] = draws[3]
    assert torch.equal(augment(x, others, strength)[3], whole[3])
    assert not torch.equal(augment(x, others, strength)[4], whole[4])


def test_real_and_synthesised_pictures_are_changed_alike_by_the_same_draws():
    """What one draw does is affine in the picture: so the difference of two is changed as the two are."""
    real, synthesised, draws = pictures(64, 3), pictures(64, 3, seed=9), uniform(64, AUGMENTATION_DRAWS)
    middle = augment((real + synthesised) / 2, draws, 0.7)
    assert torch.allclose(
        middle, (augment(real, draws, 0.7) + augment(synthesised, draws, 0.7)) / 2, atol=1e-12
    )
    same = augment(torch.cat([real, real]), draws.repeat(2, 1), 0.7)
    assert torch.equal(*same.chunk(2))


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.8, 1.0])
def test_each_change_is_made_as_often_as_the_strength_says(strength):
    draws = uniform(4000, AUGMENTATION_DRAWS)
    x = pictures(1, 3, side=8).expand(4000, -1, -1, -1)
    for change in range(5):
        alone = torch.full_like(draws, 1.0)
        alone[:, change], alone[:, 5:] = draws[:, change], 0.3  # amounts that change something
        made = (augment(x, alone, strength) != x).flatten(1).any(1).double().mean()
        assert abs(made - strength) < 0.03


@pytest.mark.parametrize(("draw", "added"), [(0.0, -0.5), (0.5, 0.0), (0.75, 0.25)])
def test_brightness(draw, added):
    x = pictures(1)
    assert torch.allclose(augment(x, only(BRIGHT, draw), 0.9), x + added)


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.0), (0.5, 1.0), (0.75, 1.5)])
def test_saturation_of_colours_alone(draw, factor):
    x = pictures(1, 3)
    grey = x.mean(1, keepdim=True)
    assert torch.allclose(augment(x, only(SATURATE, draw), 0.9), grey + factor * (x - grey))
    assert torch.equal(augment(x[:, :1], only(SATURATE, draw), 0.9), x[:, :1])


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.5), (0.5, 1.0), (0.75, 1.25)])
def test_contrast(draw, factor):
    x = pictures(1, 3)
    assert torch.allclose(augment(x, only(CONTRAST, draw), 0.9), x.mean() + factor * (x - x.mean()))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-2, 2), (-1, 0)])
def test_a_shift_goes_up_to_an_eighth_and_leaves_grey(down, right):
    x = pictures(1)
    amounts = ((down + 2.5) / 5, (right + 2.5) / 5)  # of 16 pixels: -2, -1, 0, 1, 2
    expected = torch.zeros_like(x)
    for row in range(16):
        for column in range(16):
            if 0 <= row - down < 16 and 0 <= column - right < 16:
                expected[..., row, column] = x[..., row - down, column - right]
    assert torch.equal(augment(x, only(SHIFT, *amounts), 0.9), expected)


def test_the_farthest_shifts_are_an_eighth():
    x = pictures(1)
    almost = torch.tensor(1.0, dtype=torch.float64).nextafter(torch.tensor(0.0, dtype=torch.float64)).item()
    assert torch.equal(augment(x, only(SHIFT, 0.0, almost), 0.9)[..., :-2, 2:], x[..., 2:, :-2])


def test_a_hole_is_a_grey_square_of_up_to_half_a_side():
    x = torch.ones(1, 3, 16, 16, dtype=torch.float64)
    largest = augment(x, only(HOLE, 1.0, 0.5, 0.5), 0.9)
    assert (largest[..., 4:12, 4:12] == 0).all()
    assert largest.sum() == 3 * (256 - 64)
    corner = augment(x, only(HOLE, 0.5, 0.0, 1.0), 0.9)
    assert (corner[..., :2, 14:] == 0).all()
    assert corner.sum() == 3 * (256 - 4)


def test_the_draws_of_a_step_fit_and_change_no_other_draw():
    drawn = noise(0, 3, 4, 8)
    assert drawn.augmentation.shape == (4, AUGMENTATION_DRAWS)
    assert augment(pictures().float(), drawn.augmentation, 0.5).shape == (4, 1, 16, 16)


def test_pictures_of_half_precision_are_moved_and_covered_as_others_are():
    x, draws = pictures(2000, side=24).float(), uniform(2000, AUGMENTATION_DRAWS).float()
    draws[:, :3] = NEVER  # the light stays
    found = augment(x.bfloat16(), draws, 0.9)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, augment(x.bfloat16().float(), draws, 0.9).bfloat16())

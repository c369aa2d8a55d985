"""The terms against closed forms, in float64."""

import pytest
import torch
from torch import nn

from fes.losses import (
    gradient_norm,
    interpolate,
    reconstruction_error,
    two_sided_penalty,
    wasserstein_gap,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def test_gradient_norm_of_a_linear_critic_is_the_norm_of_its_weight():
    weight = normal(3 * 4 * 4)
    norm = gradient_norm(lambda x: x.flatten(1) @ weight + 5.0, normal(6, 3, 4, 4, seed=1))
    assert norm.shape == (6,)
    assert norm.dtype == torch.float64
    torch.testing.assert_close(norm, weight.norm().expand(6), rtol=1e-14, atol=0)


def test_gradient_norm_of_a_quadratic_critic_differs_by_sample():
    x = normal(5, 7)
    norm = gradient_norm(lambda at: at.square().sum(1) / 2, x)
    torch.testing.assert_close(norm, x.norm(dim=1), rtol=1e-14, atol=0)


def test_gradient_of_the_penalty_matches_its_closed_form():
    weight = normal(9).requires_grad_()
    norm = gradient_norm(lambda x: x @ weight, normal(4, 9, seed=1))
    two_sided_penalty(norm).backward()
    length = weight.detach().norm()
    expected = 2 * (length - 1) * weight.detach() / length
    torch.testing.assert_close(weight.grad, expected, rtol=1e-12, atol=1e-14)


def test_penalty_passes_gradcheck_through_the_double_backward():
    at = normal(3, 4)

    def penalty(first, second):
        return two_sided_penalty(gradient_norm(lambda x: torch.tanh(x @ first) @ second, at))

    inputs = normal(4, 6, seed=1).requires_grad_(), normal(6, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(penalty, inputs)
    assert torch.autograd.gradgradcheck(penalty, inputs)


def test_a_critic_of_no_slope_gets_a_penalty_of_one_and_no_nan():
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    norm = gradient_norm(lambda x: x @ weight, normal(3, 4))
    penalty = two_sided_penalty(norm)
    penalty.backward()
    assert penalty.item() == 1.0
    assert torch.equal(norm.detach(), torch.zeros(3, dtype=torch.float64))
    assert torch.equal(weight.grad, torch.zeros(4, dtype=torch.float64))


def test_gradient_norm_leaves_its_input_alone_and_works_where_gradients_are_off():
    at = normal(2, 3)
    with torch.no_grad():
        norm = gradient_norm(lambda x: x.square().sum(1), at)
    assert not at.requires_grad
    torch.testing.assert_close(norm, 2 * at.norm(dim=1))


def test_penalty_under_bf16_autocast_is_computed_in_the_precision_of_the_input():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(64, 1))
    at = torch.randn(4, 1, 6, 6, generator=rng()).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(at).sum(), at)
    expected = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(at).dtype == torch.bfloat16  # autocast is at work
        norm = gradient_norm(critic, at)
    assert norm.dtype == torch.float32
    assert torch.equal(norm, expected)


@pytest.mark.parametrize("shape", [(1, 48, 48), (3, 64, 64), (3, 256, 256)])
def test_reconstruction_pulls_at_each_sample_with_a_norm_of_one_over_the_batch(shape):
    x_recon = normal(5, *shape).requires_grad_()
    reconstruction_error(x_recon, normal(5, *shape, seed=1)).backward()
    norms = x_recon.grad.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((5,), 1 / 5, dtype=torch.float64), rtol=1e-12, atol=0)


def test_reconstruction_error_of_a_constant_difference():
    x = normal(2, 1, 6, 6)
    difference = reconstruction_error(x + 0.5, x)  # n = 36: 36 * 0.5 / sqrt(36)
    torch.testing.assert_close(difference.item(), 3.0)


def test_wasserstein_gap_is_the_difference_of_mean_scores():
    real, synthesised = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([-1.0, 1.0, 3.0])
    assert wasserstein_gap(real, synthesised).item() == 2.0


def test_interpolate_goes_from_synthesised_at_zero_to_real_at_one():
    real, synthesised = normal(3, 1, 2, 2), normal(3, 1, 2, 2, seed=1)
    epsilon = torch.tensor([0.0, 1.0, 0.25], dtype=torch.float64).reshape(3, 1, 1, 1)
    points = interpolate(real, synthesised, epsilon)
    assert torch.equal(points[0], synthesised[0])
    torch.testing.assert_close(points[1], real[1], rtol=1e-15, atol=0)
    torch.testing.assert_close(points[2], 0.25 * real[2] + 0.75 * synthesised[2], rtol=1e-12, atol=1e-15)


def test_two_sided_penalty_punishes_both_sides_of_one_alike():
    assert two_sided_penalty(torch.tensor([0.5, 1.5])).item() == 0.25
    assert two_sided_penalty(torch.tensor([1.0, 1.0])).item() == 0.0


def test_every_term_of_a_batch_is_the_mean_of_the_terms_of_its_halves():
    x, y = normal(8, 1, 4, 4), normal(8, 1, 4, 4, seed=1)

    def terms(part: slice) -> torch.Tensor:
        norm = gradient_norm(lambda at: at.square().flatten(1).sum(1), y[part])
        gap = wasserstein_gap(x[part].flatten(1)[:, 0], y[part].flatten(1)[:, 0])
        return torch.stack([reconstruction_error(x[part], y[part]), two_sided_penalty(norm), gap])

    halves = (terms(slice(0, 4)) + terms(slice(4, 8))) / 2
    torch.testing.assert_close(halves, terms(slice(0, 8)), rtol=1e-13, atol=0)

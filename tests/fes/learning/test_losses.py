"""The terms against closed forms, in float64."""

import pytest
import torch
from torch import nn

from fes.learning.losses import (
    code_error,
    critic_error,
    expression_error,
    feature_error,
    gradient_norm,
    interpolate,
    light_error,
    limited,
    one_sided_penalty,
    penalised_at,
    penalty,
    reconstruction_error,
    synthesis_error,
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


@pytest.mark.parametrize("shape", [(1, 48, 48), (3, 64, 64), (3, 256, 256)])
def test_light_pulls_at_each_sample_with_a_norm_of_one_over_the_batch(shape):
    x_swap = normal(5, *shape).requires_grad_()
    light_error(x_swap, normal(5, *shape, seed=1)).backward()
    norms = x_swap.grad.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((5,), 1 / 5, dtype=torch.float64), rtol=1e-12, atol=0)


def test_light_is_that_of_sixteen_blocks_and_not_what_is_drawn_in_them():
    x = normal(2, 1, 48, 48)
    drawn = normal(2, 1, 4, 12, 4, 12, seed=1)
    drawn = (drawn - drawn.mean((3, 5), keepdim=True)).reshape(x.shape)
    torch.testing.assert_close(light_error(x + drawn, x).item(), 0.0, rtol=0, atol=1e-13)
    torch.testing.assert_close(light_error(x + 0.5, x).item(), 24.0)  # 16 * 0.5 * 12 / sqrt(16)


def test_a_limit_shortens_the_pull_of_those_samples_that_exceed_it():
    at = normal(3, 2, 4, 4).requires_grad_()
    slopes = torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64)
    errors = slopes * at.flatten(1)[:, 0]
    found = limited(errors, at, 2.0)
    torch.testing.assert_close(found, (errors * torch.tensor([1, 1, 0.25], dtype=errors.dtype)).mean())
    (gradient,) = torch.autograd.grad(found, at, retain_graph=True)
    torch.testing.assert_close(gradient.flatten(1)[:, 0] * 3, slopes.clamp_max(2.0))
    torch.testing.assert_close(limited(errors, at, None), errors.mean())
    (errors * 0).sum().backward()  # the graph is still there
    assert torch.equal(
        limited(at.flatten(1)[:, 0] * 0, at, 1.0).detach(), torch.zeros((), dtype=torch.float64)
    )


def test_what_a_limit_measures_is_handed_on_without_another_backward():
    at, backwards = normal(3, 2, 4, 4).requires_grad_(), []
    between = at * 2
    between.register_hook(backwards.append)
    errors = between.square().flatten(1).sum(1)
    limited(errors, at, 2.0).backward()
    assert len(backwards) == 1
    expected = 8 * at.detach()
    norms = expected.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(at.grad, expected * (2.0 / norms.clamp_min(2.0)) / 3)


def test_a_limited_gradient_survives_half_precision_that_it_is_too_small_for():
    at = normal(3, 2, 4, 4).float().requires_grad_()
    errors = (at.half() * 2.0**-20).float().flatten(1).sum(1) * 2.0**-8
    (lost,) = torch.autograd.grad(errors.sum(), at, retain_graph=True)
    assert not lost.any()  # fp16 has nothing below 2^-24
    limited(errors, at, 2.0).backward()
    torch.testing.assert_close(at.grad, torch.full_like(at, 2.0**-28 / 3), rtol=1e-3, atol=0)


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


def test_one_sided_penalty_leaves_flatter_critics_alone():
    norm = torch.tensor([0.0, 0.5, 1.0, 1.5, 3.0], dtype=torch.float64, requires_grad=True)
    found = one_sided_penalty(norm)
    found.backward()
    assert found.item() == (0.25 + 4.0) / 5
    assert norm.grad.tolist() == [0.0, 0.0, 0.0, 2 * 0.5 / 5, 2 * 2.0 / 5]


ADVERSARIES = "wgan-gp", "wgan-gp-one-sided", "r1-non-saturating", "r1-relativistic"


@pytest.mark.parametrize(
    ("adversary", "at_two", "slope", "place"),
    [
        ("wgan-gp", 1.0, 2.0, "between"),
        ("wgan-gp-one-sided", 1.0, 2.0, "between"),
        ("r1-non-saturating", 2.0, 2.0, "real"),  # half of the square, and its derivative
        ("r1-relativistic", 2.0, 2.0, "real"),
    ],
)
def test_each_adversary_has_its_penalty_and_its_place(adversary, at_two, slope, place):
    norm = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
    found = penalty(adversary, norm)
    found.backward()
    assert found.item() == at_two
    torch.testing.assert_close(norm.grad, torch.full_like(norm, slope / 3))
    assert penalty(adversary, norm.detach() / 4).item() == {"wgan-gp": 0.25, "wgan-gp-one-sided": 0.0}.get(
        adversary, 0.125
    )
    real, synthesised = normal(3, 1, 2, 2), normal(3, 1, 2, 2, seed=1)
    epsilon = torch.full((3, 1, 1, 1), 0.25, dtype=torch.float64)
    between = 0.25 * real + 0.75 * synthesised
    expected = real if place == "real" else between
    torch.testing.assert_close(penalised_at(adversary, real, synthesised, epsilon), expected)


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_gradients_of_the_scores_are_those_of_the_closed_forms(adversary):
    real, made = normal(5).requires_grad_(), normal(5, seed=1).requires_grad_()
    sigmoid = lambda value: 1 / (1 + torch.exp(-value.detach()))  # noqa: E731
    one = torch.ones(5, dtype=torch.float64)
    expected = {
        "r1-non-saturating": (-sigmoid(-real), sigmoid(made), -sigmoid(-made)),
        "r1-relativistic": (-sigmoid(made - real), sigmoid(made - real), -sigmoid(real - made)),
    }.get(adversary, (-one, one, -one))
    of_critic = torch.autograd.grad(critic_error(adversary, real, made), (real, made))
    (of_synthesis,) = torch.autograd.grad(synthesis_error(adversary, made, real), made)
    for found, wanted in zip((*of_critic, of_synthesis), expected, strict=True):
        torch.testing.assert_close(found, wanted / 5, rtol=1e-12, atol=0)


def test_logistic_losses_of_scores_that_are_known():
    zero, large = torch.zeros(2, dtype=torch.float64), torch.full((2,), 800.0, dtype=torch.float64)
    nat = torch.tensor(2.0, dtype=torch.float64).log()
    torch.testing.assert_close(critic_error("r1-non-saturating", zero, zero), 2 * nat)
    torch.testing.assert_close(critic_error("r1-relativistic", large, large), nat)
    assert critic_error("r1-non-saturating", -large, large) == 1600  # where exp would overflow
    assert synthesis_error("r1-relativistic", -large, zero) == 800


def test_expression_error_is_the_cross_entropy_with_nothing_where_unlabelled():
    logits = normal(4, 7).requires_grad_()
    label = torch.tensor([2, -1, 6, -1])
    found = expression_error(logits, label)
    chances = logits.exp() / logits.exp().sum(1, keepdim=True)
    expected = -(chances[0, 2].log() + chances[2, 6].log()) / 4
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    (slope,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, logits)[0], rtol=1e-10, atol=1e-15)
    assert not slope[label == -1].any()
    nothing = expression_error(logits, torch.full((4,), -1))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, logits)[0].any()


def test_a_code_is_pulled_towards_the_other_and_that_one_stays():
    z, wanted = normal(3, 16).requires_grad_(), normal(3, 16, seed=1).requires_grad_()
    error = code_error(z, wanted)
    torch.testing.assert_close(error, (z - wanted).abs().sum() / 3 / 4)
    error.backward()
    assert wanted.grad is None
    torch.testing.assert_close(z.grad.norm(dim=1), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_feature_error_is_the_mean_of_layers_however_large_they_are():
    maps = [normal(2, 4, 8, 8).requires_grad_(), normal(2, 16, 2, 2, seed=1).requires_grad_()]
    wanted = [maps[0].detach() + 0.5, maps[1].detach() - 1.5]
    error = feature_error(maps, wanted)
    torch.testing.assert_close(error.item(), 1.0)
    error.backward()
    torch.testing.assert_close(maps[1].grad, torch.full_like(maps[1], 1 / 2 / maps[1].numel()))


def test_every_term_of_a_batch_is_the_mean_of_the_terms_of_its_halves():
    x, y = normal(8, 1, 4, 4), normal(8, 1, 4, 4, seed=1)

    def terms(part: slice) -> torch.Tensor:
        norm = gradient_norm(lambda at: at.square().flatten(1).sum(1), y[part])
        gap = wasserstein_gap(x[part].flatten(1)[:, 0], y[part].flatten(1)[:, 0])
        pair, label = (x[part], y[part]), torch.tensor([-1, 0, 2, 1, 3, -1, 0, 2])[part]
        scores = [each.flatten(1)[:, 0] for each in pair]
        terms = [reconstruction_error(*pair), gap, feature_error([pair[0]] * 2, [pair[1]] * 2)]
        terms += [code_error(*(each.flatten(1) for each in pair)), expression_error(x[part, 0, 0], label)]
        terms += [penalty(adversary, norm) for adversary in ADVERSARIES]
        terms += [critic_error(adversary, *scores) for adversary in ADVERSARIES]
        return torch.stack(terms + [synthesis_error(adversary, *scores) for adversary in ADVERSARIES])

    halves = (terms(slice(0, 4)) + terms(slice(4, 8))) / 2
    torch.testing.assert_close(halves, terms(slice(0, 8)), rtol=1e-13, atol=0)

"""What critics are made of computes what torch's own units and means do, without a backward of zeros."""

from collections.abc import Callable
from functools import partial
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from fes.config import Config, ModelConfig
from fes.draws import noise
from fes.learning.losses import gradient_norm, two_sided_penalty
from fes.learning.players import bare_players
from fes.model import networks
from fes.model.blocks import PENALISED_PARTS, Parts
from fes.model.edges import fade
from fes.model.networks import ImageCritic, Networks, open_edges
from fes.model.piecewise import halved, leaky_, penalised_halved, penalised_leaky
from fes.runtime.player import Player
from tests.fes.made_up import SIZE, made_up_batch

leaky = partial(functional.leaky_relu, negative_slope=0.2)
PAIRS = [(leaky, penalised_leaky), (halved, penalised_halved)]
OWN = Parts(nn.Identity, leaky, halved)
"""A critic's, of torch's own units and means."""


def normal(*shape: int, **how: object) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), **how)


def model_of(blocks: str) -> ModelConfig:
    return ModelConfig(48, 1, latent_dim=8, max_features=16, min_features=4, blocks=blocks)


def derivatives(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Values, gradients, and the gradients of those by what the first backward began with."""
    x = normal(2, 3, 8, 8).requires_grad_()
    y = function(x)
    begun = normal(*y.shape).flip(0).requires_grad_()
    (gradient,) = torch.autograd.grad(y, x, begun, create_graph=True)
    (second,) = torch.autograd.grad(gradient, begun, normal(*x.shape).flip(1))
    return [y, gradient, second]


@pytest.mark.parametrize(("own", "penalised"), PAIRS)
def test_values_and_derivatives_are_those_of_torchs_own_to_the_bit(own, penalised):
    for found, expected in zip(derivatives(penalised), derivatives(own), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("penalised", [penalised_leaky, penalised_halved])
def test_derivatives_are_those_of_finite_differences(penalised):
    x = normal(2, 2, 4, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(penalised, x)
    assert torch.autograd.gradgradcheck(penalised, x)


def test_units_of_networks_that_are_not_penalised_answer_in_the_same_memory():
    x, gradient = normal(2, 3, 8, 8).requires_grad_(), normal(2, 3, 8, 8).flip(0)
    h = x * 3
    y = leaky_(h)
    assert y.data_ptr() == h.data_ptr()
    expected = leaky(x * 3)
    assert torch.equal(y, expected)
    found, wanted = (torch.autograd.grad(each, x, gradient)[0] for each in (y, expected))
    assert torch.equal(found, wanted)


def test_a_unit_keeps_what_is_no_number_and_nothing_at_nothing():
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0])
    expected = functional.leaky_relu(x, 0.2)
    torch.testing.assert_close(penalised_leaky(x), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("blocks", ["strided", "residual"])
def test_under_autocast_a_critic_scores_nearly_as_of_torchs_own(blocks):
    readings = []
    for parts in (PENALISED_PARTS, OWN):
        torch.manual_seed(0)
        with mock.patch.object(networks, "PENALISED_PARTS", parts):
            critic = ImageCritic(model_of(blocks))
        with torch.autocast("cpu", torch.bfloat16):
            readings.append(critic(normal(4, 1, 48, 48), torch.tensor([0, 3, 5, -1])))
    found, expected = readings
    assert [each.dtype for each in found.maps] == [torch.bfloat16] * len(expected.maps)
    torch.testing.assert_close(found.score, expected.score, rtol=0.03, atol=0.03)


class Backwards(TorchDispatchMode):
    """How many backwards of convolutions are taken inside."""

    taken = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.taken += function is torch.ops.aten.convolution_backward.default
        return function(*args, **kwargs or {})


def backwards_after_a_penalty(parts: Parts, blocks: str, fading: bool) -> int:
    model = model_of(blocks)
    with mock.patch.object(networks, "PENALISED_PARTS", parts):
        critic = ImageCritic(model)
    if fading:
        open_edges(critic, model, 24)
        fade(critic, 0.5)
    x, label = normal(2, 1, 48, 48), torch.tensor([0, 3])
    bound = two_sided_penalty(gradient_norm(lambda at: critic(at, label).score, x))
    with Backwards() as backwards:
        bound.backward()
    return backwards.taken


@pytest.mark.parametrize("blocks", ["strided", "residual"])
@pytest.mark.parametrize("fading", [False, True])
def test_a_penaltys_backward_goes_back_through_no_convolution_of_the_score(blocks, fading):
    assert backwards_after_a_penalty(PENALISED_PARTS, blocks, fading) == 0
    assert backwards_after_a_penalty(OWN, blocks, fading) > 0


def trained(parts: Parts, blocks: str) -> dict[str, Tensor]:
    """Weights after some steps of both players."""
    model = model_of(blocks)
    with mock.patch.object(networks, "PENALISED_PARTS", parts):
        both = Networks(model, seed=0)
    objectives = bare_players(Config("", "", model=model), both)
    players = [Player(*each) for each in objectives.values()]
    for step in range(3):
        for player in players:
            player.step(made_up_batch(model), noise(0, step, SIZE, model.latent_dim))
    return both.state_dict()


@pytest.mark.parametrize("blocks", ["strided", "residual"])
def test_networks_learn_the_same_as_of_torchs_own_to_the_bit(blocks):
    found, expected = trained(PENALISED_PARTS, blocks), trained(OWN, blocks)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)

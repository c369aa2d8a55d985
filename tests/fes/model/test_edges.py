"""Edges: the old network at share 0, the new one at share 1, and a straight way between them."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fes.config import ModelConfig
from fes.model.edges import edge_among, edges_of, fade
from fes.model.networks import Networks, open_edges

KINDS = list(itertools.product(("strided", "residual"), ("none", "features", "residual", "mask", "warp")))


@pytest.fixture(params=KINDS, ids=[f"{blocks}-{skip}" for blocks, skip in KINDS])
def grown(request: pytest.FixtureRequest, tiny_model: ModelConfig) -> Networks:
    """Networks for 96 px with the edges of 48 px, all of random weights."""
    blocks, skip = request.param
    model = dataclasses.replace(tiny_model, resolution=96, blocks=blocks, skip=skip)
    networks = Networks(model, seed=0)
    open_edges(networks, model, 48)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return networks


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(2)) * 1.9 - 0.95


def drawn(networks: Networks, x: Tensor) -> Tensor:
    return networks.generator(networks.encoder(x), torch.tensor([1, 4]))


def test_at_share_0_nothing_of_the_new_blocks_passes_and_at_share_1_nothing_of_the_edges(grown, x):
    fade(grown, 0.0)
    before, score = drawn(grown, x), grown.image_critic(x, torch.tensor([1, 4])).score
    fade(grown, 0.5)
    assert not torch.equal(drawn(grown, x), before)
    fade(grown, 0.0)
    with torch.no_grad():
        for network in (grown.encoder.features, grown.image_critic.features):
            network.from_image.weight.add_(1.0)
        grown.generator.to_image.weight.add_(1.0)
    assert torch.equal(drawn(grown, x), before)
    assert torch.equal(grown.image_critic(x, torch.tensor([1, 4])).score, score)
    fade(grown, 1.0)
    assert not any(edges_of(grown))
    assert edge_among(grown.state_dict()) is None
    bare = Networks(_model(grown), seed=5)
    bare.load_state_dict(grown.state_dict())
    assert torch.equal(drawn(grown, x), drawn(bare, x))


def _model(networks: Networks) -> ModelConfig:
    residual = type(networks.encoder.features).__name__ == "ResidualDownsampler"
    return ModelConfig(
        resolution=96,
        channels=1,
        latent_dim=8,
        max_features=32,
        min_features=8,
        latent_critic_features=16,
        blocks="residual" if residual else "strided",
        skip=networks.encoder.skip,
    )


def test_the_share_blends_what_enters_the_old_blocks_in_a_straight_line(grown, x):
    features = grown.image_critic.features
    names = list(features.blocks)

    def entered(share: float) -> Tensor:
        fade(grown, share)
        seen = []
        handle = features.blocks[names[1]].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        features(x)
        handle.remove()
        return seen[0]

    old, new, half = entered(0.0), entered(1 - 1e-7), entered(0.25)
    torch.testing.assert_close(half, 0.75 * old + 0.25 * new, rtol=1e-4, atol=1e-5)
    small = functional.avg_pool2d(x, 2)
    fade(grown, 0.25)
    expected = functional.leaky_relu(features.edges["48"](small), 0.2)
    torch.testing.assert_close(old, expected)


def test_an_edge_is_known_by_its_resolution_and_seeds_elsewhere_are_left_alone(grown):
    assert edge_among(grown.state_dict()) == 48
    assert [list(edges) for edges in edges_of(grown)] == [["48"]] * 3
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    open_edges(grown, _model(grown), 48)
    assert torch.equal(torch.rand(3), expected)

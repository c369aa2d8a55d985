"""Shapes, names, and that a sample's output is its own."""

import dataclasses

import pytest
import torch
from torch import nn

from fes.config import ModelConfig
from fes.expressions import EXPRESSIONS
from fes.networks import (
    Encoder,
    Generator,
    ImageCritic,
    LatentCritic,
    Networks,
    block_resolutions,
    coarsest,
    condition,
    features_at,
    parameter_count,
)

RESOLUTIONS = (48, 64, 96, 128)


def at(model: ModelConfig, resolution: int, channels: int = 1) -> ModelConfig:
    return dataclasses.replace(model, resolution=resolution, channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_shapes_at_every_resolution_in_grey_and_colour(tiny_model, resolution, channels):
    networks = Networks(at(tiny_model, resolution, channels), seed=0)
    x, label = torch.zeros(2, channels, resolution, resolution), torch.tensor([4, -1])
    z = networks.encoder(x)
    drawn = networks.generator(z, label)
    assert z.shape == (2, tiny_model.latent_dim)
    assert drawn.shape == x.shape
    assert drawn.abs().max() < 1
    assert networks.latent_critic(z).shape == (2,)
    assert networks.image_critic(drawn, label).shape == (2,)


@pytest.mark.parametrize(
    ("resolution", "blocks"),
    [(48, [6, 12, 24]), (64, [8, 16, 32]), (96, [6, 12, 24, 48]), (256, [8, 16, 32, 64, 128])],
)
def test_blocks_are_named_by_the_resolutions_between_coarsest_and_picture(resolution, blocks):
    assert block_resolutions(resolution) == blocks
    assert coarsest(resolution) == blocks[0] / 2


def test_features_are_halved_at_each_doubling_and_bounded_below(tiny_model):
    assert [features_at(r, tiny_model) for r in (3, 6, 12, 24, 48)] == [32, 16, 8, 8, 8]
    assert [features_at(r, tiny_model) for r in (4, 8, 16, 32)] == [32, 16, 8, 8]


@pytest.mark.parametrize("network", [Encoder, Generator, ImageCritic])
def test_networks_for_48_and_96_pixels_share_all_blocks_but_the_finest(tiny_model, network):
    small, large = (network(at(tiny_model, r)).state_dict() for r in (48, 96))
    new = {name for name in large if name not in small}
    assert new
    assert all("blocks.block48." in name for name in new)
    assert all(large[name].shape == value.shape for name, value in small.items())


@pytest.mark.parametrize("resolution", [48, 64])
def test_no_samples_output_depends_on_its_neighbours(tiny_model, resolution):
    networks = Networks(at(tiny_model, resolution, 3), seed=0).double()
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, resolution, resolution, generator=rng, dtype=torch.float64) * 2 - 1
    z = torch.randn(4, tiny_model.latent_dim, generator=rng, dtype=torch.float64)
    label = torch.tensor([0, -1, 6, 3])
    outputs = {
        "encoder": lambda rows: networks.encoder(x[rows]),
        "generator": lambda rows: networks.generator(z[rows], label[rows]),
        "latent_critic": lambda rows: networks.latent_critic(z[rows]),
        "image_critic": lambda rows: networks.image_critic(x[rows], label[rows]),
    }
    for name, output in outputs.items():
        alone = torch.cat([output([row]) for row in range(4)])
        torch.testing.assert_close(output([0, 1, 2, 3]), alone, rtol=1e-12, atol=1e-13, msg=name)


def test_no_network_has_buffers_or_batch_statistics(tiny_model):
    networks = Networks(tiny_model, seed=0)
    assert list(networks.buffers()) == []
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in networks.modules())


def test_the_same_seed_makes_the_same_weights_and_another_makes_others(tiny_model):
    one, same, other = (Networks(tiny_model, seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name, value in one.items() if value.ndim > 1]
    assert drawn
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


def test_building_leaves_the_global_random_state_alone(tiny_model):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Networks(tiny_model, seed=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_label_and_none_is_a_condition_of_its_own(tiny_model):
    networks = Networks(tiny_model, seed=0)
    label = torch.arange(-1, len(EXPRESSIONS))
    assert condition(label).tolist() == [7, 0, 1, 2, 3, 4, 5, 6]
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(1, tiny_model.latent_dim, generator=rng).expand(len(label), -1)
    x = torch.rand(1, 1, 48, 48, generator=rng).expand(len(label), -1, -1, -1)
    drawn, scores = networks.generator(z, label), networks.image_critic(x, label)
    distances = torch.pdist(drawn.flatten(1).double())
    assert distances.min() > 1e-3
    assert torch.pdist(scores.double()[:, None]).min() > 1e-5


def test_first_pictures_are_a_calm_grey_and_first_codes_are_neither_gone_nor_huge():
    networks = Networks(ModelConfig(resolution=48, channels=1), seed=0)
    rng = torch.Generator().manual_seed(0)
    z = networks.encoder(torch.rand(8, 1, 48, 48, generator=rng) * 2 - 1)
    drawn = networks.generator(z, torch.zeros(8, dtype=torch.int64))
    assert 0.1 < z.std() < 10
    assert drawn.abs().max() < 0.9


def test_a_config_without_a_shape_is_refused():
    with pytest.raises(ValueError, match="resolution and channels"):
        Encoder(ModelConfig())


def test_parameter_count_counts_every_number(tiny_model):
    d, w = tiny_model.latent_dim, tiny_model.latent_critic_features
    assert parameter_count(LatentCritic(tiny_model)) == (d * w + w) + (w * w + w) + (w + 1)

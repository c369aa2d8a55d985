"""Shapes, names, and that a sample's output is its own."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fes.config import ModelConfig
from fes.expressions import EXPRESSIONS
from fes.model.blocks import block_resolutions, coarsest, condition, features_at
from fes.model.networks import (
    Code,
    Encoder,
    Generator,
    ImageCritic,
    LatentCritic,
    Networks,
    parameter_count,
)

RESOLUTIONS = (48, 64, 96, 128)


@pytest.fixture(params=["strided", "residual"])
def tiny_model(request: pytest.FixtureRequest, tiny_model: ModelConfig) -> ModelConfig:
    """Networks of each kind of blocks."""
    return dataclasses.replace(tiny_model, blocks=request.param)


def at(model: ModelConfig, resolution: int, channels: int = 1) -> ModelConfig:
    return dataclasses.replace(model, resolution=resolution, channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_shapes_at_every_resolution_in_grey_and_colour(tiny_model, resolution, channels):
    networks = Networks(at(tiny_model, resolution, channels), seed=0)
    x, label = torch.zeros(2, channels, resolution, resolution), torch.tensor([4, -1])
    code = networks.encoder(x)
    drawn = networks.generator(code, label)
    assert code.z.shape == (2, tiny_model.latent_dim)
    assert drawn.shape == x.shape
    assert drawn.abs().max() < 1
    assert networks.latent_critic(code.z).shape == (2,)
    score, maps = networks.image_critic(drawn, label)
    assert score.shape == (2,)
    finest = resolution if tiny_model.blocks == "residual" else resolution // 2
    assert [each.shape[-1] for each in maps] == [finest // 2**k for k in range(len(maps))]
    assert maps[-1].shape[-1] == coarsest(resolution)
    assert networks.image_critic.head(drawn).shape == (2, len(EXPRESSIONS))


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
    finest = "block96." if tiny_model.blocks == "residual" else "block48."
    assert all(finest in name for name in new)
    assert all(large[name].shape == value.shape for name, value in small.items())


@pytest.mark.parametrize("resolution", [48, 64])
def test_no_samples_output_depends_on_its_neighbours(tiny_model, resolution):
    model = dataclasses.replace(at(tiny_model, resolution, 3), skip="warp" if resolution == 48 else "none")
    networks = Networks(model, seed=0).double()
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, resolution, resolution, generator=rng, dtype=torch.float64) * 2 - 1
    z = torch.randn(4, tiny_model.latent_dim, generator=rng, dtype=torch.float64)
    label = torch.tensor([0, -1, 6, 3])
    outputs = {
        "encoder": lambda rows: networks.encoder(x[rows]).z,
        "generator": lambda rows: networks.generator(Code(z[rows]), label[rows]),
        "swapped": lambda rows: networks.generator(networks.encoder(x[rows]), label[rows]),
        "latent_critic": lambda rows: networks.latent_critic(z[rows]),
        "image_critic": lambda rows: networks.image_critic(x[rows], label[rows]).score,
        "head": lambda rows: networks.image_critic.head(x[rows]),
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
    drawn = [name for name, value in one.items() if value.ndim > 1 and value.any()]
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
    drawn, scores = networks.generator(Code(z), label), networks.image_critic(x, label).score
    distances = torch.pdist(drawn.flatten(1).double())
    assert distances.min() > 1e-3
    assert torch.pdist(scores.double()[:, None]).min() > 1e-5


def test_first_pictures_are_a_calm_grey_and_first_codes_are_neither_gone_nor_huge():
    networks = Networks(ModelConfig(resolution=48, channels=1), seed=0)
    rng = torch.Generator().manual_seed(0)
    code = networks.encoder(torch.rand(8, 1, 48, 48, generator=rng) * 2 - 1)
    drawn = networks.generator(code, torch.zeros(8, dtype=torch.int64))
    assert 0.1 < code.z.std() < 10
    assert drawn.abs().max() < 0.9


def test_a_config_without_a_shape_is_refused():
    with pytest.raises(ValueError, match="resolution and channels"):
        Encoder(ModelConfig())


def test_parameter_count_counts_every_number(tiny_model):
    d, w = tiny_model.latent_dim, tiny_model.latent_critic_features
    assert parameter_count(LatentCritic(tiny_model)) == (d * w + w) + (w * w + w) + (w + 1)


# ---- what reaches the generator besides z

SKIPS = "none", "features", "residual", "mask", "warp"


def with_skip(model: ModelConfig, skip: str, resolution: int = 48, channels: int = 1) -> Networks:
    return Networks(dataclasses.replace(at(model, resolution, channels), skip=skip), seed=0).double()


def faces(count: int, resolution: int = 48, channels: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(4)
    shape = count, channels, resolution, resolution
    return torch.rand(shape, generator=rng, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("resolution", "channels"), [(48, 1), (64, 3)])
@pytest.mark.parametrize("skip", SKIPS)
def test_each_kind_draws_faces_from_their_codes_and_from_draws_of_the_prior(
    tiny_model, skip, resolution, channels
):
    networks = with_skip(tiny_model, skip, resolution, channels)
    x, label = faces(3, resolution, channels), torch.tensor([0, 5, -1])
    code = networks.encoder(x)
    assert (len(code.maps), code.source is None) == (
        0 if skip == "none" else len(networks.generator.blocks),
        skip in ("none", "features"),
    )
    for each in (code, Code(code.z)):
        drawn = networks.generator(each, label)
        assert drawn.shape == x.shape
        assert drawn.abs().max() <= 1
        assert len(set(drawn.flatten(1).sum(1).tolist())) == 3
    by_z = networks.generator(Code(code.z), label)
    assert torch.equal(networks.generator(code, label), by_z) == (skip == "none")
    drawn_twice = networks.generator(code.repeat(2), label.repeat(2))
    torch.testing.assert_close(drawn_twice, networks.generator(code, label).repeat(2, 1, 1, 1))


def test_a_generator_that_adds_nothing_to_its_source_draws_it_again(tiny_model):
    networks = with_skip(tiny_model, "residual")
    for parameter in networks.generator.to_image.parameters():
        nn.init.zeros_(parameter)
    x = torch.cat([faces(2), torch.ones(1, 1, 48, 48), -torch.ones(1, 1, 48, 48)])
    drawn = networks.generator(networks.encoder(x), torch.tensor([0, 1, 2, 3]))
    assert (drawn - x).abs().max() <= 0.01 + 1e-12
    assert torch.isfinite(drawn).all()


def test_a_mask_lies_between_source_and_drawn_and_is_never_closed(tiny_model):
    networks = with_skip(tiny_model, "mask")
    x, label = faces(2), torch.tensor([0, 1])
    code = networks.encoder(x)
    drawn = networks.generator(code._replace(source=None), label)
    bias = networks.generator.to_image.bias
    with torch.no_grad():
        bias[-1] = 1e4
    torch.testing.assert_close(networks.generator(code, label), drawn)
    with torch.no_grad():
        bias[-1] = -1e4
    closed = networks.generator(code, label)
    torch.testing.assert_close(closed, 0.02 * drawn + 0.98 * x, rtol=1e-9, atol=1e-12)
    closed.square().sum().backward()
    assert networks.generator.to_image.weight.grad[:, :-1].abs().max() > 0


@pytest.mark.parametrize("skip", ["none", "mask", "warp"])
def test_weights_of_conditions_draw_what_lies_between_and_at_the_corners_the_classes(tiny_model, skip):
    networks = with_skip(tiny_model, skip)
    code = networks.encoder(faces(1).expand(8, -1, -1, -1))
    label = torch.tensor([0, 1, 2, 3, 4, 5, 6, -1])
    corners = torch.eye(8, dtype=torch.float64)
    expected = networks.generator(code, label)
    torch.testing.assert_close(networks.generator(code, corners), expected, rtol=1e-12, atol=1e-13)
    between = networks.generator(code, 0.5 * corners + 0.5 * corners[0])
    assert torch.equal(between[0], networks.generator(code, corners)[0])
    for number in range(1, 8):
        to_one, to_other = ((between[number] - each).norm() for each in (expected[0], expected[number]))
        assert 0 < max(to_one, to_other) < (expected[0] - expected[number]).norm()


def test_the_pure_form_has_the_weights_of_the_original(tiny_model):
    pure, carrying = (set(with_skip(tiny_model, skip).state_dict()) for skip in ("none", "features"))
    assert pure < carrying
    assert all(name.startswith("generator.joins.") for name in carrying - pure)


@pytest.mark.parametrize("skip", SKIPS)
def test_every_kind_draws_in_half_precision_and_sources_stay_in_their_own(tiny_model, skip):
    networks = Networks(dataclasses.replace(tiny_model, skip=skip), seed=0)
    # Smooth, as faces are: where noise is bent by a hair's breadth less, it is another picture.
    coarse = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x, label = functional.interpolate(coarse, 48, mode="bilinear"), torch.tensor([0, 3])
    with torch.no_grad():
        exact = networks.generator(networks.encoder(x), label)
        with torch.autocast("cpu", torch.bfloat16):
            found = networks.generator(networks.encoder(x), label)
    assert found.dtype == (torch.float32 if skip in ("residual", "mask", "warp") else torch.bfloat16)
    torch.testing.assert_close(found.float(), exact, rtol=0, atol=0.02)

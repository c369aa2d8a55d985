"""Residual blocks begin as the identity, see every pixel, and move with what they see."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from fes.model.blocks import PARTS, PENALISED_PARTS, features_at, initialise
from fes.model.residual import (
    ResidualBlock,
    ResidualDownsampler,
    ResidualGeneratorBlock,
    begin_as_identity,
    to_picture,
)


def made(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    initialise(network)
    begin_as_identity(network)
    return network.double()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_block_passes_on_what_it_gets_at_first_and_learns_to_change_it():
    block, h = made(ResidualBlock(8, PARTS)), noise(2, 8, 6, 6)
    torch.testing.assert_close(block(h), unit(h))
    block(h).square().sum().backward()
    assert block.last.weight.grad.abs().max() > 0


def untrained(network: nn.Module) -> nn.Module:
    """With weights of chance in every convolution, those that a block begins with at 0 included."""
    torch.manual_seed(0)
    initialise(network)
    return network.double()


def unit(h: torch.Tensor) -> torch.Tensor:
    return torch.where(h > 0, h, 0.2 * h)


def test_what_a_block_adds_is_two_convolutions_with_a_norm_and_a_unit_between():
    block, h = untrained(ResidualBlock(8, PARTS)), noise(2, 8, 6, 6)
    torch.testing.assert_close(block(h), unit(h + block.last(unit(block.norm(block.first(h))))))
    block, label = untrained(ResidualGeneratorBlock(16, 8)), torch.tensor([0, 5])
    h = noise(2, 16, 3, 3)
    wider = functional.interpolate(block.widen(h), scale_factor=2, mode="bilinear")
    wider = block.norms[0](wider, label)
    change = block.last(block.norms[1](block.first(wider), label))
    torch.testing.assert_close(block(h, label), unit(wider + change))


def test_maps_are_what_blocks_make_of_the_means_of_the_finer_ones(tiny_model):
    network, x = untrained(ResidualDownsampler(tiny_model, PARTS)), noise(2, 1, 48, 48)
    maps, h = network(x), unit(network.from_image(x))
    for found, name in zip(maps[:-1], ("block48", "block24", "block12", "block6"), strict=True):
        torch.testing.assert_close(found, network.blocks[name](h))
        blocks_of_four = found.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))
        h = network.widen[name](blocks_of_four)
    torch.testing.assert_close(maps[-1], network.last(h))


def test_a_generators_block_doubles_adds_and_normalises_by_class_at_first():
    block, label = made(ResidualGeneratorBlock(16, 8)), torch.tensor([0, 5])
    h, joining = noise(2, 16, 3, 3), noise(2, 8, 6, 6)
    wider = functional.interpolate(block.widen(h), scale_factor=2, mode="bilinear") + joining
    expected = unit(block.norms[0](wider, label))
    torch.testing.assert_close(block(h, label, joining), expected)
    assert not torch.allclose(block(h, label.flip(0), joining), expected)
    assert block(h, label).shape == (2, 8, 6, 6)


@pytest.mark.parametrize("resolution", [48, 64])
def test_maps_go_from_the_pictures_own_resolution_to_the_coarsest(tiny_model, resolution):
    model = dataclasses.replace(tiny_model, resolution=resolution)
    maps = made(ResidualDownsampler(model, PARTS))(noise(2, 1, resolution, resolution))
    sizes = [resolution >> n for n in range(5)]
    assert [each.shape for each in maps] == [(2, features_at(at, model), at, at) for at in sizes]
    assert maps[-1][0].numel() == ResidualDownsampler(model, PARTS).size


def test_maps_move_with_the_picture(tiny_model):
    """Strides would see another grid of pixels where a picture moves by less than they do."""
    network = made(ResidualDownsampler(tiny_model, PENALISED_PARTS)).requires_grad_(False)
    for each in network.blocks.values():
        nn.init.normal_(each.last.weight, std=0.1)
    x = noise(1, 1, 48, 48)
    still, moved = network(x), network(x.roll(4, dims=3))
    for level, shift, edge in ((0, 4, 4), (1, 2, 5), (2, 1, 5)):  # as far as the picture's edge is seen
        inner = (..., slice(edge, -edge), slice(edge + shift, -edge))
        torch.testing.assert_close(moved[level][inner], still[level].roll(shift, dims=3)[inner])


def test_every_pixel_counts_and_the_last_layer_draws_at_the_pictures_own_resolution(tiny_model):
    network = made(ResidualDownsampler(tiny_model, PARTS))
    x = noise(1, 1, 48, 48).requires_grad_()
    network(x)[-1].square().sum().backward()
    assert (x.grad != 0).all()
    assert to_picture(8, 2)(torch.zeros(1, 8, 48, 48)).shape == (1, 2, 48, 48)

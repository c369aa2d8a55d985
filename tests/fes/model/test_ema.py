"""The moving average against its closed form."""

import pytest
import torch
from torch import nn

from fes.model.ema import Ema
from fes.model.networks import Networks

IMAGES = 48


class Pair:
    """An encoder with a buffer and a generator, as small as can be."""

    def __init__(self) -> None:
        self.encoder, self.generator = nn.BatchNorm1d(2), nn.Linear(2, 1)


def weights(networks) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in networks.parameters()])


def moved(pair: Pair, value: float) -> None:
    with torch.no_grad():
        for network in (pair.encoder, pair.generator):
            for parameter in network.parameters():
                parameter.fill_(value)


@pytest.mark.parametrize("halflife_kimg", [0.2, 1000.0])
def test_the_average_after_many_updates_is_the_closed_form(halflife_kimg):
    pair = Pair()
    ema = Ema(pair, halflife_kimg)
    start = weights(ema.average)
    expected, seen = start.clone(), 0
    for value in range(1, 201):
        moved(pair, float(value))
        seen += IMAGES
        ema.update(seen, IMAGES)
        keep = 0.5 ** (IMAGES / min(halflife_kimg * 1000, seen / 20))
        expected = keep * expected + (1 - keep) * value
    torch.testing.assert_close(weights(ema.average), expected, rtol=1e-5, atol=0)


def test_after_one_halflife_half_of_a_weight_is_forgotten():
    pair = Pair()
    moved(pair, 0.0)
    ema = Ema(pair, halflife_kimg=1.0)
    moved(pair, 1.0)
    for _ in range(10):
        ema.update(seen=1_000_000, images=100)
    torch.testing.assert_close(weights(ema.average), torch.full((7,), 0.5, dtype=torch.float64))


def test_the_first_weights_are_soon_forgotten():
    pair = Pair()
    moved(pair, 0.0)
    ema = Ema(pair, halflife_kimg=20.0)
    moved(pair, 1.0)
    ema.update(seen=IMAGES, images=IMAGES)  # a half-life of a twentieth of an update
    assert weights(ema.average).min() > 1 - 1e-6


def test_buffers_are_copied():
    pair = Pair()
    ema = Ema(pair, 20.0)
    pair.encoder.running_mean.fill_(3.0)
    ema.update(seen=IMAGES, images=IMAGES)
    assert torch.equal(ema.average["encoder"].running_mean, torch.full((2,), 3.0))


def test_the_average_learns_nothing_by_itself_and_leaves_the_networks_alone(tiny_model):
    networks = Networks(tiny_model, seed=0)
    before = weights(networks)
    ema = Ema(networks, 20.0)
    ema.update(seen=100, images=100)
    assert torch.equal(weights(networks), before)
    assert all(p.requires_grad for p in networks.parameters())
    assert not any(p.requires_grad for p in ema.average.parameters())
    assert not ema.average.training
    assert {name for name, _ in ema.average.named_children()} == {"encoder", "generator"}

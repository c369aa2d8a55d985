"""What the steps of a run work on: what held-out pictures tell."""

import dataclasses

import pytest
import torch

from fes import draws
from fes.config import AugmentConfig
from fes.data.stream import Stream
from fes.errors import InputError
from fes.hardware import Hardware
from fes.learning.dials import Dials
from fes.learning.objectives import CriticObjective
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.supply import held_out_for

ADAPTIVE = AugmentConfig(strength=0.6, adapt_kimg=1.0)


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_gap_on_held_out_pictures_is_that_of_the_objective_in_any_pieces(
    tiny_config, drawn_mixture, micro_batch
):
    config = dataclasses.replace(tiny_config, augment=ADAPTIVE)
    networks, dials = Networks(config.model, seed=3), Dials(config.loss, config.augment)
    gap = held_out_for(config, drawn_mixture, Runtime(Hardware(micro_batch=micro_batch)), networks, dials)
    stream = Stream(drawn_mixture.held_out(("valid", "test"), 48, 1), seed=config.seed, batch=8, window=64)
    for step in (0, 5):
        noise = draws.noise(config.seed, step, 8, config.model.latent_dim)
        _, measured = CriticObjective(networks, config.loss, dials)(stream[step], noise)
        found = gap(step)
        assert not found.requires_grad
        torch.testing.assert_close(found, measured["critic/image_gap"], rtol=1e-5, atol=1e-6)


def test_nothing_is_held_out_where_no_dial_asks_and_it_is_told_where_there_is_nothing(
    tiny_config, drawn_mixture, monkeypatch
):
    networks = Networks(tiny_config.model, seed=0)
    still, moving = Dials(tiny_config.loss), Dials(tiny_config.loss, ADAPTIVE)
    assert held_out_for(tiny_config, drawn_mixture, Runtime(), networks, still) is None
    monkeypatch.setattr(type(drawn_mixture), "held_out", lambda *_: [])
    with pytest.raises(InputError, match=r"which --augment\.adapt-kimg needs"):
        held_out_for(tiny_config, drawn_mixture, Runtime(), networks, moving)

"""How a run is computed: settings that make sense, pieces as large as asked, and numbers that stay."""

import pytest
import torch

from fes.data.stream import Stream
from fes.draws import Noise, noise
from fes.errors import InputError
from fes.hardware import Hardware, check_hardware, pieces
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.cast import build


@pytest.mark.parametrize("share", [1, 2, 7, 12, 32])
@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 8, 100, None])
def test_a_share_is_cut_into_as_few_equal_pieces_as_fit(share, micro_batch):
    count = pieces(share, micro_batch)
    most = share if micro_batch is None else micro_batch
    assert share % count == 0
    assert share // count <= most
    assert not any(share % fewer == 0 and share // fewer <= most for fewer in range(1, count))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"micro_batch": 0}, "--micro-batch is 0"),
        ({"rank_timeout": 0.5}, "--rank-timeout is 0.5"),
        ({"rank_timeout": float("nan")}, "--rank-timeout is nan"),
        ({"rank_timeout": float("inf")}, "--rank-timeout is inf"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings, told):
    with pytest.raises(InputError, match=told):
        check_hardware(Hardware(**settings))


def test_the_defaults_make_sense():
    assert check_hardware(Hardware()) == Hardware()


@pytest.mark.usefixtures("one_core")
def test_the_order_of_channels_in_memory_changes_no_number(tiny_config, drawn_index):
    batch = Stream([drawn_index.split("train")], seed=0, batch=8, window=64)[0]
    drawn = Noise(*(part.double() for part in noise(0, 0, 8, tiny_config.model.latent_dim)))
    found = []
    for channels_last in (False, True):
        networks = Networks(tiny_config.model, seed=0).double()
        parts, *_ = build(tiny_config, networks, Runtime(Hardware(channels_last=channels_last)))
        kernel = networks.image_critic.state_dict()["features.blocks.block24.0.weight"]
        assert kernel.is_contiguous(memory_format=torch.channels_last) == channels_last
        for name in ("critics", "autoencoder"):
            parts.keepers[name].step(batch, drawn)
        found.append(networks.state_dict())
    assert all(torch.allclose(value, found[1][name], atol=1e-11) for name, value in found[0].items())

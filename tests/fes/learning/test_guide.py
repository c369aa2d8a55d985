"""The guide: through which noise it looks, that it never learns, and that it moves synthesised faces."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from fes import draws
from fes.batch import to_float
from fes.config import LossConfig
from fes.data.stream import Stream
from fes.draws import GUIDE_DRAWS
from fes.judge import new_judge
from fes.learning.guide import Guide
from fes.learning.players import bare_players
from fes.model.networks import Networks
from fes.runtime.player import Player
from tests.fes.by_hand import through_noise

pytestmark = pytest.mark.usefixtures("one_core")

MOST = 0.4
"""Most noise on what the guide of these tests sees."""


@pytest.fixture
def guide(drawn_judge) -> Guide:
    """One that reads drawn faces."""
    return Guide(copy.deepcopy(drawn_judge), MOST)


@pytest.fixture
def x(drawn_index) -> Tensor:
    """Faces of two people, 14 pictures [14, 1, 48, 48]."""
    split = drawn_index.split("test")
    return to_float(torch.stack([torch.from_numpy(split.image(p)) for p in range(14)]))


def drawn(count: int) -> Tensor:
    """Draws for pictures, the first and the last of which are the least and the most that there can be."""
    found = draws.noise(0, 3, count, 8).guide
    found[0], found[-1] = 0.0, 1 - 2**-24
    return found


def shown(guide: Guide, x: Tensor, by: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The pictures that the guide's network is given."""
    with monkeypatch.context() as patch:
        patch.setattr(guide.judge, "glance", lambda seen: seen)
        return guide(x, by)


# ---- through noise


@pytest.mark.parametrize(("size", "channels", "side"), [(48, 1, 48), (48, 3, 96), (64, 1, 256)])
def test_what_it_sees_is_blocks_of_a_picture_and_a_grain_rolled_and_scaled_as_the_draws_say(
    size, channels, side, monkeypatch
):
    guide = Guide(new_judge("plain", size, channels, seed=0), MOST)
    rng = torch.Generator().manual_seed(1)
    x, by = torch.rand(20, channels, side, side, generator=rng) * 2 - 1, drawn(20)
    found = shown(guide, x, by, monkeypatch)
    assert (found.shape, found.dtype) == ((20, channels, size, size), torch.float32)
    for one, picture, own in zip(found, x, by, strict=True):
        torch.testing.assert_close(one, through_noise(guide, picture, own), rtol=0, atol=1e-6)
    quiet = by * torch.tensor([0.0, 1, 1, 1])
    noise = (found - shown(guide, x, quiet, monkeypatch)).flatten(1)
    torch.testing.assert_close(noise.std(1), MOST * by[:, 0], rtol=0.1, atol=1e-6)


def test_its_answers_are_the_networks_to_what_it_sees_without_the_mirror_image(guide, x):
    by = drawn(14)
    seen = torch.stack([through_noise(guide, *each) for each in zip(x, by, strict=True)])
    found = guide(x, by)
    torch.testing.assert_close(found, guide.judge.glance(seen))
    assert (found - guide.judge(seen)).abs().max() > 0.01
    assert (found - guide.judge.glance(x)).abs().max() > 0.1


def test_without_deviation_it_sees_the_picture_itself_whatever_else_is_drawn(guide, x):
    by = drawn(14)
    still = by * torch.tensor([0.0, 1, 1, 1])
    assert torch.equal(guide(x, still), guide.judge.glance(x))
    assert not torch.equal(guide(x, by), guide.judge.glance(x))
    assert torch.equal(Guide(guide.judge, 0.0)(x, by), guide.judge.glance(x))


def test_of_larger_pictures_it_sees_the_means_of_blocks(guide, x):
    larger = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    across = torch.tensor([0.25, -0.25]).repeat(48)  # ripples that no block's mean shows
    by = drawn(14)
    torch.testing.assert_close(guide(larger + across, by), guide(x, by), rtol=1e-4, atol=1e-4)
    assert (guide(larger.roll(9, 3), by) - guide(x, by)).abs().max() > 0.1


def test_the_noise_of_a_picture_is_its_draws_alone_so_that_ranks_share_it_as_they_share_a_batch(
    guide, x, monkeypatch
):
    by, rows = drawn(14), slice(4, 9)
    whole = shown(guide, x, by, monkeypatch)
    assert torch.equal(shown(guide, x[rows], by[rows], monkeypatch), whole[rows])
    for place in range(GUIDE_DRAWS):
        other = by.clone()
        other[5, place] = (other[5, place] + 0.5) % 1
        moved = (shown(guide, x, other, monkeypatch) != whole).flatten(1).any(1)
        assert moved.nonzero().tolist() == [[5]], place


def test_grains_are_standard_normal_and_never_change(guide):
    """Else a run that goes on after an update of fes would not be the run it was."""
    grains = guide.grains
    assert grains.flatten()[[0, 1, -1]].tolist() == pytest.approx([1.889506, -1.921828, -0.520283], abs=1e-4)
    assert grains.mean().abs() < 0.01
    assert grains.std().item() == pytest.approx(1.0, abs=0.01)
    assert torch.corrcoef(grains.flatten(1)).fill_diagonal_(0).abs().max() < 0.12  # of 2304 pixels
    before = torch.get_rng_state()
    assert torch.equal(Guide(new_judge("plain", 48, 1, seed=3), 0.1).grains, grains)
    assert torch.equal(torch.get_rng_state(), before)


# ---- it never learns


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("stage", ["gan", "joint"])
def test_it_does_not_learn_and_keeps_its_statistics_while_the_faces_follow_it(
    kind, stage, tiny_config, drawn_index
):
    judge = new_judge(kind, 48, 1, seed=0)  # as it is in training
    guide, before = Guide(judge, MOST), copy.deepcopy(judge.state_dict())
    config = dataclasses.replace(tiny_config, loss=LossConfig(guide_weight=1.0))
    networks = Networks(config.model, seed=0)
    weights = copy.deepcopy(networks.generator.state_dict())
    players = {
        name: Player(*each) for name, each in bare_players(config, networks, None, stage, guide).items()
    }
    stream = Stream([drawn_index.split("train")], seed=0, batch=8, window=64)
    for step, name in enumerate(["critics", "autoencoder", "critics", "autoencoder"]):
        players[name].step(stream[step], draws.noise(0, step, 8, config.model.latent_dim))
    assert not torch.equal(networks.generator.state_dict()["to_image.weight"], weights["to_image.weight"])
    after = judge.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []
    assert not any(module.training for module in judge.modules())
    assert not any(parameter.requires_grad for parameter in judge.parameters())
    assert all(parameter.grad is None for parameter in judge.parameters())

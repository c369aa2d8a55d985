"""Steps that are recorded once and replayed are the ordinary steps."""

import dataclasses

import pytest
import torch
from torch import nn

from fes import draws
from fes.batch import Batch
from fes.config import LossConfig, ModelConfig
from fes.data.stream import Stream
from fes.draws import Noise
from fes.judge import new_judge
from fes.learning.guide import Guide
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.replayed import ReplayedPlayer
from shards.index import ShardIndex

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = "cuda"
STEPS = 8


def work(index: ShardIndex, model: ModelConfig, step: int) -> tuple[Batch, Noise]:
    batch = Stream([index.split("train")], seed=0, batch=16, window=64)[step]
    noise = draws.noise(0, step, 16, model.latent_dim)
    return Batch(*(part.to(DEVICE) for part in batch)), Noise(*(part.to(DEVICE) for part in noise))


SIMPLE = LossConfig(expression_weight=1.0)
GUIDED = LossConfig(
    guide_weight=2.0,
    guide_margin=0.0,
    guide_clear=0.1,
    guide_limit=0.75,
    guide_painting=0.3,
    light_weight=0.8,
    return_weight=0.3,
)
"""The terms of recipes/fer2013.yaml."""


def player_of(
    kind: type[nn.Module],
    how: type[Player],
    model: ModelConfig,
    weights: LossConfig = SIMPLE,
    channels_last: bool = False,
) -> Player:
    """A player that gradients of nothing but rounding, as of a bias before a norm, do not move."""
    networks = Networks(model, seed=0).to(DEVICE)
    if channels_last:
        networks.to(memory_format=torch.channels_last)
    guide = {}
    if weights.guide_weight and kind is AutoencoderObjective:
        guide = {"guide": Guide(new_judge("plain", 48, 1, seed=0).to(DEVICE), noise=0.5)}
    objective = kind(networks, weights, **guide)
    adam = torch.optim.Adam(objective.parameters(), 1e-4, (0.0, 0.9), eps=1e-3)
    return how(objective, adam, precision="no")


@pytest.mark.parametrize("kind", [CriticObjective, AutoencoderObjective])
@pytest.mark.parametrize(("weights", "channels_last"), [(SIMPLE, False), (GUIDED, False), (GUIDED, True)])
def test_replayed_steps_measure_and_learn_what_ordinary_ones_do(
    kind, weights, channels_last, tiny_model, drawn_index
) -> None:
    if weights is GUIDED:
        tiny_model = dataclasses.replace(tiny_model, blocks="residual", skip="warp")
    plain, replayed = (
        player_of(kind, how, tiny_model, weights, last)
        for how, last in ((Player, False), (ReplayedPlayer, channels_last))
    )
    for step in range(STEPS):
        asked = {"measure": step % 2 == 0} if kind is AutoencoderObjective else {}
        wanted, found = (
            each.step(*work(drawn_index, tiny_model, step), **asked) for each in (plain, replayed)
        )
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value.float(), rtol=2e-3, atol=2e-4, msg=name)
    for ours, theirs in zip(replayed.objective.parameters(), plain.objective.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)


def test_players_in_turn_work_in_the_same_memory_and_do_not_disturb_each_other(
    tiny_model, drawn_index
) -> None:
    """Each step is asked for with and without measuring, in another order than it was recorded in."""
    kinds = CriticObjective, AutoencoderObjective
    plain, replayed = (
        {kind: player_of(kind, how, tiny_model) for kind in kinds} for how in (Player, ReplayedPlayer)
    )
    reserved = []
    for step in range(2 * STEPS):
        for kind in kinds if step % 3 else reversed(kinds):
            asked = {"measure": step % 4 == 0} if kind is AutoencoderObjective else {}
            wanted, found = (
                each[kind].step(*work(drawn_index, tiny_model, step), **asked) for each in (plain, replayed)
            )
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value.float(), rtol=2e-3, atol=2e-4, msg=name)
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    for kind in kinds:
        both = (each[kind].objective.parameters() for each in (replayed, plain))
        for ours, theirs in zip(*both, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    pools = {each.graph.pool() for player in replayed.values() for each in player._recordings.values()}
    assert len(pools) == 1
    assert reserved[-1] == reserved[STEPS]


def test_a_replayed_player_goes_on_from_an_ordinary_ones_state(tiny_model, drawn_index) -> None:
    plain, replayed = (player_of(CriticObjective, how, tiny_model) for how in (Player, ReplayedPlayer))
    for step in range(4):
        for each in (plain, replayed):
            each.step(*work(drawn_index, tiny_model, step))
    replayed.objective.load_state_dict(plain.objective.state_dict())
    replayed.load_state_dict(plain.state_dict())
    for step in range(4, STEPS):
        for each in (plain, replayed):
            each.step(*work(drawn_index, tiny_model, step))
    for ours, theirs in zip(replayed.objective.parameters(), plain.objective.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)


def test_an_ordinary_player_goes_on_from_a_replayed_ones_state_and_counts_on_the_cpu(
    tiny_model, drawn_index
) -> None:
    plain, replayed = (player_of(CriticObjective, how, tiny_model) for how in (Player, ReplayedPlayer))
    for step in range(4):
        replayed.step(*work(drawn_index, tiny_model, step))
    plain.load_state_dict(replayed.state_dict())
    counts = [each["step"] for each in plain.optimiser.state.values()]
    assert {(count.device.type, count.item()) for count in counts} == {("cpu", 4.0)}
    plain.step(*work(drawn_index, tiny_model, 4))

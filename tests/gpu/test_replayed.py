"""Steps that are recorded once and replayed are the ordinary steps."""

import pytest
import torch
from torch import nn

from fes import draws
from fes.batch import Batch
from fes.config import LossConfig, ModelConfig
from fes.draws import Noise
from fes.networks import Networks
from fes.objectives import AutoencoderObjective, CriticObjective
from fes.runtime.player import Player
from fes.runtime.replayed import ReplayedPlayer
from fes.stream import Stream
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


def player_of(kind: type[nn.Module], how: type[Player], model: ModelConfig) -> Player:
    """A player that gradients of nothing but rounding, as of a bias before a norm, do not move."""
    objective = kind(Networks(model, seed=0).to(DEVICE), LossConfig(expression_weight=1.0))
    adam = torch.optim.Adam(objective.parameters(), 1e-4, (0.0, 0.9), eps=1e-3)
    return how(objective, adam, precision="no")


@pytest.mark.parametrize("kind", [CriticObjective, AutoencoderObjective])
def test_replayed_steps_measure_and_learn_what_ordinary_ones_do(kind, tiny_model, drawn_index) -> None:
    plain, replayed = (player_of(kind, how, tiny_model) for how in (Player, ReplayedPlayer))
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

"""The two players of a stage: their order, their optimisers, and what each of them trains."""

from pathlib import Path

import pytest
import torch

from fes.config import Config, OptimiserConfig
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.learning.players import bare_players
from tests.fes.untrained import ALL, SKIPS, STAGES, WEIGHTS, players_of


def test_the_players_of_a_run_come_critics_first_each_with_adam_at_its_own_rate(networks):
    rates = OptimiserConfig(critic_rate=0.1, autoencoder_rate=0.2, beta1=0.3, beta2=0.4)
    players = bare_players(Config("", Path(), loss=WEIGHTS, optimiser=rates), networks)
    kinds = {name: type(player.objective) for name, player in players.items()}
    assert list(kinds.items()) == [("critics", CriticObjective), ("autoencoder", AutoencoderObjective)]
    for player, rate in zip(players.values(), (0.1, 0.2), strict=True):
        (group,) = player.optimiser.param_groups
        assert (type(player.optimiser), group["lr"], group["betas"]) == (torch.optim.Adam, rate, (0.3, 0.4))
        learning = [p for p in player.objective.parameters() if p.requires_grad]
        assert list(map(id, group["params"])) == list(map(id, learning))
        assert player.objective.weights is WEIGHTS


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("weights", [WEIGHTS, ALL])
def test_every_weight_that_a_stage_trains_gets_a_gradient_at_each_of_its_steps(
    tiny_model, batch, noise, weights, stage, skip
):
    """Else ranks would wait for it."""
    _, _, players = players_of(tiny_model, weights, stage, skip, 0.0)
    for objective in players.values():
        objective(batch, noise)[0].backward()
        got = {name: p.grad is not None for name, p in objective.named_parameters()}
        assert got == {name: p.requires_grad for name, p in objective.named_parameters()}
        assert sum(got.values()) > 5

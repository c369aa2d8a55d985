"""The two players of a stage, bare: what each minimises, and with which optimiser."""

from typing import NamedTuple

import torch
from torch import nn

from fes.config import Config, Stage
from fes.learning.dials import Dials
from fes.learning.guided import Reader
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.model.networks import Networks


class BarePlayer(NamedTuple):
    """A player that knows of no ranks, pieces or precisions."""

    objective: nn.Module
    optimiser: torch.optim.Optimizer
    """Of all parameters of the objective."""


def bare_players(
    config: Config,
    networks: Networks,
    dials: Dials | None = None,
    stage: Stage = "joint",
    guide: Reader | None = None,
) -> dict[str, BarePlayer]:
    """The two players of a stage, critics first, each with its own rate."""
    adam = config.optimiser
    dials = dials or Dials(config.loss, config.augment, next(networks.parameters()).device)
    # What no term of the stage reaches is not trained, and ranks do not wait for its gradients.
    networks.generator.from_source().requires_grad_(stage != "gan")
    networks.image_critic.head.requires_grad_(config.loss.expression_weight > 0)

    def player(objective: nn.Module, rate: float) -> BarePlayer:
        learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        return BarePlayer(objective, torch.optim.Adam(learning, rate, (adam.beta1, adam.beta2)))

    return {
        "critics": player(CriticObjective(networks, config.loss, dials, stage), adam.critic_rate),
        "autoencoder": player(
            AutoencoderObjective(networks, config.loss, dials, stage, guide), adam.autoencoder_rate
        ),
    }

"""Untrained networks and a guide in float64, and the weights of the terms, for tests of the objectives."""

import dataclasses
from functools import partial
from pathlib import Path

import torch

from fes.config import AugmentConfig, Config, LossConfig, ModelConfig
from fes.judge import new_judge
from fes.learning.guide import Guide
from fes.learning.objectives import AutoencoderObjective
from fes.learning.players import bare_players
from fes.model.networks import Networks
from tests.fes.by_hand import ByHand
from tests.fes.made_up import made_up_batch, made_up_noise

WEIGHTS = LossConfig(reconstruction_weight=3.0, image_weight=0.7, latent_weight=0.3, penalty_weight=7.0)
ALL = dataclasses.replace(
    WEIGHTS,
    expression_weight=0.6,
    guide_weight=0.8,
    cycle_weight=1.1,
    return_weight=0.8,
    consistency_weight=0.4,
    light_weight=0.35,
    feature_weight=5.0,
)
SKIPS = "none", "features", "residual", "mask", "warp"
STAGES = "autoencoder", "gan", "joint"


def networks_of(model: ModelConfig) -> Networks:
    """In float64, with a head that tells expressions apart: a fresh one knows nothing."""
    networks = Networks(model, seed=1).double()
    rng = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in networks.image_critic.head.to_class.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.1)
    return networks


def guide_in(dtype: torch.dtype) -> Guide:
    """A guide that has learnt nothing, but is not indifferent."""
    judge = new_judge("plain", 48, 1, seed=4)
    with torch.no_grad():
        judge.classify.weight.mul_(30)
    return Guide(judge.to(dtype), 0.5)


GUIDE = guide_in(torch.float64)
GuidedObjective = partial(AutoencoderObjective, guide=GUIDE)


def players_of(model: ModelConfig, weights, stage, skip, strength) -> tuple[Networks, ByHand, dict]:
    networks = networks_of(dataclasses.replace(model, skip=skip))
    config = Config("", Path(), loss=weights, augment=AugmentConfig(strength=strength))
    players = bare_players(config, networks, stage=stage, guide=GUIDE)
    plain = ByHand(networks, weights, made_up_batch(model), made_up_noise(model), stage, strength, GUIDE)
    return networks, plain, {name: player.objective for name, player in players.items()}

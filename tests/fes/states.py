"""The parts of a small run that has taken a few steps: saved as a state, loaded again, and compared."""

from pathlib import Path

import torch

from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.saved.state import Parts, Restored, find_state, restore, save_state

FILES = ["SHA256SUMS", "average.safetensors", "networks.safetensors", "players.pt", "state.json"]


def parts_of(model, seed: int, steps: int = 2, rate: float = 1e-3) -> Parts:
    """Networks, their average and two players that have taken a few steps."""
    networks = Networks(model, seed)
    ema = Ema(networks, 20.0)
    halves = {
        "critics": torch.nn.ModuleList([networks.latent_critic, networks.image_critic]),
        "autoencoder": torch.nn.ModuleList([networks.encoder, networks.generator]),
    }
    players = {
        name: Player(own, torch.optim.Adam(own.parameters(), rate, (0.0, 0.9)))
        for name, own in halves.items()
    }
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for parameter in networks.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        for player in players.values():
            player.optimiser.step()
        ema.update(seen=8 * (step + 1), images=8)
    return Parts(networks, ema.average, players)


def tensors_of(parts: Parts) -> list[torch.Tensor]:
    """Every tensor of the parts, Adam's moments and step counters among them."""
    modules = [*parts.networks.state_dict().values(), *parts.average.state_dict().values()]
    moments = [
        value
        for player in parts.keepers.values()
        for entry in player.state_dict()["optimiser"]["state"].values()
        for value in entry.values()
    ]
    assert len(moments) == 3 * len(list(parts.networks.parameters()))
    return modules + moments


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def save(config, parts: Parts, step: int = 12, fingerprint: str = "data") -> Path:
    config.run.mkdir(exist_ok=True)
    players = {name: player.state_dict() for name, player in parts.keepers.items()}
    about = {"config": config, "fingerprint": fingerprint}
    return save_state(config.run, parts, players, step=step, kimg=step * 0.008, **about)


def load(config, parts: Parts, fingerprint: str = "data", allow_change=()) -> Restored:
    """Goes on from the newest sound state."""
    return restore(find_state(config.run), parts, config, fingerprint, allow_change)

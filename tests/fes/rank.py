"""One rank of a real distributed run in float64, started by torchrun from the distributed tests.

Saves, under the output folder, this rank's gradients of both objectives on the first weights, and its
weights after ten updates of the autoencoder with the trainer's own loop.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from fes import draws
from fes.batch import Batch
from fes.config import ClockConfig, Config, ModelConfig
from fes.mixture import Mixture
from fes.networks import Networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.stream import Stream, share_of
from fes.train import build
from fes.trainer import fit

MODEL = ModelConfig(
    resolution=48, channels=1, latent_dim=8, max_features=32, min_features=8, latent_critic_features=16
)
UPDATES = 10


def config_for(data: str, run: Path) -> Config:
    """A run of ten updates of the autoencoder, with two of the critics before each."""
    config = Config(data=data, run=run, batch=16, critic_steps=2, model=MODEL)
    kimg = UPDATES * 3 * config.batch / 1000
    return Config(**{**vars(config), "clock": ClockConfig(total_kimg=kimg)})


class Silent:
    """Hooks that keep nothing."""

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        self.measurements = measurements

    def snapshot(self, step: int) -> None: ...

    def state(self, step: int) -> None: ...

    def stopping(self, step: int) -> bool:
        return False


def gradients(player: Player, batch: Batch, noise: draws.Noise) -> dict[str, torch.Tensor]:
    """The gradients that the player's optimiser would see, by parameter."""
    loss, _ = player.objective(batch, noise)
    loss.backward()
    found = {
        name.removeprefix("module."): parameter.grad.clone()
        for name, parameter in player.objective.named_parameters()
    }
    player.optimiser.zero_grad(set_to_none=True)
    return found


def main(data: str, out: Path) -> None:
    config, runtime = config_for(data, out), Runtime()
    networks = Networks(config.model, config.seed).double()
    _, ema, critics, autoencoder = build(config, networks, runtime)
    share = share_of(config.batch, runtime.rank, runtime.ranks)
    parts = Mixture.load(config.data, config.stream).parts(48, 1)
    ranks = {"rank": runtime.rank, "ranks": runtime.ranks}
    stream = Stream(parts, weights=[2.0, 1.0], seed=0, batch=config.batch, window=64, **ranks)

    def noise(step: int) -> draws.Noise:
        drawn = draws.noise(config.seed, step, config.batch, config.model.latent_dim, share)
        return draws.Noise(*(part.double() for part in drawn))

    def batches() -> Iterator[Batch]:
        yield from runtime.placed(stream.batches(0))

    tensors = {}
    for name, player in (("critics", critics), ("autoencoder", autoencoder)):
        found = gradients(player, stream[0], noise(0))
        tensors |= {f"gradient/{name}/{key}": value for key, value in found.items()}
    fit(config, critics, autoencoder, ema, batches(), noise, Silent(), runtime.mean)
    tensors |= {f"weight/{key}": value.contiguous() for key, value in networks.state_dict().items()}
    tensors |= {f"average/{key}": value.contiguous() for key, value in ema.average.state_dict().items()}
    save_file(tensors, out / f"rank{runtime.rank}.safetensors")
    runtime.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""One rank of a run in float64 of ten updates of the autoencoder, on a GPU or on the CPU as launched.

    torchrun --nproc_per_node N tests/gpu/rank.py DATA OUT

Rank 0 saves the networks and their average in OUT.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fes.config import ClockConfig, Config, ModelConfig
from fes.data.mixture import Mixture
from fes.draws import Noise
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.cast import build
from fes.training.supply import noise_for, stream_for
from fes.training.trainer import fit

MODEL = ModelConfig(
    resolution=48, channels=1, latent_dim=8, max_features=32, min_features=8, latent_critic_features=16
)
UPDATES, BATCH, CRITIC_STEPS = 10, 16, 2


class Silent:
    """Hooks that keep nothing."""

    def tick(self, step: int, measurements: dict[str, float]) -> None: ...

    def snapshot(self, step: int) -> None: ...

    def state(self, step: int) -> None: ...

    def stopping(self, step: int) -> bool:
        return False


def main(data: str, out: Path) -> None:
    clock = ClockConfig(total_kimg=UPDATES * (CRITIC_STEPS + 1) * BATCH / 1000)
    config = Config(data, out.parent, batch=BATCH, critic_steps=CRITIC_STEPS, model=MODEL, clock=clock)
    runtime = Runtime()
    networks = Networks(config.model, config.seed).to(runtime.device, torch.float64)
    _, ema, cast = build(config, networks, runtime)
    batches = runtime.placed(stream_for(config, Mixture.load(data, config.stream), runtime).batches(0))
    drawn = noise_for(config, runtime)

    def noise(step: int) -> Noise:
        return Noise(*(part.double() for part in drawn(step)))

    fit(config, cast, cast.dials, ema, batches, noise, Silent(), runtime.mean)
    if runtime.is_main:
        parts = {"networks": networks, "average": ema.average}
        tensors = {
            f"{name}.{key}": value.cpu().contiguous()
            for name, part in parts.items()
            for key, value in part.state_dict().items()
        }
        save_file(tensors, out)
    runtime.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""What one rank of a real distributed run does, in the tests of several ranks."""

import hashlib
import itertools
import os
import resource
import signal
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fes import draws, train
from fes.config import ClockConfig, Config, ModelConfig
from fes.hardware import Hardware
from fes.mixture import Mixture
from fes.networks import Networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.state import Parts, find_state, restore, save_state
from fes.stream import Stream, share_of
from fes.trainer import fit

MODEL = ModelConfig(
    resolution=48, channels=1, latent_dim=8, max_features=32, min_features=8, latent_critic_features=16
)
UPDATES, CRITIC_STEPS = 10, 2
HALF = UPDATES // 2 * (CRITIC_STEPS + 1)
WAYS = {
    "plain": (Hardware(), 0),
    "readers": (Hardware(), 3),
    "pieces": (Hardware(micro_batch=2), 0),
    "pieces-readers": (Hardware(micro_batch=2), 3),
}
"""Hardware, and processes that read ahead."""


class InFloat64:
    """A run in float64, of ten updates of the autoencoder with two of the critics before each.

    The batch of 12 is one that 1, 2, 3 and 4 ranks can share.
    """

    def __init__(self, data: str, run: Path, runtime: Runtime) -> None:
        config = Config(data=data, run=run, batch=12, critic_steps=CRITIC_STEPS, model=MODEL)
        kimg = UPDATES * (CRITIC_STEPS + 1) * config.batch / 1000
        self.config = Config(**{**vars(config), "clock": ClockConfig(total_kimg=kimg)})
        self.runtime = runtime
        parts = Mixture.load(data, config.stream).parts(48, 1)
        ranks = {"rank": runtime.rank, "ranks": runtime.ranks}
        self.stream = Stream(parts, weights=[2.0, 1.0], seed=0, batch=config.batch, window=64, **ranks)
        self.share = share_of(config.batch, runtime.rank, runtime.ranks)

    def noise(self, step: int) -> draws.Noise:
        drawn = draws.noise(self.config.seed, step, self.config.batch, MODEL.latent_dim, self.share)
        return draws.Noise(*(part.double() for part in drawn))

    def build(self) -> tuple[Parts, Any, Player, Player]:
        """As `fes.train.build`."""
        return train.build(self.config, Networks(MODEL, self.config.seed).double(), self.runtime)

    def first_gradients(self) -> dict[str, Tensor]:
        """What the optimisers see of both objectives on the first weights, by parameter."""
        parts, *_ = self.build()
        found: dict[str, Tensor] = {}
        for name, player in parts.players.items():
            for group in player.optimiser.param_groups:
                group["lr"] = 0.0  # the other player is to see the first weights, too
            player.optimiser.register_step_pre_hook(lambda *_, n=name, p=player: found.update(grads(n, p)))
            player.step(self.stream[0], self.noise(0))
        return found

    def train(self, workers: int, stop: int | None = None) -> dict[str, Tensor]:
        """Trains with the trainer's own loop, from the run's state if it has one.

        Where it is to stop before a step, it saves its state. Returns weights, averages, the last
        measurements, and a digest of the gradients of each step, uint8 [steps, 32].
        """
        parts, ema, critics, autoencoder = self.build()
        digests: list[bytes] = []
        for player in (critics, autoencoder):
            player.optimiser.register_step_pre_hook(lambda *_, p=player: digests.append(digest(p)))
        found = self.runtime.from_main(lambda: find_state(self.config.run))
        start = restore(found, parts, self.config, "data").step if found else 0
        batches: Any = self.runtime.placed(self.stream.batches(start, workers))
        hooks = Hooks(self, parts, stop)
        mean = self.runtime.mean
        fit(self.config, critics, autoencoder, ema, batches, self.noise, hooks, mean, start)
        batches.close()
        kept = {f"weight/{key}": value for key, value in parts.networks.state_dict().items()}
        kept |= {f"average/{key}": value for key, value in ema.average.state_dict().items()}
        kept |= {f"measured/{key}": value for key, value in hooks.measured.items()}
        return kept | {"digests": torch.tensor([list(each) for each in digests], dtype=torch.uint8)}


class Hooks:
    """Keeps the last measurements, and stops before a step with a state saved."""

    def __init__(self, run: InFloat64, parts: Parts, stop: int | None) -> None:
        self.run, self.parts, self.stop = run, parts, stop
        self.measured: dict[str, Tensor] = {}

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        numbers = {key: value for key, value in measurements.items() if not key.startswith("time/")}
        self.measured = {key: torch.tensor(value, dtype=torch.float64) for key, value in numbers.items()}

    def snapshot(self, step: int) -> None: ...

    def state(self, step: int) -> None:
        if self.stop is not None:
            players = {name: player.state_dict() for name, player in self.parts.players.items()}
            about = {"step": step, "kimg": float(step), "config": self.run.config, "fingerprint": "data"}
            save = partial(save_state, self.run.config.run, self.parts, players, **about)
            self.run.runtime.from_main(save)

    def stopping(self, step: int) -> bool:
        return step == self.stop


def grads(name: str, player: Player) -> dict[str, Tensor]:
    """The gradients of a player, by its name and the parameter's."""
    return {
        f"gradient/{name}/{key.removeprefix('module.')}": parameter.grad.clone()
        for key, parameter in player.objective.named_parameters()
    }


def digest(player: Player) -> bytes:
    """A digest of the bits of all gradients of a player."""
    parts = (parameter.grad.numpy().tobytes() for parameter in player.objective.parameters())
    return hashlib.sha256(b"".join(parts)).digest()


def compare_ways(data: str, out: Path, elastic: Path) -> None:
    """Saves in `out`, for each way, this rank's first gradients and what it has after ten updates.

    The run `elastic` stops in the middle; where it has been stopped already, it goes on to the end.
    """
    runtime = Runtime()
    os.sched_getaffinity = lambda _: range(3)  # else fewer than three processes would read ahead
    for name, (hardware, workers) in WAYS.items():
        runtime.hardware = hardware
        run = InFloat64(data, out / name, runtime)
        tensors = run.first_gradients() | run.train(workers)
        save_file({key: value.contiguous() for key, value in tensors.items()}, place(out, name, runtime.rank))
    runtime.hardware = Hardware()
    going_on = runtime.from_main(lambda: find_state(elastic) is not None)
    tensors = InFloat64(data, elastic, runtime).train(workers=0, stop=None if going_on else HALF)
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, place(out, "elastic", runtime.rank)
    )
    runtime.close()


def place(out: Path, way: str, rank: int) -> Path:
    """The file in which a rank saves."""
    return out / f"{way}-{rank}.safetensors"


def train_on_a_disk_that_hangs(at: int, arguments: list[str]) -> None:
    """Trains, until a disk does not answer when it is to keep what was written for the `at`-th time."""
    fsync, calls = os.fsync, itertools.count(1)

    def hanging(handle: int) -> None:
        if next(calls) == at:
            os.write(1, b"the disk hangs\n")
            signal.pause()
        fsync(handle)

    os.fsync = hanging
    train.main(arguments)


def train_in_a_folder_of_its_own(places: list[Path], arguments: list[str], seeds: tuple[int, ...]) -> None:
    """Trains as a rank does whose machine sees other folders under the same names, or got another seed."""
    rank = int(os.environ["RANK"])
    os.chdir(places[rank])
    train.main([*arguments, "--seed", str(seeds[rank])] if seeds else arguments)


def train_with_small_files(limit: int, arguments: list[str]) -> None:
    """Trains where no file may be larger than a number of bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    train.main(arguments)

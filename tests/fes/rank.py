"""What one rank of a real distributed run does, in the tests of several ranks."""

import hashlib
import itertools
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fes import clock, draws, train
from fes.config import (
    AugmentConfig,
    AutoencoderStage,
    ClockConfig,
    Config,
    GanStage,
    LossConfig,
    ModelConfig,
    StagesConfig,
)
from fes.data import mixture
from fes.data.mixture import Mixture
from fes.data.stream import Stream, share_of
from fes.hardware import Hardware
from fes.judge import new_judge
from fes.learning.dials import Dials
from fes.learning.guide import Guide
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.saved.state import Parts, find_state, restore, save_state
from fes.training import supply, trainer
from fes.training.cast import Cast, build
from fes.training.supply import held_out_for
from fes.training.trainer import fit
from shards.remote.shelf import CachedShards

MODEL = ModelConfig(
    resolution=48, channels=1, latent_dim=8, max_features=32, min_features=8, latent_critic_features=16
)
UPDATES, CRITIC_STEPS = 10, 2
HALF = UPDATES // 2 * (CRITIC_STEPS + 1)
WAYS = {
    "plain": (Hardware(), 0),
    "readers": (Hardware(), 3),
    "pieces": (Hardware(micro_batch=2), 3),
}
"""Hardware, and processes that read ahead."""
BATCH = 12
CYCLE_KIMG = (CRITIC_STEPS + 1) * BATCH / 1000
EVERYTHING = {
    "model": replace(MODEL, skip="warp"),
    "loss": LossConfig(
        expression_weight=0.5,
        guide_weight=0.4,
        guide_painting=0.3,
        cycle_weight=0.7,
        return_weight=0.6,
        consistency_weight=0.3,
        feature_weight=2.0,
        paint_weight=0.5,
        paint_free=0.1,
        strain_weight=0.3,
        strain_limit=0.2,
        adversary="r1-relativistic",
        penalty_weight=3.0,
        balance=True,
    ),
    "augment": AugmentConfig(flips=True, class_balance=0.8, strength=0.4, adapt_kimg=0.4),
    "stages": StagesConfig(
        AutoencoderStage(3 * CYCLE_KIMG, latent_weight=0.1, autoencoder_rate=1e-3),
        GanStage(3 * CYCLE_KIMG, image_weight=0.5, critic_rate=2e-4),
    ),
}
"""A recipe with all that there is: three cycles of each of the first stages, and four of the last."""
BOUNDARY, WITHIN = 6 * (CRITIC_STEPS + 1), 8 * (CRITIC_STEPS + 1) - 1
"""Steps: where the last stage begins, and in the midst of it and of a cycle."""


class InFloat64:
    """A run in float64, of ten updates of the autoencoder with two of the critics before each.

    The batch of 12 is one that 1, 2, 3 and 4 ranks can share.
    """

    def __init__(self, data: str, run: Path, runtime: Runtime, **recipe: Any) -> None:
        # States are asked for at every step.
        times = ClockConfig(total_kimg=UPDATES * CYCLE_KIMG, state_kimg=BATCH / 1000)
        settings = {"batch": BATCH, "critic_steps": CRITIC_STEPS, "model": MODEL, "clock": times, **recipe}
        self.config = config = Config(data, run, shuffle_window=64, **settings)
        self.runtime = runtime
        self.mixture = Mixture.load(data, config.stream)
        self.stream = Stream(
            self.mixture.parts(48, 1),
            weights=[2.0, 1.0],
            seed=0,
            batch=BATCH,
            window=64,
            rank=runtime.rank,
            ranks=runtime.ranks,
            flips=config.augment.flips,
            class_balance=config.augment.class_balance,
        )
        self.share = share_of(config.batch, runtime.rank, runtime.ranks)

    def noise(self, step: int) -> draws.Noise:
        drawn = draws.noise(self.config.seed, step, self.config.batch, MODEL.latent_dim, self.share)
        return draws.Noise(*(part.double() for part in drawn))

    def build(self, start: int = 0) -> tuple[Parts, Ema, Cast]:
        """As `fes.training.cast.build`."""
        networks = Networks(self.config.model, self.config.seed).double()
        guide = (
            Guide(new_judge("plain", 48, 1, seed=5).double(), 0.5) if self.config.loss.guide_weight else None
        )
        return build(self.config, networks, self.runtime, start, guide)

    def held_out(self, networks: Networks, dials: Dials) -> Callable[[int], Tensor] | None:
        """As `fes.training.supply.held_out_for`."""
        supply.noise_for = lambda config, runtime: self.noise
        return held_out_for(self.config, self.mixture, self.runtime, networks, dials)

    def first_gradients(self) -> dict[str, Tensor]:
        """What the optimisers see of both objectives on the first weights, by parameter."""
        parts, *_ = self.build()
        found: dict[str, Tensor] = {}
        for name in ("critics", "autoencoder"):
            player = parts.keepers[name]
            for group in player.optimiser.param_groups:
                group["lr"] = 0.0  # the other player is to see the first weights, too
            player.optimiser.register_step_pre_hook(lambda *_, n=name, p=player: found.update(grads(n, p)))
            player.step(self.stream[0], self.noise(0))
        return found

    def train(
        self, workers: int, stop: int | None = None, saved: Mapping[int, Path] | None = None
    ) -> dict[str, Tensor]:
        """Trains with the trainer's own loop, from the run's state if it has one.

        Where it is to stop before a step, it saves its state; and before the steps of `saved` in other runs.
        Returns weights, averages, dials, the last measurements, and a digest of the gradients of each step,
        uint8 [steps, 32].
        """
        found = self.runtime.from_main(lambda: find_state(self.config.run))
        parts, ema, cast = self.build(found.step if found else 0)
        digests: list[bytes] = []
        noted: list[Player] = []  # themselves: another object may have the number of one that is gone

        def watched(step: int) -> Mapping[str, Player]:
            players = cast(step)
            for name in ("critics", "autoencoder"):
                player = players[name]
                if not any(player is each for each in noted):
                    noted.append(player)
                    player.optimiser.register_step_pre_hook(lambda *_, p=player: digests.append(digest(p)))
            return players

        start = restore(found, parts, self.config, "data").step if found else 0
        batches: Any = self.runtime.placed(self.stream.batches(start, workers))
        hooks = Hooks(self, parts, stop, saved or {})
        held_out = self.held_out(parts.networks, cast.dials)
        mean, noise = self.runtime.mean, self.noise
        fit(self.config, watched, cast.dials, ema, batches, noise, hooks, mean, start, held_out)
        batches.close()
        dials = cast.dials.state_dict()
        kept = {f"weight/{key}": value for key, value in parts.networks.state_dict().items()}
        kept |= {f"average/{key}": value for key, value in ema.average.state_dict().items()}
        kept |= {f"dial/{key}": value for key, value in {**dials["pulls"], **dials["strength"]}.items()}
        kept |= {f"measured/{key}": value for key, value in hooks.measured.items()}
        return kept | {"digests": torch.tensor([list(each) for each in digests], dtype=torch.uint8)}


class Hooks:
    """Keeps the last measurements, saves states, and stops before a step."""

    def __init__(self, run: InFloat64, parts: Parts, stop: int | None, saved: Mapping[int, Path]) -> None:
        self.run, self.parts, self.stop = run, parts, stop
        self.saved = saved if stop is None else {stop: run.config.run}
        self.measured: dict[str, Tensor] = {}

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        numbers = {key: value for key, value in measurements.items() if not key.startswith("time/")}
        self.measured = {key: torch.tensor(value, dtype=torch.float64) for key, value in numbers.items()}

    def snapshot(self, step: int) -> None: ...

    def state(self, step: int) -> None:
        if step in self.saved:
            players = {name: player.state_dict() for name, player in self.parts.keepers.items()}
            about = {"step": step, "kimg": float(step), "config": self.run.config, "fingerprint": "data"}
            save = partial(save_state, self.saved[step], self.parts, players, **about)
            self.run.runtime.from_main(save)

    def lost(self, step: int) -> None: ...

    def stopping(self, step: int) -> bool:
        return step == self.stop


def grads(name: str, player: Player) -> dict[str, Tensor]:
    """The gradients of a player, by its name and the parameter's."""
    return {
        f"gradient/{name}/{key.removeprefix('module.')}": parameter.grad.clone()
        for key, parameter in player.objective.named_parameters()
        if parameter.requires_grad
    }


def digest(player: Player) -> bytes:
    """A digest of the bits of all gradients of a player."""
    learning = (parameter for parameter in player.objective.parameters() if parameter.requires_grad)
    parts = (parameter.grad.numpy().tobytes() for parameter in learning)
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


def try_everything(data: str, out: Path, others: Path) -> None:
    """Trains with all that there is, and goes on from the states of that run; saves in `out`, by way, what
    this rank has after ten updates.

    The states that this number of ranks leaves are in `out`. It goes on from these ("boundary", "within"),
    and from those that another number left in `others`, where there are some ("others").
    """
    clock.MEASURE_EVERY = trainer.MEASURE_EVERY = 1  # else only the first cycle would measure anything
    runtime = Runtime()

    def keep(way: str, tensors: dict[str, Tensor]) -> None:
        save_file({key: value.contiguous() for key, value in tensors.items()}, place(out, way, runtime.rank))

    def run(folder: Path) -> InFloat64:
        return InFloat64(data, folder, runtime, **EVERYTHING)

    saved = {BOUNDARY: out / "boundary", WITHIN: out / "within"}
    for folder in saved.values():
        folder.mkdir(exist_ok=True)
    keep("everything", run(out / "everything").train(0, saved=saved))
    runtime.hardware = Hardware(micro_batch=2)
    keep("pieces", run(out / "pieces").train(0))
    runtime.hardware = Hardware()
    for way, folder in (("boundary", out), ("within", out), ("others", others)):
        if (folder / "boundary").exists():
            keep(way, run(folder / (way if folder == out else "boundary")).train(0))
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
    mixture.CachedShards = partial(CachedShards, pause=0.01)
    train.main([*arguments, "--seed", str(seeds[rank])] if seeds else arguments)


def train_with_small_files(limit: int, arguments: list[str]) -> None:
    """Trains where no file may be larger than a number of bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    train.main(arguments)

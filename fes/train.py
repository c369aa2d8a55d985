"""Trains a facial expression synthesiser: parse, build, fit.

    accelerate launch fes/train.py --data data/fer2013 --run runs/fer2013
        uses what the machine has: its GPUs, or one process on the CPU

    accelerate launch --config_file accelerate_config.yaml --num_processes 4 fes/train.py ...
        one node, four GPUs, stated

    ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_machines 1 --num_processes 2 \\
        --mixed_precision no --dynamo_backend no fes/train.py ...
        two processes on the CPU

The same command again goes on from the run's newest state. `--help` lists the settings, `--config
file.yaml` reads them from a file (flags win), `--dry-run` shows what would be trained and stops.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from fes import draws
from fes.clock import Clock
from fes.config import Config, check, from_tree, read_yaml
from fes.ema import Ema
from fes.errors import InputError, told_in_one_sentence
from fes.files import make_folder
from fes.networks import Networks
from fes.objectives import AutoencoderObjective, CriticObjective
from fes.pictures import sheet, write_picture
from fes.plan import describe, warnings_about
from fes.report import Report
from fes.runtime import Player, Runtime
from fes.snapshot import save_snapshot, snapshot_path
from fes.state import Parts, list_states, load_state, save_state
from fes.stream import DecodedSplit, Samples, Stream, decode_to, share_of
from fes.synthesizer import all_expressions
from fes.trainer import fit
from shards.index import ShardIndex


@dataclass(frozen=True)
class Arguments(Config):
    """Train a network that draws any face with any of seven expressions."""

    config: Path | None = None
    """A yaml file of these settings; flags win over it."""
    dry_run: bool = False
    """Show the settings, the networks' sizes and the data, and stop."""


def parse(arguments: Sequence[str]) -> tuple[Config, bool]:
    """The config that a command line asks for, checked, and whether it is a dry run.

    Raises:
        InputError: a yaml file or a value in it that cannot be used.
        SystemExit: with code 2 and the nearest name, an unknown flag.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    file = early.parse_known_args(arguments)[0].config
    default = from_tree(Arguments, read_yaml(file) if file else {}, str(file), missing=tyro.MISSING)
    parsed = tyro.cli(
        Arguments, args=arguments, default=default, prog="train.py", config=(tyro.conf.FlagCreatePairsOff,)
    )
    fields = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(Config)}
    return check(Config(**fields)), parsed.dry_run


def resolve(config: Config, index: ShardIndex) -> Config:
    """The config with the resolution and the channels of the data where it leaves them open.

    Raises:
        InputError: it asks for others than the data have, or the data's cannot be learnt.
    """
    model = config.model
    for name in ("resolution", "channels"):
        asked, present = getattr(model, name), getattr(index, name)
        if asked not in (None, present):
            raise InputError(
                f"--model.{name} is {asked}, and the pictures in {config.data} have {present}: "
                "leave the flag out, or build shards that fit it"
            )
        model = dataclasses.replace(model, **{name: present})
    return check(dataclasses.replace(config, model=model))


class Recorder:
    """The trainer's hooks: writes what a run leaves behind. Files and words come from the main rank."""

    def __init__(
        self, config: Config, runtime: Runtime, parts: Parts, ema: Ema, index: ShardIndex, faces: np.ndarray
    ) -> None:
        self.config, self.runtime, self.parts, self.ema = config, runtime, parts, ema
        self.clock = Clock.of(config)
        self.fingerprint, self.data = index.fingerprint, data_summary(index)
        self.faces = torch.from_numpy(faces).to(runtime.device)
        self.report: Report | None = None

    def stopping(self, step: int) -> bool:
        return self.runtime.stopping(step)

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        if self.report:
            self.report.tick(self.clock.kimg(step), measurements)

    def snapshot(self, step: int) -> None:
        if self.report:
            kimg = self.clock.kimg(step)
            save_snapshot(snapshot_path(self.config.run, kimg), self.ema, self.config, kimg, self.data)
            grid = sheet(all_expressions(**self.ema.average, image=self.faces).cpu().numpy())
            write_picture(grid, self.config.run / "grids" / f"grid-{kimg:010.3f}.png")
            self.report.grid(kimg, grid)
        self.runtime.wait()

    def state(self, step: int) -> None:
        if self.report:
            kimg, fingerprint = self.clock.kimg(step), self.fingerprint
            save_state(
                self.config.run, self.parts, step=step, kimg=kimg, config=self.config, fingerprint=fingerprint
            )
        self.runtime.wait()


def data_summary(index: ShardIndex) -> dict[str, Any]:
    """What a snapshot tells of the data it was trained on."""
    return {
        "source": index.source,
        "fingerprint": index.fingerprint,
        "train": index.counts("train"),
    }


def grid_faces(index: ShardIndex, count: int) -> np.ndarray:
    """Held-out faces, evenly spread over their split: uint8 [count, channels, height, width]."""
    held_out = next(name for name in ("valid", "test", "train") if name in index.splits)
    split = index.split(held_out)
    places = np.linspace(0, split.samples - 1, min(count, split.samples)).round().astype(int)
    return np.stack([split.image(int(place)) for place in places])


def decoded(config: Config, index: ShardIndex, runtime: Runtime) -> Samples:
    """The training split, through the shared file of decoded pictures where the config wants one."""
    train = index.split("train")
    if config.stream.cache is None:
        return train
    shape = (index.channels, index.resolution, index.resolution)
    path = config.stream.cache / f"{index.fingerprint[:16]}-train.uint8"
    if runtime.is_first_here:
        decode_to(path, train, shape)
    runtime.wait()
    return DecodedSplit(train, path, shape)


def build(config: Config, runtime: Runtime) -> tuple[Parts, Ema, Player, Player]:
    """Networks, their average, and the two players, critics first."""
    networks = Networks(config.model, config.seed).to(runtime.device)
    ema = Ema(networks, config.ema_halflife_kimg)
    betas = config.optimiser.beta1, config.optimiser.beta2
    objectives = CriticObjective(networks, config.loss), AutoencoderObjective(networks, config.loss)
    rates = config.optimiser.critic_rate, config.optimiser.autoencoder_rate
    optimisers = [
        torch.optim.Adam(objective.parameters(), rate, betas)
        for objective, rate in zip(objectives, rates, strict=True)
    ]
    parts = Parts(networks, ema.average, dict(zip(("critics", "autoencoder"), optimisers, strict=True)))
    critics, autoencoder = map(runtime.player, objectives, optimisers)
    return parts, ema, critics, autoencoder


def train(config: Config, index: ShardIndex, runtime: Runtime) -> int:
    """Trains from the newest state, or from the beginning; returns the process's exit code."""
    share = share_of(config.batch, runtime.rank, runtime.ranks)
    if runtime.is_main:
        make_folder(config.run)
    parts, ema, critics, autoencoder = build(config, runtime)
    states = list_states(config.run)
    start = load_state(states[-1], parts, config, index.fingerprint) if states else 0
    stream = Stream(
        decoded(config, index, runtime),
        seed=config.seed,
        batch=config.batch,
        window=config.shuffle_window,
        rank=runtime.rank,
        ranks=runtime.ranks,
    )

    def noise(step: int) -> draws.Noise:
        drawn = draws.noise(config.seed, step, config.batch, config.model.latent_dim, share)
        return draws.Noise(*(part.to(runtime.device, non_blocking=True) for part in drawn))

    recorder = Recorder(config, runtime, parts, ema, index, grid_faces(index, config.grid_faces))
    clock = Clock.of(config)
    runtime.catch_signals()

    def run() -> int:
        batches = runtime.placed(stream.batches(start, config.stream.workers))
        return fit(config, critics, autoencoder, ema, batches, noise, recorder, runtime.mean, start)

    if not runtime.is_main:
        run()
        return runtime.exit_code
    with Report(config.run, config.clock.total_kimg, clock.kimg(start)) as report:
        recorder.report = report
        report.say(f"goes on from {states[-1]}" if states else f"begins {config.run}")
        for warning in warnings_about(index):
            report.say(f"warning: {warning}")
        end = run()
        report.say(_farewell(config, clock.kimg(end), clock.finished(end)))
    return 0 if clock.finished(end) else runtime.exit_code


def _farewell(config: Config, kimg: float, finished: bool) -> str:
    if not finished:
        return f"stopped at {kimg:.3f} kimg and saved; the same command goes on from there"
    return (
        f"finished at {kimg:.3f} kimg; try: fes synthesize --weights {config.run} "
        "--image face.png --out expressions.png"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `accelerate launch fes/train.py`."""
    with told_in_one_sentence("train.py"):
        config, dry_run = parse(sys.argv[1:] if arguments is None else arguments)
        index = ShardIndex.load(config.data)
        config = resolve(config, index)
        runtime = Runtime()
        if dry_run:
            if runtime.is_main:
                print(describe(config, index, runtime.ranks))
            return
        code = train(config, index, runtime)
        runtime.close()
    raise SystemExit(code)


if __name__ == "__main__":
    main()

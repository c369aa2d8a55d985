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

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fes.arguments import Asked, parse, resolve
from fes.batch import Batch
from fes.beginning import take_networks
from fes.clock import Clock
from fes.config import Config, Stage
from fes.decoded import DecodedSplit, decode_to
from fes.dials import Dials
from fes.draws import Noise, noise
from fes.ema import Ema
from fes.errors import InputError, told_in_one_sentence
from fes.evaluation.in_loop import evaluation_for
from fes.files import hold_folder, make_folder
from fes.machine import cores
from fes.mixture import Mixture
from fes.networks import Networks
from fes.objectives import CriticObjective, bare_players
from fes.plan import describe
from fes.reading import Samples
from fes.recorder import Recorder
from fes.report import progress
from fes.runtime.processes import Runtime
from fes.stages import stage_at, staged
from fes.state import Found, Keeper, Parts, Restored, find_state, restore
from fes.stream import Stream, share_of
from fes.trainer import fit
from fes.tree import flat, to_tree


def decoded(config: Config, mixture: Mixture, runtime: Runtime) -> list[Samples]:
    """The training split of each data set, through a shared file of decoded pictures if so configured."""
    resolution, channels = config.model.resolution, config.model.channels
    parts = mixture.parts(resolution, channels)
    if config.stream.cache is None:
        return parts
    shape = (channels, resolution, resolution)
    names = [f"{each.fingerprint[:16]}-train-{resolution}x{channels}.uint8" for each in mixture.sets]
    paths = [config.stream.cache / name for name in names]
    if runtime.is_first_here:
        for path, part in zip(paths, parts, strict=True):
            with progress(f"decoding {part.place}") as tell:
                decode_to(
                    path,
                    part,
                    shape,
                    workers=cores(),
                    on_bad_sample=config.stream.on_bad_sample,
                    progress=tell,
                )
    runtime.wait()
    return [DecodedSplit(part, path, shape) for path, part in zip(paths, parts, strict=True)]


class Cast:
    """The players of a run: step -> those of its stage, which are made when the stage begins."""

    def __init__(self, config: Config, networks: Networks, dials: Dials, runtime: Runtime) -> None:
        self.config, self.networks, self.dials, self.runtime = config, networks, dials, runtime
        self.keepers: dict[str, Keeper] = {"dials": dials}
        """What a state keeps besides weights: the dials, and the players of the stage asked for last."""
        self._stage: Stage | None = None

    def __call__(self, step: int) -> dict[str, Keeper]:
        stage = stage_at(self.config, step)
        if stage != self._stage:
            self._stage, config = stage, staged(self.config, stage)
            for old in [each for each in self.keepers.values() if each is not self.dials]:
                old.close()
            for name, bare in bare_players(config, self.networks, self.dials, stage).items():
                self.keepers[name] = self.runtime.player(*bare, config.optimiser.max_gradient_norm)
        return self.keepers


def build(config: Config, networks: Networks, runtime: Runtime, start: int = 0) -> tuple[Parts, Ema, Cast]:
    """What a run keeps from step `start` on: the networks' average, and the players."""
    if runtime.hardware.channels_last:
        networks.to(memory_format=torch.channels_last)
    ema = Ema(networks, config.ema_halflife_kimg)
    cast = Cast(config, networks, Dials(config.loss, config.augment, runtime.device), runtime)
    return Parts(networks, ema.average, cast(start)), ema, cast


def show(config: Config, mixture: Mixture, runtime: Runtime) -> int:
    """Prints what would be trained; returns the process's exit code."""
    plan = describe(config, mixture, runtime.ranks)
    if runtime.is_main:
        print(f"{plan}\n{runtime.describe(config.batch)}")
    return 0


def stream_for(config: Config, mixture: Mixture, runtime: Runtime) -> Stream:
    """This rank's share of the training batches; raises `InputError` where ranks cannot share them."""
    share_of(config.batch, runtime.rank, runtime.ranks)  # before anything long begins
    return Stream(
        decoded(config, mixture, runtime),
        weights=mixture.weights,
        seed=config.seed,
        batch=config.batch,
        window=config.shuffle_window,
        rank=runtime.rank,
        ranks=runtime.ranks,
        on_bad_sample=config.stream.on_bad_sample,
        flips=config.augment.flips,
        class_balance=config.augment.class_balance,
    )


def held_out_for(
    config: Config, mixture: Mixture, runtime: Runtime, networks: Networks, dials: Dials
) -> Callable[[int], Tensor] | None:
    """Step -> the image critic's gap on this rank's share of a held-out batch, where a dial needs it.

    Raises:
        InputError: it does, and there is no held-out split.
    """
    if not dials.adapts:
        return None
    parts = mixture.held_out(("valid", "test"), config.model.resolution, config.model.channels)
    if not parts:
        raise InputError(
            f"{mixture.place} has no valid or test split, which --augment.adapt-kimg needs to see how far "
            "the image critic knows its training pictures by heart: leave it out, and give --augment.strength"
        )
    stream = Stream(
        parts,
        seed=config.seed,
        batch=config.batch,
        window=config.shuffle_window,
        rank=runtime.rank,
        ranks=runtime.ranks,
        on_bad_sample=config.stream.on_bad_sample,
    )
    noise_of = noise_for(config, runtime)

    @torch.no_grad()
    def gap(step: int) -> Tensor:
        batch = Batch(*(runtime.moved(part) for part in stream[step]))
        critics = CriticObjective(networks, config.loss, dials, stage_at(config, step))
        return critics(batch, noise_of(step))[1]["critic/image_gap"]

    return gap


def noise_for(config: Config, runtime: Runtime) -> Callable[[int], Noise]:
    """Step -> this rank's share of its noise, on the device."""
    share = share_of(config.batch, runtime.rank, runtime.ranks)

    def of(step: int) -> Noise:
        drawn = noise(config.seed, step, config.batch, config.model.latent_dim, share)
        return Noise(*(runtime.moved(part) for part in drawn))

    return of


def train(asked: Asked, mixture: Mixture, runtime: Runtime, loop: Callable[..., int] = fit) -> int:
    """Trains from the newest state, or from the beginning; returns the process's exit code.

    Args:
        loop: takes the steps; called as `fit` is, with the hooks by their name.
    """
    config = asked.config
    evaluation = runtime.together(lambda: evaluation_for(config, mixture, runtime.device, runtime.is_main))
    stream = stream_for(config, mixture, runtime)
    runtime.from_main(lambda: make_folder(config.run))
    runtime.from_main(lambda: hold_folder(config.run))
    found = runtime.from_main(lambda: find_state(config.run))
    networks = Networks(config.model, config.seed)
    if not found:
        runtime.together(lambda: take_networks(networks, config.start))
    networks.to(runtime.device)
    parts, ema, cast = build(config, networks, runtime, found.step if found else 0)
    restored = Restored()
    if found:
        restored = runtime.together(
            lambda: restore(found, parts, config, mixture.fingerprint, asked.allow_change)
        )
        found = dataclasses.replace(found, contents={})  # as large as all that is trained
    start = restored.step
    held_out = runtime.together(lambda: held_out_for(config, mixture, runtime, networks, cast.dials))
    runtime.catch_signals()
    batches = runtime.placed(stream.batches(start, config.stream.workers, config.stream.patience))
    clock = Clock.of(config)
    with Recorder(config, runtime, parts, ema, mixture, stream, start, evaluation) as recorder:
        _greet(recorder, config, found, restored, runtime.describe(config.batch))
        end = loop(
            config,
            cast,
            cast.dials,
            ema,
            batches,
            noise_for(config, runtime),
            hooks=recorder,
            mean_over_ranks=runtime.mean,
            start=start,
            held_out=held_out,
        )
        recorder.say(_farewell(config, clock, end))
    return 0 if clock.finished(end) else runtime.exit_code


def _greet(
    recorder: Recorder, config: Config, found: Found | None, restored: Restored, computes_on: str
) -> None:
    for sentence in found.damaged if found else ():
        recorder.say(f"warning: {sentence}")
    recorder.say(f"goes on from {found.path}" if found else f"begins {config.run}")
    for change in restored.changes:
        recorder.say(f"from here on: {change}")
    recorder.say(computes_on)


def _farewell(config: Config, clock: Clock, end: int) -> str:
    if not clock.finished(end):
        return f"stopped at {clock.kimg(end):.3f} kimg and saved; the same command goes on from there"
    return (
        f"finished at {clock.kimg(end):.3f} kimg; try: fes synthesize face.png --weights {config.run} "
        "--out expressions.png"
    )


def _asked_for(arguments: Sequence[str]) -> tuple[Asked, Mixture]:
    asked = parse(arguments)
    mixture = Mixture.load(asked.config.data, asked.config.stream)
    return dataclasses.replace(asked, config=resolve(asked.config, mixture)), mixture


OWN_OF_A_MACHINE = ("data", "run", "stream")
"""Settings that machines may have each its own of. The data themselves are compared by their fingerprint."""


def _check_the_same(asked: Asked, mixture: Mixture, runtime: Runtime) -> None:
    """Every rank is told its settings itself, and reads the index itself: of its machine's folder, or of an
    address at its own moment."""
    if len(set(runtime.gathered(mixture.fingerprint))) > 1:
        runtime.agree(
            InputError(
                f"{mixture.place} holds the data {mixture.fingerprint[:16]}, and other ranks see others: "
                "give all machines the same data set"
            )
        )
    first, *others = runtime.gathered(flat(to_tree(asked.config) | vars(asked.hardware)))
    for rank, own in enumerate(others, start=1):
        differing = [
            f"{name} is {own[name]} there and {value} on rank 0"
            for name, value in first.items()
            if own[name] != value and name.split(".")[0] not in OWN_OF_A_MACHINE
        ]
        if differing:
            told = f"rank {rank} was started with other settings: {'; '.join(differing)}"
            runtime.agree(
                InputError(f"{told}. Give all machines the same command, the launcher's part aside")
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `accelerate launch fes/train.py`."""
    asked, hardware, fault = None, None, None
    # Until the ranks have met, one on each machine tells.
    with told_in_one_sentence("train.py", silent=os.environ.get("LOCAL_RANK", "0") != "0"):
        try:
            asked, mixture = _asked_for(sys.argv[1:] if arguments is None else arguments)
            hardware = asked.hardware
        except InputError as error:
            if os.environ.get("WORLD_SIZE", "1") == "1":
                raise
            fault = error  # it may be this rank's alone: told once they have met
        runtime = Runtime(hardware)
    with runtime, told_in_one_sentence("train.py"):
        runtime.agree(fault)
        _check_the_same(asked, mixture, runtime)
        with runtime.watched("train.py"):
            code = show(asked.config, mixture, runtime) if asked.dry_run else train(asked, mixture, runtime)
    raise SystemExit(code)


if __name__ == "__main__":
    main()

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

from fes.arguments import Asked, parse, resolve
from fes.beginning import take_networks
from fes.cast import build
from fes.clock import Clock
from fes.config import Config
from fes.errors import InputError, NoRoom, told_in_one_sentence
from fes.evaluation.in_loop import evaluation_for
from fes.files import hold_folder, make_folder
from fes.guide import guide_for
from fes.hardware import pieces
from fes.memory import GIB, describe_memory, room_for
from fes.mixture import Mixture
from fes.networks import Networks
from fes.plan import describe
from fes.recorder import Recorder
from fes.runtime.processes import Runtime
from fes.state import Found, Restored, find_state, restore
from fes.supply import held_out_for, noise_for, stream_for
from fes.trainer import fit
from fes.tree import flat, to_tree


def show(config: Config, mixture: Mixture, runtime: Runtime) -> int:
    """Prints what would be trained; returns the process's exit code."""
    plan = describe(config, mixture, runtime.ranks)
    if runtime.is_main:
        print(f"{plan}\n{runtime.describe(config.batch)}\n{_memory(config, runtime)}")
    return 0


def _memory(config: Config, runtime: Runtime) -> str:
    """What a process would take, and what fits into its GPU, or into a small one where there is none."""
    share = config.batch // runtime.ranks
    pictures = share // pieces(share, runtime.hardware.micro_batch)
    return describe_memory(config, pictures, runtime.launch.precision, *_room(runtime))


def _room(runtime: Runtime) -> tuple[float, str]:
    """Bytes for tensors, and of which GPU: a small one where there is none."""
    if runtime.device.type != "cuda":
        return 7.5 * GIB, "a GPU of 8 GB"
    about = torch.cuda.get_device_properties(runtime.device)
    return about.total_memory - GIB / 2, about.name


def _with_estimate(error: NoRoom, config: Config, runtime: Runtime) -> InputError:
    """The error, with the most pictures at once that should fit."""
    limit, of = _room(runtime)
    share = config.batch // runtime.ranks
    most = min(room_for(config, limit, runtime.launch.precision), error.pictures - 1)
    fitting = [count for count in range(1, most + 1) if share % count == 0]
    if not fitting:
        return error
    return InputError(
        f"{of} has no room for {error.pictures} pictures at once: by estimate it has for {fitting[-1]}, so "
        f"take --micro-batch {fitting[-1]}, and the same command goes on; where others use it too, take less"
    )


def train(asked: Asked, mixture: Mixture, runtime: Runtime, loop: Callable[..., int] = fit) -> int:
    """Trains from the newest state, or from the beginning; returns the process's exit code.

    Args:
        loop: takes the steps; called as `fit` is, with the hooks by their name.
    """
    config = asked.config
    evaluation = runtime.together(lambda: evaluation_for(config, mixture, runtime.device, runtime.is_main))
    guide = runtime.together(lambda: guide_for(config, runtime.device))
    if guide and len(set(runtime.gathered(guide.sha256))) > 1:
        runtime.agree(
            InputError(f"{config.start.guide} is not the same file on all machines: copy one to all")
        )
    stream = stream_for(config, mixture, runtime)
    runtime.from_main(lambda: make_folder(config.run))
    runtime.from_main(lambda: hold_folder(config.run))
    found = runtime.from_main(lambda: find_state(config.run))
    networks = Networks(config.model, config.seed)
    if not found:
        runtime.together(lambda: take_networks(networks, config.start))
    networks.to(runtime.device)
    parts, ema, cast = build(config, networks, runtime, found.step if found else 0, guide)
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
        if guide and not guide.noise:
            recorder.say(
                f"warning: the guide {config.start.guide} sees faces without noise, so that what nobody sees "
                "pleases it: make it by 'fes judge train --noise 0.5', and leave out --loss.guide-noise 0"
            )
        try:
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
        except NoRoom as error:
            raise _with_estimate(error, config, runtime) from None
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

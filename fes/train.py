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
from functools import partial
from pathlib import Path

from fes.clock import Clock
from fes.commandline import interrupted, readers_may_leave, terminable
from fes.commandline.advice import judge_training
from fes.config import Config
from fes.config.tree import begin_alike, flat, to_tree
from fes.data.mixture import Mixture
from fes.data.stream import share_of
from fes.errors import InputError, Lost, Unreachable, told_in_one_sentence
from fes.evaluation.in_loop import evaluation_for
from fes.files import hold_folder, make_folder, write_file
from fes.learning.guide import Guide, guide_for
from fes.model.networks import Networks, open_edges
from fes.runtime.processes import Runtime
from fes.runtime.stopping import leaving
from fes.saved.beginning import take_networks
from fes.saved.growth import Taken, read_other, table, take_over, told
from fes.saved.state import Found, Parts, Restored, edge_in, find_state, has_finished, list_states, restore
from fes.training.arguments import Asked, parse_levels, resolve
from fes.training.cast import build
from fes.training.forewarning import forewarn
from fes.training.preview import Task, show, taken_over, telling_what_fits
from fes.training.recorder import Recorder
from fes.training.supply import held_out_for, noise_for, stream_for
from fes.training.trainer import fit


def train(asked: Asked, mixture: Mixture, runtime: Runtime, loop: Callable[..., int] = fit) -> int:
    """Trains from the newest state, or from the beginning; returns the process's exit code.

    Args:
        loop: takes the steps; called as `fit` is, with the hooks by their name.
    """
    with telling_what_fits(asked.config, runtime):
        return _trained(asked, mixture, runtime, loop)


def _trained(asked: Asked, mixture: Mixture, runtime: Runtime, loop: Callable[..., int]) -> int:
    config = asked.config
    evaluation = runtime.together(lambda: evaluation_for(config, mixture, runtime.device, runtime.is_main))
    guide = _same_guide(config, runtime)
    share_of(config.batch, runtime.rank, runtime.ranks)
    found = _newest_state(config, runtime)
    networks, taken = _networks(config, found, runtime)
    stream = stream_for(config, mixture, runtime)
    networks.to(runtime.device)
    parts, ema, cast = build(config, networks, runtime, found.step if found else 0, guide)
    restored = _restored(asked, found, parts, mixture, runtime)
    start = restored.step
    held_out = runtime.together(lambda: held_out_for(config, mixture, runtime, networks, cast.dials))
    runtime.begins_run()
    readers = runtime.readers(config.stream.workers)
    batches = runtime.placed(stream.batches(start, readers, config.stream.patience))
    noise, clock = noise_for(config, runtime), Clock.of(config)
    with Recorder(config, runtime, parts, ema, mixture, stream, start, evaluation) as recorder:
        computes_on = runtime.describe(config.batch, config.stream.workers, cast.dials.move)
        _greet(recorder, config, found, restored, computes_on)
        if taken:
            recorder.say(_write_table(config, taken) if runtime.is_main else "")
        if guide and not guide.noise:
            recorder.say(_warning_of(config.start.guide))
        end = loop(
            config,
            cast,
            cast.dials,
            ema,
            batches,
            noise,
            hooks=recorder,
            mean_over_ranks=runtime.mean,
            start=start,
            held_out=held_out,
        )
        recorder.say(_farewell(config, clock, start, end))
    return 0 if clock.finished(end) else runtime.exit_code


def _same_guide(config: Config, runtime: Runtime) -> Guide | None:
    """The run's guide, the same on all ranks."""
    guide = runtime.together(lambda: guide_for(config, runtime.device))
    if guide and len(set(runtime.gathered(guide.sha256))) > 1:
        runtime.agree(
            InputError(f"{config.start.guide} is not the same file on all machines: copy one to all")
        )
    return guide


def _newest_state(config: Config, runtime: Runtime) -> Found | None:
    """The state that a run goes on from, whose folder is this process's from here on."""
    runtime.from_main(lambda: make_folder(config.run))
    runtime.from_main(lambda: hold_folder(config.run))
    return runtime.from_main(lambda: find_state(config.run))


def _networks(config: Config, found: Found | None, runtime: Runtime) -> tuple[Networks, list[Taken]]:
    """The networks of a run as it begins, and what became of another's; for a state, to be filled by it."""
    other = None if found else runtime.from_main(lambda: read_other(config.init_from))

    def made() -> tuple[Networks, list[Taken]]:
        networks = Networks(config.model, config.seed)
        if found:
            if edge := edge_in(found):
                open_edges(networks, config.model, edge)
            return networks, []
        take_networks(networks, config.start, config.model)
        return networks, take_over(networks, other, config.model) if other else []

    return runtime.together(made)


def _restored(
    asked: Asked, found: Found | None, parts: Parts, mixture: Mixture, runtime: Runtime
) -> Restored:
    """Where the run goes on, its parts filled from the state, which is let go: it is as large as they are."""
    if found is None:
        return Restored()
    restored = runtime.together(
        lambda: restore(found, parts, asked.config, mixture.fingerprint, asked.allow_change)
    )
    found.contents.clear()
    return restored


def _write_table(config: Config, taken: list[Taken]) -> str:
    """Keeps what became of each tensor; returns a sentence on it."""
    path = config.run / "init_from.txt"
    write_file(path, f"{config.init_from}\n{table(taken)}\n".encode())
    return f"begins with the networks of {config.init_from}: {told(taken)}; each is listed in {path}"


def _greet(
    recorder: Recorder, config: Config, found: Found | None, restored: Restored, computes_on: str
) -> None:
    for sentence in found.damaged if found else ():
        recorder.say(f"warning: {sentence}")
    recorder.say(f"goes on from {found.path}" if found else f"begins {config.run}")
    for change in restored.changes:
        recorder.say(f"from here on: {change}")
    recorder.say(computes_on)


def _warning_of(guide: Path) -> str:
    training = judge_training(Path("another.safetensors"), guide=True)
    return (
        f"warning: the guide {guide} sees faces without noise, so that what nobody sees pleases it: make "
        f"another by '{training}', and leave out --loss.guide-noise 0"
    )


def _farewell(config: Config, clock: Clock, start: int, end: int) -> str:
    if end == start == 0:
        return "stopped before the first step: there is nothing to save; the same command begins anew"
    if not clock.finished(end):
        return f"stopped at {clock.kimg(end):.3f} kimg and saved; the same command goes on from there"
    return (
        f"finished at {clock.kimg(end):.3f} kimg; try: fes synthesize face.png --weights {config.run} "
        "--out expressions.png"
    )


def _once_begun(fault: InputError | None, begun: bool) -> InputError | None:
    """What was out of reach was reached by a run that has begun: who started it again may do so once more."""
    return Lost(str(fault)) if begun and isinstance(fault, Unreachable) else fault


def _task(asked: Asked) -> Task:
    mixture = Mixture.load(asked.config.data, asked.config.stream)
    return Task(dataclasses.replace(asked, config=resolve(asked.config, mixture)), mixture)


def climb(tasks: Sequence[Task], runtime: Runtime) -> int:
    """Trains one level after the other, but those that are finished; returns the process's exit code."""

    def finished(task: Task) -> bool:
        config = task.asked.config
        return runtime.from_main(lambda: has_finished(config.run, config.clock.total_kimg))

    _look_ahead([task.asked.config for task in tasks], runtime)
    for task in tasks[:-1]:
        if not finished(task):
            code = train(*task, runtime)
            if not finished(task):  # it was stopped
                return code
    return train(*tasks[-1], runtime)


def _look_ahead(levels: Sequence[Config], runtime: Runtime) -> None:
    """Raises `InputError` for what a later level cannot use, before the first one is trained."""
    forewarn(levels, runtime)
    for before, config in zip([None, *levels], levels, strict=False):
        if not runtime.from_main(partial(list_states, config.run)):
            runtime.from_main(partial(taken_over, config, before))


OWN_OF_A_MACHINE = ("data", "run", "stream")
"""Settings that machines may have each its own of. The data themselves are compared by their fingerprint."""


def _check_as_many(tasks: Sequence[Task], runtime: Runtime) -> None:
    """Every rank reads its machine's --config, which says how many levels there are."""
    first, *others = runtime.gathered(f"{len(tasks)} levels{' and --dry-run' * tasks[-1].asked.dry_run}")
    for rank, own in enumerate(others, start=1):
        if own != first:
            told = f"rank {rank} was started with {own}, and rank 0 with {first}"
            runtime.agree(InputError(f"{told}: give all machines the same command, and the same --config"))


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
        free = {*OWN_OF_A_MACHINE, "init_from"} if begin_alike(first, own) else OWN_OF_A_MACHINE
        differing = [
            f"{name} is {own[name]} there and {value} on rank 0"
            for name, value in first.items()
            if own[name] != value and name.split(".")[0] not in free
        ]
        if differing:
            told = f"rank {rank} was started with other settings: {'; '.join(differing)}"
            runtime.agree(
                InputError(f"{told}. Give all machines the same command, the launcher's part aside")
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `accelerate launch fes/train.py`."""
    levels, tasks, hardware, fault, begun = [], [], None, None, False
    # Until the ranks have met, one on each machine tells.
    silent = os.environ.get("LOCAL_RANK", "0") != "0"
    at_once = interrupted(lambda: _ended_at_once(levels))
    with told_in_one_sentence("train.py", silent=silent), at_once, readers_may_leave(disks_may_fill=True):
        try:
            with terminable():
                levels += parse_levels(sys.argv[1:] if arguments is None else arguments)
                begun = _begun(levels)
                hardware, tasks = levels[-1].hardware, [_task(asked) for asked in levels]
        except InputError as error:
            if os.environ.get("WORLD_SIZE", "1") == "1":
                raise _once_begun(error, begun) from None
            fault = error  # it may be this rank's alone: told once they have met
        runtime = Runtime(hardware)
    at_once = interrupted(lambda: _ended_at_once(levels))
    with at_once, runtime, told_in_one_sentence("train.py"), readers_may_leave(disks_may_fill=True):
        runtime.agree(_once_begun(fault, any(runtime.gathered(begun))))  # a folder may be one machine's alone
        _check_as_many(tasks, runtime)
        for task in tasks:
            _check_the_same(*task, runtime)
        with runtime.watched("train.py"):
            code = show(tasks, runtime) if tasks[-1].asked.dry_run else climb(tasks, runtime)
    raise SystemExit(code)


def _begun(levels: Sequence[Asked]) -> bool:
    return any(list_states(asked.config.run) for asked in levels)


def _ended_at_once(levels: Sequence[Asked]) -> str:
    """What to say after a second Ctrl-C, or one before the first step."""
    then = "goes on from the last state" if _begun(levels) else "begins anew"
    return f"train.py: ended at once; the same command {then}"


if __name__ == "__main__":
    with leaving():
        main()

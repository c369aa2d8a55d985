"""What a run would do and take, told before it does it: `--dry-run`, and what fits where memory ran out."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from fes.config import Config
from fes.data.mixture import Mixture
from fes.errors import InputError, NoRoom
from fes.evaluation.in_loop import evaluation_for
from fes.hardware import pieces
from fes.learning.dials import Dials
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.saved.beginning import take_networks
from fes.saved.growth import Other, Taken, read_other, table, take_over
from fes.saved.state import foreseen, has_finished
from fes.training.arguments import Asked
from fes.training.forewarning import forewarn
from fes.training.memory import GIB, describe_memory, room_for
from fes.training.plan import describe


class Task(NamedTuple):
    """A run, or one level of several (`fes.config.levels`), and what it is trained on."""

    asked: Asked
    mixture: Mixture


def show(tasks: Sequence[Task], runtime: Runtime) -> int:
    """Prints what would be trained; returns the process's exit code."""
    before: Config | None = None
    forewarn([task.asked.config for task in tasks], runtime)
    for asked, mixture in tasks:
        config = asked.config
        plan = describe(config, mixture, runtime.ranks)
        start = runtime.from_main(partial(_start_of, asked, mixture, before))
        if runtime.is_main:
            moves = Dials(config.loss, config.augment).move
            computes = runtime.describe(config.batch, config.stream.workers, moves)
            print(f"{plan}\n{start}\n{computes}\n{_memory(config, runtime)}")
        before = config
    return 0


def _start_of(asked: Asked, mixture: Mixture, before: Config | None) -> str:
    """How a run would start: from which state, or with which networks.

    Raises:
        InputError: it would not.
    """
    config = asked.config
    evaluation_for(config, mixture, torch.device("cpu"))
    if found := foreseen(config, mixture.fingerprint, asked.allow_change):
        path, changes = found
        return "\n".join([f"goes on from {path}", *(f"from here on: {change}" for change in changes)])
    take_networks(Networks(config.model, config.seed), config.start, config.model)
    taken = taken_over(config, before)
    listed = f"\nbegins with the networks of {config.init_from}\n{table(taken)}\n" if taken else ""
    return f"begins {config.run}{listed}"


def taken_over(config: Config, before: Config | None) -> list[Taken]:
    """What becomes of each tensor where a run begins with another's networks, found by doing it.

    Args:
        before: the level before, if any: until it is finished untrained networks of its make stand for it.

    Raises:
        InputError: there are none, or they cannot be bridged.
    """
    if config.init_from is None:
        return []
    if before and not has_finished(before.run, before.clock.total_kimg):
        untrained = Networks(before.model, before.seed).state_dict()
        other = Other(f"the level before, {before.run},", before.model, untrained)
    else:
        other = read_other(config.init_from)
    return take_over(Networks(config.model, config.seed), other, config.model)


def _memory(config: Config, runtime: Runtime) -> str:
    """What a process would take, and what fits into its GPU, or into a small one where there is none."""
    return describe_memory(config, _at_once(config, runtime), runtime.launch.precision, *_room(runtime))


def _at_once(config: Config, runtime: Runtime) -> int:
    """Pictures that a process works on at once."""
    share = config.batch // runtime.ranks
    return share // pieces(share, runtime.hardware.micro_batch)


def _room(runtime: Runtime) -> tuple[float, str]:
    """Bytes for tensors, and of which GPU: a small one where there is none."""
    if runtime.device.type != "cuda":
        return 7.5 * GIB, "a GPU of 8 GB"
    about = torch.cuda.get_device_properties(runtime.device)
    return about.total_memory - GIB / 2, about.name


@contextlib.contextmanager
def telling_what_fits(config: Config, runtime: Runtime) -> Iterator[None]:
    """Turns a GPU's lack of memory inside into an `InputError` with the most pictures at once that should
    fit: as a step needs it, or what is made before, beside and between the steps."""
    try:
        yield
    except NoRoom as error:
        raise _with_estimate(error, config, runtime) from None
    except torch.OutOfMemoryError:
        raise _with_estimate(NoRoom(_at_once(config, runtime)), config, runtime) from None


def _with_estimate(error: NoRoom, config: Config, runtime: Runtime) -> InputError:
    limit, of = _room(runtime)
    most = min(room_for(config, limit, runtime.launch.precision), error.pictures - 1)
    share = config.batch // runtime.ranks
    fitting = [count for count in range(1, most + 1) if share % count == 0]
    if not fitting:
        return error
    return InputError(
        f"{of} has no room for {error.pictures} pictures at once: by estimate it has for {fitting[-1]}, so "
        f"take --micro-batch {fitting[-1]}, and the same command goes on; where others use it too, take less"
    )

"""Parameters and memory of the networks at each resolution: `python -m bench.memory --help`.

The estimates are those of `--dry-run` (`fes.training.memory`): bytes of tensors, counted in a step without
contents, and something for the workspaces of libraries.
With `--measure`, on a GPU, steps are taken as well, under the cap of `--gib`, and what torch's allocator gave
and how long a thousand pictures took stand beside them; bench/results/memory.jsonl keeps it.

    python -m bench.memory --recipe recipes/rtx2080.yaml --micro-batch 16 --measure
        the networks and terms of a file's levels, in pieces of 16, as a card of 8 GB would take them
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from bench.commandline import options_of
from bench.overhead import now
from bench.recording import RESULTS, keep, machine
from fes.batch import Batch
from fes.config import Config, LossConfig, ModelConfig
from fes.draws import Noise, noise
from fes.errors import InputError, NoRoom
from fes.hardware import Hardware, Precision
from fes.judge import new_judge
from fes.learning.guide import Guide
from fes.learning.players import bare_players
from fes.model.blocks import coarsest
from fes.model.ema import Ema
from fes.model.networks import Networks, parameter_count
from fes.runtime.player import Player
from fes.runtime.precision import check_precision, set_arithmetic
from fes.runtime.replayed import ReplayedPlayer
from fes.training.arguments import parse_levels
from fes.training.memory import GIB, WORKSPACES, memory_of, room_for

_BEYOND = 1.25
"""A batch that much larger than the largest that is said to fit is tried too, and should not."""
_REHEARSALS = 3
"""Cycles before those that are timed: Adam makes its state, libraries choose, steps are recorded."""
_CYCLES = 10


@dataclass(frozen=True)
class Options:
    """A table, in Markdown, of what networks take in memory."""

    resolutions: tuple[int, ...] = (48, 64, 96, 128, 192, 256)
    """Heights and widths of the pictures."""
    channels: int = 3
    """1 for grey, 3 for RGB."""
    batch: int = 32
    """Pictures at once."""
    blocks: tuple[Literal["strided", "residual"], ...] = ("strided", "residual")
    """What the networks are made of."""
    skip: Literal["none", "features", "residual", "mask", "warp"] = "warp"
    """What reaches the generator besides z."""
    recipe: Path | None = None
    """Settings whose resolutions, networks and terms are taken instead, those of each level."""
    micro_batch: int | None = None
    """Pictures at once of a batch in pieces. None: as many as have room."""
    replay: bool = False
    """Measure steps that are recorded and replayed."""
    precision: Precision = "no"
    """What networks compute in."""
    gib: float = 7.5
    """Memory for tensors of the GPU in question: an RTX 2080 has 8, less its context."""
    measure: bool = False
    """Take steps on this machine's GPU, of which no more than `gib` is used."""


def configs_of(options: Options) -> list[Config]:
    """The runs that are told of, one for each line of the table.

    Raises:
        InputError: the recipe's settings cannot be used.
    """
    if options.recipe is None:
        return [config_of(options, px, blocks) for blocks in options.blocks for px in options.resolutions]
    words = ["--config", str(options.recipe), "--data", "none", "--run", "none"]
    found = []
    for asked in parse_levels(words):
        model = asked.config.model
        given = {"resolution": model.resolution or 48, "channels": model.channels or options.channels}
        found.append(replace(asked.config, model=replace(model, **given)))
    return found


def config_of(options: Options, resolution: int, blocks: Literal["strided", "residual"]) -> Config:
    """A run of the kind of recipes/rtx2080.yaml, in networks twice as wide."""
    model = ModelConfig(resolution, options.channels, blocks=blocks, skip=options.skip)
    loss = LossConfig(guide_weight=1.0, guide_margin=0.5, guide_limit=0.75, return_weight=2.0)
    if options.skip == "warp":
        loss = replace(loss, guide_painting=0.3)
    return Config("", Path(), model=model, loss=loss)


def taken(config: Config, pictures: int, at_once: int, options: Options) -> dict[str, float] | None:
    """GiB that tensors took on the GPU (`allocated`) and that the allocator held for them (`reserved`) in
    steps of both players, and the seconds of a thousand pictures; None where they had no room."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        rate = seconds_per_kimg(config, pictures, at_once, options, "cuda")
    except (NoRoom, torch.OutOfMemoryError):
        return None
    finally:
        gc.collect()
    found = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return {**{name: value / GIB for name, value in found.items()}, "seconds_per_kimg": rate}


def seconds_per_kimg(config: Config, pictures: int, at_once: int, options: Options, device: str) -> float:
    """How long a thousand real pictures take, in cycles of one step of each player and one of the average.

    Args:
        pictures: of a batch, that goes in pieces of `at_once`.
    """
    cycle, place = _cycle(config, pictures, at_once, options, device), torch.device(device)
    for _ in range(_REHEARSALS):
        cycle()
    before, _ = now(place)
    for _ in range(_CYCLES):
        cycle()
    after, _ = now(place)
    return (after - before) / (_CYCLES * 2 * pictures) * 1000


def _cycle(config: Config, pictures: int, at_once: int, options: Options, device: str) -> Callable[[], None]:
    resolution, channels = config.model.resolution, config.model.channels
    networks = Networks(config.model, config.seed).to(device)
    ema = Ema(networks, config.ema_halflife_kimg)
    judge = new_judge("residual", coarsest(resolution) * 16, channels, seed=0).to(device)
    bare = bare_players(config, networks, guide=Guide(judge, noise=0.5)).values()
    settings = {"precision": options.precision, "micro_batch": at_once if at_once < pictures else None}
    players = [(ReplayedPlayer if options.replay else Player)(*each, **settings) for each in bare]
    image = torch.randint(256, (pictures, channels, resolution, resolution)).byte()
    label = torch.arange(pictures) % 7
    batch = Batch(*(part.to(device) for part in (image, label, image, label)))
    drawn = Noise(*(part.to(device) for part in noise(0, 0, pictures, config.model.latent_dim)))

    def cycle() -> None:
        for player in players:
            player.step(batch, drawn)
        ema.update(seen=10**6, images=2 * pictures)

    return cycle


def row(options: Options, config: Config) -> dict[str, object]:
    """What there is to tell of one architecture; memory in GiB."""
    memory = memory_of(config, options.micro_batch or options.batch, options.precision)
    most = room_for(config, options.gib * GIB, options.precision)
    found = {
        "resolution": config.model.resolution,
        "architecture": config.model.blocks,
        "million_parameters": parameter_count(Networks(config.model, seed=0)) / 1e6,
        "kept": memory.kept / GIB,
        "peak": (memory.peak + WORKSPACES) / GIB,
        "most": most,
    }
    if options.measure:
        at_once = options.micro_batch or max(1, min(options.batch, most))
        estimate = memory_of(config, at_once, options.precision).peak + WORKSPACES
        whole = options.batch if options.batch % at_once == 0 else at_once
        beyond = max(most + 1, int(_BEYOND * most))
        found |= {"at_once": at_once, "estimate": estimate / GIB}
        found |= {"measured": taken(config, whole, at_once, options)}
        found |= {"at_most": taken(config, most, most, options) if most else None}
        found |= {"beyond": taken(config, beyond, beyond, options)}
    return found


def told(found: dict, measured: bool) -> str:
    """A line of the table."""
    cells = [f"{found['resolution']}", found["architecture"], f"{found['million_parameters']:.1f}"]
    cells += [f"{found['kept']:.2f}", f"{found['peak']:.2f}", f"{found['most']}"]
    if measured:
        real = found["measured"]
        cells += [f"{found['at_once']}", f"{found['estimate']:.2f}"]
        names = "allocated", "reserved", "seconds_per_kimg"
        cells += [f"{real[name]:.2f}" for name in names] if real else ["no room", "", ""]
        cells += ["yes" if found[name] else "no" for name in ("at_most", "beyond")]
    return f"| {' | '.join(cells)} |"


def keep_within(options: Options) -> None:
    """From now on steps get no more of this machine's GPU than `gib`, and compute as the trainer's do.

    Raises:
        InputError: there is no GPU, or it has less, or it cannot compute so.
    """
    if not torch.cuda.is_available():
        raise InputError("--measure takes steps on a GPU, and torch finds none here: leave it out")
    device = torch.device("cuda")
    total = torch.cuda.get_device_properties(0).total_memory
    if options.gib * GIB > total:
        raise InputError(
            f"--gib is {options.gib:g}: with --measure at most {total / GIB:.1f}, all of this GPU"
        )
    check_precision(options.precision, device)
    set_arithmetic(Hardware(), device)
    torch.cuda.set_per_process_memory_fraction(options.gib * GIB / total)


def run(options: Options) -> None:
    """Prints the table, and keeps what was measured."""
    configs = configs_of(options)
    if options.measure:
        keep_within(options)
    columns = ["px", "blocks", "million parameters", "kept, GiB"]
    columns += [f"{options.micro_batch or options.batch} pictures, GiB", f"pictures in {options.gib:g} GiB"]
    about = {**asdict(options), **machine("cuda" if options.measure else "cpu")}
    if options.measure:
        columns += ["pictures at once", "estimate, GiB", "measured", "held by the allocator", "s/kimg"]
        columns += ["the most fit", f"{_BEYOND:g} times as many"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for config in configs:
        found = row(options, config)
        print(told(found, options.measure), flush=True)
        if options.measure:
            keep(RESULTS / "memory.jsonl", about, [found])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("memory", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

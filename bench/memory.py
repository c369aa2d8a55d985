"""Parameters and memory of the networks at each resolution: `python -m bench.memory --help`.

The estimates are those of `--dry-run` (`fes.memory`): bytes of tensors, counted in a step without contents,
and something for the workspaces of libraries.
With `--measure`, on a GPU, steps are taken as well, under the cap of `--gib`, and what torch's allocator gave
stands beside them; bench/results/memory.jsonl keeps it.
"""

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from bench.commandline import options_of
from bench.recording import RESULTS, keep, machine
from fes.batch import Batch
from fes.blocks import coarsest
from fes.config import Config, LossConfig, ModelConfig
from fes.draws import Noise, noise
from fes.ema import Ema
from fes.errors import InputError, NoRoom
from fes.guide import Guide
from fes.hardware import Hardware, Precision
from fes.judge import new_judge
from fes.memory import GIB, WORKSPACES, memory_of, room_for
from fes.networks import Networks, parameter_count
from fes.players import bare_players
from fes.runtime.player import Player
from fes.runtime.precision import check_precision, set_arithmetic

_BEYOND = 1.25
"""A batch that much larger than the largest that is said to fit is tried too, and should not."""
_STEPS = 2
"""Steps of each player: from the second on Adam has its state."""


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
    precision: Precision = "no"
    """What networks compute in."""
    gib: float = 7.5
    """Memory for tensors of the GPU in question: an RTX 2080 has 8, less its context."""
    measure: bool = False
    """Take steps on this machine's GPU, of which no more than `gib` is used."""


def config_of(options: Options, resolution: int, blocks: Literal["strided", "residual"]) -> Config:
    """A run of the kind of recipes/rtx2080.yaml, in networks twice as wide."""
    model = ModelConfig(resolution, options.channels, blocks=blocks, skip=options.skip)
    loss = LossConfig(guide_weight=1.0, guide_margin=0.5, guide_limit=0.75, return_weight=2.0)
    if options.skip == "warp":
        loss = replace(loss, guide_painting=0.3)
    return Config("", Path(), model=model, loss=loss)


def taken(config: Config, pictures: int, precision: Precision) -> dict[str, float] | None:
    """GiB that tensors took on the GPU (`allocated`) and that the allocator held for them (`reserved`) in
    steps of both players; None where they had no room."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        _step(config, pictures, precision)
    except (NoRoom, torch.OutOfMemoryError):
        return None
    finally:
        gc.collect()
    found = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return {name: value / GIB for name, value in found.items()}


def _step(config: Config, pictures: int, precision: Precision) -> None:
    resolution, channels = config.model.resolution, config.model.channels
    networks = Networks(config.model, config.seed).to("cuda")
    ema = Ema(networks, config.ema_halflife_kimg)
    guide = Guide(new_judge("residual", coarsest(resolution) * 16, channels, seed=0).to("cuda"), noise=0.5)
    bare = bare_players(config, networks, guide=guide).values()
    players = [Player(*each, precision=precision) for each in bare]
    image = torch.randint(256, (pictures, channels, resolution, resolution)).byte()
    label = torch.arange(pictures) % 7
    batch = Batch(*(part.to("cuda") for part in (image, label, image, label)))
    drawn = Noise(*(part.to("cuda") for part in noise(0, 0, pictures, config.model.latent_dim)))
    for _ in range(_STEPS):
        for player in players:
            player.step(batch, drawn)
        ema.update(seen=10**6, images=2 * pictures)


def row(options: Options, resolution: int, blocks: Literal["strided", "residual"]) -> dict[str, object]:
    """What there is to tell of one architecture; memory in GiB."""
    config = config_of(options, resolution, blocks)
    kept, peak = memory_of(config, options.batch, options.precision)
    most = room_for(config, options.gib * GIB, options.precision)
    found = {
        "resolution": resolution,
        "architecture": blocks,
        "million_parameters": parameter_count(Networks(config.model, seed=0)) / 1e6,
        "kept": kept / GIB,
        "peak": (peak + WORKSPACES) / GIB,
        "most": most,
    }
    if options.measure:
        pieces = max(1, min(options.batch, most))
        estimate = memory_of(config, pieces, options.precision).peak + WORKSPACES
        found |= {"at_once": pieces, "estimate": estimate / GIB}
        found |= {"measured": taken(config, pieces, options.precision)}
        found |= {"at_most": taken(config, most, options.precision) if most else None}
        found |= {"beyond": taken(config, max(most + 1, int(_BEYOND * most)), options.precision)}
    return found


def told(found: dict, measured: bool) -> str:
    """A line of the table."""
    cells = [f"{found['resolution']}", found["architecture"], f"{found['million_parameters']:.1f}"]
    cells += [f"{found['kept']:.2f}", f"{found['peak']:.2f}", f"{found['most']}"]
    if measured:
        real = found["measured"]
        cells += [f"{found['at_once']}", f"{found['estimate']:.2f}"]
        cells += [f"{real[name]:.2f}" for name in ("allocated", "reserved")] if real else ["no room", ""]
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
    if options.measure:
        keep_within(options)
    columns = ["px", "blocks", "million parameters", "kept, GiB", f"{options.batch} pictures, GiB"]
    columns += [f"pictures in {options.gib:g} GiB"]
    about = {**asdict(options), **machine("cuda" if options.measure else "cpu")}
    if options.measure:
        columns += ["pictures at once", "estimate, GiB", "measured", "held by the allocator"]
        columns += ["the most fit", f"{_BEYOND:g} times as many"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for blocks in options.blocks:
        for resolution in options.resolutions:
            found = row(options, resolution, blocks)
            print(told(found, options.measure), flush=True)
            if options.measure:
                keep(RESULTS / "memory.jsonl", about, [found])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("memory", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

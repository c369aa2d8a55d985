"""Parameters and estimated memory of the networks at each resolution: `python -m bench.memory --help`.

The figures are those of `--dry-run` (`fes.memory`): bytes of tensors, counted in a step without contents.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from fes.config import Config, LossConfig, ModelConfig
from fes.hardware import Precision
from fes.memory import GIB, memory_of, room_for
from fes.networks import Networks, parameter_count


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


def row(options: Options, resolution: int, blocks: Literal["strided", "residual"]) -> str:
    """A line of the table."""
    model = ModelConfig(resolution, options.channels, blocks=blocks, skip=options.skip)
    loss = LossConfig(guide_weight=1.0, guide_margin=0.5, guide_limit=0.75, return_weight=2.0)
    if options.skip == "warp":
        loss = replace(loss, guide_painting=0.3)
    config = Config("", Path(), model=model, loss=loss)
    millions = parameter_count(Networks(model, seed=0)) / 1e6
    kept, peak = memory_of(config, options.batch, options.precision)
    most = room_for(config, options.gib * GIB, options.precision)
    return f"| {resolution} | {blocks} | {millions:.1f} | {kept / GIB:.2f} | {peak / GIB:.2f} | {most} |"


def main() -> None:
    """The command line."""
    options = tyro.cli(Options)
    columns = ("px", "blocks", "million parameters", "kept, GiB", f"{options.batch} pictures, GiB")
    print(f"| {' | '.join(columns)} | pictures in {options.gib:g} GiB |\n|{'---|' * 6}", flush=True)
    for blocks in options.blocks:
        for resolution in options.resolutions:
            print(row(options, resolution, blocks), flush=True)


if __name__ == "__main__":
    main()

"""What each way to compute the same step brings: `python -m bench.gains --help`.

A cycle is one step of the critics, one of the autoencoder and one of the average. Each way is measured beside
the plain one (float32, nothing else) on the same networks and in turn with it, and told as a ratio of times.
Prints a table and adds a line of json for each way to bench/results/gains.jsonl.
"""

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro

from bench.overhead import now
from bench.peers.step import PeerTrainer
from bench.recording import RESULTS, keep, machine
from bench.tables import show
from fes.batch import Batch
from fes.config import Config, LossConfig, ModelConfig
from fes.draws import Noise, noise
from fes.ema import Ema
from fes.hardware import Hardware, Precision
from fes.networks import Networks
from fes.objectives import bare_players
from fes.runtime.player import Player
from fes.runtime.precision import set_arithmetic
from fes.runtime.replayed import ReplayedPlayer


@dataclass(frozen=True)
class Options:
    """Measure what each way to compute a step brings on this machine."""

    resolution: int = 48
    """Height and width of the pictures."""
    batch: int = 32
    """Pictures per batch."""
    blocks: Literal["strided", "residual"] = "strided"
    """What the networks are made of."""
    skip: Literal["none", "mask"] = "none"
    """What reaches the generator besides z."""
    features: tuple[int, int] = (256, 32)
    """Most and fewest feature maps."""
    cycles: int = 20
    """How often each way is timed."""
    threads: int = 1
    """Threads of the CPU."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the networks run."""


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    name: str
    precision: Precision = "no"
    hardware: Hardware = field(default_factory=Hardware)
    fused: bool = False
    """Adam in one kernel of its own."""
    peer: bool = False
    """Taken as common trainers do, in `bench.peers`."""
    on: tuple[str, ...] = ("cuda", "cpu")
    """Devices that it makes sense on."""


GPU = ("cuda",)
TF32 = Hardware(tf32=True)
WAYS = (
    Way("plain"),
    Way("as common trainers do it", peer=True),
    Way("fused Adam", fused=True),
    Way("channels last", hardware=Hardware(channels_last=True)),
    Way("bfloat16", "bf16"),
    Way("tf32", hardware=TF32, on=GPU),
    Way("tf32, bfloat16", "bf16", TF32, on=GPU),
    Way("tf32, bfloat16, channels last", "bf16", Hardware(tf32=True, channels_last=True), on=GPU),
    Way("replayed", hardware=Hardware(replay=True), on=GPU),
    Way("tf32, bfloat16, replayed", "bf16", Hardware(tf32=True, replay=True), on=GPU),
    Way(
        "tf32, bfloat16, channels last, replayed",
        "bf16",
        Hardware(tf32=True, channels_last=True, replay=True),
        on=GPU,
    ),
)


def work_of(options: Options, model: ModelConfig) -> tuple[Batch, Noise]:
    """A batch of noise for pictures, with as many faces of each class as there are, and its draws."""
    rng = torch.Generator().manual_seed(0)
    shape = options.batch, model.channels, options.resolution, options.resolution
    image, label = torch.randint(256, shape, generator=rng).byte(), torch.arange(options.batch) % 7
    batch, drawn = (
        Batch(image, label, image.flip(0), label.flip(0)),
        noise(0, 0, options.batch, model.latent_dim),
    )
    return Batch(*(each.to(options.device) for each in batch)), Noise(
        *(each.to(options.device) for each in drawn)
    )


def cycle_of(way: Way, options: Options) -> Callable[[], None]:
    """A step of each player, computed so."""
    most, fewest = options.features
    model = ModelConfig(
        options.resolution,
        1,
        max_features=most,
        min_features=fewest,
        blocks=options.blocks,
        skip=options.skip,
    )
    networks = Networks(model, seed=0).to(options.device)
    if way.hardware.channels_last:
        networks.to(memory_format=torch.channels_last)
    batch, drawn = work_of(options, model)
    if way.peer:
        trainer = PeerTrainer(networks, LossConfig())
        return lambda: trainer.cycle(batch, drawn)
    kind = ReplayedPlayer if way.hardware.replay else Player
    players = []
    for objective, optimiser in bare_players(Config("", Path(), model=model), networks).values():
        if way.fused:
            (group,) = optimiser.param_groups
            optimiser = torch.optim.Adam(group["params"], group["lr"], group["betas"], fused=True)
        players.append(kind(objective, optimiser, precision=way.precision))
    ema = Ema(networks, halflife_kimg=20.0)

    def cycle() -> None:
        for player in players:
            player.step(batch, drawn)
        ema.update(seen=10**6, images=2 * options.batch)

    return cycle


def seconds_of(cycle: Callable[[], None], way: Way, options: Options) -> float:
    """Of the median cycle, after three that do not count."""
    device = torch.device(options.device)
    set_arithmetic(way.hardware, device)
    seconds = []
    for _ in range(options.cycles + 3):
        start = now(device)
        cycle()
        seconds.append((now(device) - start)[0])
    return statistics.median(seconds[3:])


def measure(options: Options) -> list[dict[str, object]]:
    """The seconds of a cycle, its ratio to a plain one right before and after it, and the most memory."""
    results, plain = [], cycle_of(WAYS[0], options)
    for way in WAYS:
        if options.device not in way.on:
            continue
        before = seconds_of(plain, WAYS[0], options)
        if options.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        cycle = cycle_of(way, options)
        seconds = seconds_of(cycle, way, options)
        gib = (torch.cuda.max_memory_reserved() - held) / 2**30 if options.device == "cuda" else None
        del cycle
        gc.collect()
        if options.device == "cuda":
            torch.cuda.empty_cache()
        after = seconds_of(plain, WAYS[0], options)
        ratio = (before + after) / 2 / seconds
        results.append({"what": way.name, "seconds": seconds, "ratio": ratio, "gib": gib})
    return results


def main() -> None:
    """Measures, prints and keeps the result."""
    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    about = {**vars(options), **machine(options.device)}
    results = measure(options)
    rows = [
        (
            str(each["what"]),
            f"{1000 * each['seconds']:.1f}",
            f"{each['ratio']:.2f}",
            f"{500 * each['seconds'] / options.batch:.2f}",
        )
        for each in results
    ]
    show("", ("way", "ms per cycle", "times as fast", "s per kimg"), rows)
    keep(RESULTS / "gains.jsonl", about, results)


if __name__ == "__main__":
    main()

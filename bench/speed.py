"""How fast the parts are on this machine: `make bench`, or `python -m bench.speed --help`.

Prints a table and adds a line of json for each part, with the machine, the versions and the commit, to
bench/results/speed.jsonl.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.commandline import options_of
from bench.overhead import bare_step
from bench.recording import RESULTS, keep, machine
from bench.tables import show
from fes.batch import Batch
from fes.config import Config, ModelConfig
from fes.data.decoded import DecodedSplit, decode_to
from fes.data.stream import Stream
from fes.draws import Noise, noise
from fes.hardware import Hardware
from fes.learning.players import BarePlayer, bare_players
from fes.machine import keep_memory
from fes.model.networks import Networks
from fes.runtime.precision import set_arithmetic
from shards.build.writer import BuildOptions, build
from shards.drawing.faces import draw_identities, render
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw


@dataclass(frozen=True)
class Options:
    """Measure the parts of fes on this machine: the median of several runs of each."""

    resolution: int = 48
    """Height and width of the pictures."""
    batch: int = 32
    """Pictures per batch."""
    threads: int = 1
    """Threads of the CPU."""
    repeats: int = 15
    """How often each part is timed."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the networks run."""


def images_per_second(part: Callable[[int], object], images: int, options: Options) -> float:
    """The median rate of a part that handles `images` pictures a call, after two calls that do not count."""
    seconds = []
    for call in range(options.repeats + 2):
        start = time.perf_counter()
        part(call)
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return images / statistics.median(seconds[2:])


def measure(options: Options, folder: Path) -> dict[str, float]:
    """Pictures per second of each part."""
    build(draw(DrawnOptions(100, 0, 0, options.resolution)), folder / "shards", BuildOptions(workers=1))
    train = ShardIndex.load(folder / "shards").split("train")
    shape = (1, options.resolution, options.resolution)
    decode_to(folder / "decoded", train, shape)
    streams = {
        name: Stream([samples], seed=0, batch=options.batch, window=16384)
        for name, samples in (
            ("reading shards", train),
            ("reading decoded pictures", DecodedSplit(train, folder / "decoded", shape)),
        )
    }
    people, labels = draw_identities(0, range(64)), np.arange(64) % 7
    rates = {
        "drawing faces": images_per_second(lambda _: render(people, labels, options.resolution), 64, options)
    }
    for name, stream in streams.items():
        rates[name] = images_per_second(stream.__getitem__, options.batch, options)
    set_arithmetic(Hardware(), torch.device(options.device))
    keep_memory(options.device)  # as training does, and building does not
    batch = Batch(*(part.to(options.device) for part in streams["reading shards"][0]))
    model = ModelConfig(resolution=options.resolution, channels=1)
    networks = Networks(model, seed=0).to(options.device)
    for player in bare_players(Config(str(folder), folder, model=model), networks).values():
        step = stepper(player, batch, model.latent_dim)
        name = type(player.objective).__name__
        rates[f"step of {name}"] = images_per_second(step, options.batch, options)
    return rates


def stepper(player: BarePlayer, batch: Batch, latent_dim: int) -> Callable[[int], None]:
    """A player's step on the same batch again and again."""

    def step(number: int) -> None:
        drawn = noise(0, number, len(batch.label), latent_dim)
        bare_step(player, batch, Noise(*(part.to(batch.label.device) for part in drawn)))

    return step


def run(options: Options) -> None:
    """Measures, prints and keeps the result."""
    torch.set_num_threads(options.threads)
    about = {**vars(options), **machine(options.device)}
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(options, Path(folder))
    rows = [(name, f"{rate:,.0f}", f"{1000 * options.batch / rate:.2f}") for name, rate in rates.items()]
    show("", ("part", "pictures per second", "ms per batch"), rows)
    results = [{"what": name, "pictures_per_second": rate} for name, rate in rates.items()]
    keep(RESULTS / "speed.jsonl", about, results)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("speed", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

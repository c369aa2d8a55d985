"""What each way to compute the same step brings: `python -m bench.gains --help`.

A cycle is one step of the critics, or more where the way is about several, one of the autoencoder and one of
the average. Each way is measured beside
the plain one (float32, nothing else) on the same networks and in turn with it, and told as a ratio of times.
Prints a table and adds a line of json for each way to bench/results/gains.jsonl.
"""

import gc
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from bench.commandline import check_names, options_of
from bench.overhead import now
from bench.peers.step import PeerTrainer
from bench.recording import RESULTS, keep, machine
from bench.tables import show
from bench.variants import VARIANTS, AverageInALoop, compile_autoencoder, networks_of
from fes.batch import Batch
from fes.config import Config, LossConfig, ModelConfig
from fes.draws import Noise, noise
from fes.errors import InputError
from fes.hardware import Hardware, Precision
from fes.learning.players import bare_players
from fes.machine import keep_memory
from fes.model.ema import Ema
from fes.model.networks import Networks
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
    skip: Literal["none", "mask", "warp"] = "none"
    """What reaches the generator besides z."""
    features: tuple[int, int] = (256, 32)
    """Most and fewest feature maps."""
    cycles: int = 20
    """How often each way is timed."""
    only: tuple[str, ...] = ()
    """Ways to measure, by name; none given: all."""
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
    adam: str | None = None
    """How Adam goes over the weights: `fused` or `foreach`; None: as torch chooses."""
    peer: Literal["encoded once", "whole"] | None = None
    """Taken as common trainers do, in `bench.peers`."""
    critics: str | None = None
    """A variant of the critics' objective (`bench.variants`)."""
    critic_steps: int = 1
    """Steps of the critics to one of the autoencoder; the plain way beside it takes as many."""
    compiled: bool = False
    """Encoder and generator are compiled."""
    own_parts: bool = False
    """Critics are made of torch's own units and means, as peers' always are (`fes.model.piecewise`)."""
    looped: bool = False
    """The average is moved weight by weight."""
    kept: bool = True
    """A CPU keeps freed memory (`fes.machine.keep_memory`); if not, the way has a process of its own."""
    on: tuple[str, ...] = ("cuda", "cpu")
    """Devices that it makes sense on."""


GPU, CPU = ("cuda",), ("cpu",)
TF32 = Hardware(tf32=True)
WAYS = (
    Way("plain"),
    Way("as common trainers do it", peer="encoded once", kept=False),
    Way("the same, from picture to picture", peer="whole", kept=False),
    Way("real and synthesised apart", critics="apart"),
    Way("faces for five steps at once", critics="ahead", critic_steps=5),
    Way("penalty at each fourth step", critics="lazy", critic_steps=4),
    Way("critics of torch's own parts", own_parts=True),
    Way("five steps of critics of torch's own parts", own_parts=True, critic_steps=5),
    Way("memory given back", kept=False, on=CPU),
    Way("Adam in one kernel", adam="fused"),
    Way("Adam over all weights at once", adam="foreach"),
    Way("average weight by weight", looped=True),
    Way("autoencoder compiled", compiled=True),
    Way("critics compiled", critics="compiled"),
    Way("both compiled", critics="compiled", compiled=True),
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


def model_of(options: Options) -> ModelConfig:
    """The networks that are measured."""
    most, fewest = options.features
    sizes = {"max_features": most, "min_features": fewest, "blocks": options.blocks, "skip": options.skip}
    return ModelConfig(options.resolution, 1, **sizes)


def cycle_of(way: Way, options: Options) -> Callable[[], None]:
    """The steps of the critics, one of the autoencoder and one of the average, computed so."""
    model = model_of(options)
    networks = networks_of(model, way.own_parts or way.peer is not None).to(options.device)
    if way.hardware.channels_last:
        networks.to(memory_format=torch.channels_last)
    batch, drawn = work_of(options, model)
    if way.peer:
        trainer = PeerTrainer(networks, LossConfig(), whole=way.peer == "whole")
        return lambda: trainer.cycle(batch, drawn)
    critics, autoencoder = players_of(way, networks, model)
    if way.compiled:
        compile_autoencoder(networks)
    ema = (AverageInALoop if way.looped else Ema)(networks, halflife_kimg=20.0)

    def cycle() -> None:
        if way.critics == "ahead":
            critics.objective.make(way.critic_steps * [batch], way.critic_steps * [drawn])
        for _ in range(way.critic_steps):
            critics.step(batch, drawn)
        autoencoder.step(batch, drawn)
        ema.update(seen=10**6, images=2 * options.batch)

    return cycle


def players_of(way: Way, networks: Networks, model: ModelConfig) -> list[Player]:
    """Critics and autoencoder, whose steps are computed so."""
    kind = ReplayedPlayer if way.hardware.replay else Player
    players = []
    for name, (objective, optimiser) in bare_players(Config("", Path(), model=model), networks).items():
        if name == "critics" and way.critics:
            objective = VARIANTS[way.critics](networks, LossConfig())
        if way.adam:
            (group,) = optimiser.param_groups
            how = {way.adam: True}
            optimiser = torch.optim.Adam(group["params"], group["lr"], group["betas"], **how)
        players.append(kind(objective, optimiser, precision=way.precision))
    return players


def seconds_of(cycle: Callable[[], None], way: Way, options: Options) -> float:
    """Of the median cycle, after three that do not count."""
    if way.kept:
        keep_memory(options.device)
    device = torch.device(options.device)
    set_arithmetic(way.hardware, device)
    seconds = []
    for _ in range(options.cycles + 3):
        start = now(device)
        cycle()
        seconds.append((now(device) - start)[0])
    return statistics.median(seconds[3:])


def seconds_here(way: Way, options: Options) -> float:
    """The same of a cycle that is made for it."""
    torch.set_num_threads(options.threads)
    return seconds_of(cycle_of(way, options), way, options)


def seconds_in_a_process(way: Way, options: Options) -> float:
    """The same in a process of its own: whoever keeps memory keeps it for good."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(seconds_here, way, options).result()


def ways_of(options: Options) -> list[Way]:
    """Those to measure; raises `InputError` for one that is none, or none of this device's."""
    check_names("--only", options.only, [way.name for way in WAYS])
    ways = [way for way in WAYS if not options.only or way.name in options.only]
    for way in ways:
        if options.only and options.device not in way.on:
            raise InputError(f"--only '{way.name}' is a way for {' and '.join(way.on)}: leave it out here")
    return [way for way in ways if options.device in way.on]


def taken(way: Way, options: Options) -> tuple[float, float | None]:
    """The seconds of a cycle, and on a GPU the most memory that it took, in GiB."""
    if options.device == "cpu":
        return (seconds_here if way.kept else seconds_in_a_process)(way, options), None
    gc.collect()
    torch.cuda.empty_cache()  # what the allocator keeps of other ways is not this one's
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    seconds = seconds_here(way, options)
    return seconds, (torch.cuda.max_memory_reserved() - held) / 2**30


def measure(options: Options) -> list[dict[str, object]]:
    """The seconds of a cycle, its ratio to a plain one right before and after it, and the most memory."""
    results = []
    for way in ways_of(options):
        plain = cycle_of(Way("plain", critic_steps=way.critic_steps), options)
        before = seconds_of(plain, WAYS[0], options)
        seconds, gib = taken(way, options)
        after = seconds_of(plain, WAYS[0], options)
        ratio = (before + after) / 2 / seconds
        steps = way.critic_steps + 1
        told = {"what": way.name, "seconds": seconds, "ratio": ratio, "gib": gib, "steps": steps}
        results.append(told)
    return results


def run(options: Options) -> None:
    """Measures, prints and keeps the result."""
    torch.set_num_threads(options.threads)
    about = {**vars(options), **machine(options.device)}
    results = measure(options)
    rows = [
        (
            str(each["what"]),
            f"{1000 * each['seconds']:.1f}",
            f"{each['ratio']:.2f}",
            f"{1000 * each['seconds'] / each['steps'] / options.batch:.2f}",
        )
        for each in results
    ]
    show("", ("way", "ms per cycle", "times as fast", "s per kimg"), rows)
    keep(RESULTS / "gains.jsonl", about, results)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("gains", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

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

import os
import sys
from collections.abc import Callable, Sequence

import torch

from fes.arguments import parse, resolve
from fes.clock import Clock
from fes.config import Config
from fes.draws import Noise, noise
from fes.ema import Ema
from fes.errors import told_in_one_sentence
from fes.files import make_folder
from fes.networks import Networks
from fes.objectives import AutoencoderObjective, CriticObjective
from fes.plan import describe
from fes.recorder import Recorder
from fes.runtime import Player, Runtime
from fes.state import Parts, list_states, load_state
from fes.stream import DecodedSplit, Samples, Stream, decode_to, share_of
from fes.trainer import fit
from shards.index import ShardIndex


def decoded(config: Config, index: ShardIndex, runtime: Runtime) -> Samples:
    """The training split, through the shared file of decoded pictures where the config wants one."""
    train = index.split("train")
    if config.stream.cache is None:
        return train
    shape = (index.channels, index.resolution, index.resolution)
    path = config.stream.cache / f"{index.fingerprint[:16]}-train.uint8"
    if runtime.is_first_here:
        decode_to(path, train, shape)
    runtime.wait()
    return DecodedSplit(train, path, shape)


def build(config: Config, networks: Networks, runtime: Runtime) -> tuple[Parts, Ema, Player, Player]:
    """The networks' average, and the two players, critics first."""
    ema = Ema(networks, config.ema_halflife_kimg)
    betas = config.optimiser.beta1, config.optimiser.beta2
    objectives = CriticObjective(networks, config.loss), AutoencoderObjective(networks, config.loss)
    rates = config.optimiser.critic_rate, config.optimiser.autoencoder_rate
    optimisers = [
        torch.optim.Adam(objective.parameters(), rate, betas)
        for objective, rate in zip(objectives, rates, strict=True)
    ]
    parts = Parts(networks, ema.average, dict(zip(("critics", "autoencoder"), optimisers, strict=True)))
    critics, autoencoder = map(runtime.player, objectives, optimisers)
    return parts, ema, critics, autoencoder


def show(config: Config, index: ShardIndex, runtime: Runtime) -> int:
    """Prints what would be trained; returns the process's exit code."""
    plan = describe(config, index, runtime.ranks)
    if runtime.is_main:
        print(plan)
    return 0


def stream_for(config: Config, index: ShardIndex, runtime: Runtime) -> Stream:
    """This rank's share of the training batches; raises `InputError` where ranks cannot share them."""
    share_of(config.batch, runtime.rank, runtime.ranks)  # before anything long begins
    return Stream(
        decoded(config, index, runtime),
        seed=config.seed,
        batch=config.batch,
        window=config.shuffle_window,
        rank=runtime.rank,
        ranks=runtime.ranks,
    )


def noise_for(config: Config, runtime: Runtime) -> Callable[[int], Noise]:
    """Step -> this rank's share of its noise, on the device."""
    share = share_of(config.batch, runtime.rank, runtime.ranks)

    def of(step: int) -> Noise:
        drawn = noise(config.seed, step, config.batch, config.model.latent_dim, share)
        return Noise(*(part.to(runtime.device, non_blocking=True) for part in drawn))

    return of


def train(config: Config, index: ShardIndex, runtime: Runtime) -> int:
    """Trains from the newest state, or from the beginning; returns the process's exit code."""
    stream = stream_for(config, index, runtime)
    if runtime.is_main:
        make_folder(config.run)
    networks = Networks(config.model, config.seed).to(runtime.device)
    parts, ema, critics, autoencoder = build(config, networks, runtime)
    states = list_states(config.run)
    start = load_state(states[-1], parts, config, index.fingerprint) if states else 0
    runtime.catch_signals()
    batches = runtime.placed(stream.batches(start, config.stream.workers))
    clock = Clock.of(config)
    with Recorder(config, runtime, parts, ema, index, start) as recorder:
        recorder.say(f"goes on from {states[-1]}" if states else f"begins {config.run}")
        noise_of = noise_for(config, runtime)
        end = fit(config, critics, autoencoder, ema, batches, noise_of, recorder, runtime.mean, start)
        recorder.say(_farewell(config, clock, end))
    return 0 if clock.finished(end) else runtime.exit_code


def _farewell(config: Config, clock: Clock, end: int) -> str:
    if not clock.finished(end):
        return f"stopped at {clock.kimg(end):.3f} kimg and saved; the same command goes on from there"
    return (
        f"finished at {clock.kimg(end):.3f} kimg; try: fes synthesize --weights {config.run} "
        "--image face.png --out expressions.png"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `accelerate launch fes/train.py`."""
    # Until the ranks have met, all of them find the same faults: one on each machine tells.
    with told_in_one_sentence("train.py", silent=os.environ.get("LOCAL_RANK", "0") != "0"):
        config, dry_run = parse(sys.argv[1:] if arguments is None else arguments)
        index = ShardIndex.load(config.data)
        config = resolve(config, index)
        runtime = Runtime()
    with told_in_one_sentence("train.py"):
        code = show(config, index, runtime) if dry_run else train(config, index, runtime)
        runtime.close()
    raise SystemExit(code)


if __name__ == "__main__":
    main()

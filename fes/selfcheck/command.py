"""The command line of `fes selfcheck gradients`.

    fes selfcheck gradients
        this machine: a process on each GPU, or two on the CPU where there is none
    fes selfcheck gradients --config run.yaml --micro-batch 8 --processes 2
        any setting of train.py; so many processes, on the CPU where they are more than the GPUs
    accelerate launch --config_file launch/multi_node.yaml -m fes.selfcheck --config run.yaml
        the processes of a launcher: so a cluster is checked, with the command on each machine

It needs no data: pictures and labels are drawn. Exit code 0: right, 1: wrong, 2: it could not be checked.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from fes.commandline import interrupted, terminable
from fes.config import Config
from fes.data.stream import share_of
from fes.errors import InputError, told_in_one_sentence
from fes.hardware import Hardware, pieces
from fes.runtime.launcher import Launch
from fes.runtime.processes import Runtime
from fes.runtime.stopping import leave_at_once
from fes.selfcheck.comparison import Comparison, affordable
from fes.selfcheck.verdict import RIGHT, WRONG, Found, judged
from fes.telling import tell
from fes.training.arguments import parse

LIMIT = 300.0
"""Seconds until processes that do not meet, or hang, give up."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command, and each process that it starts."""
    with told_in_one_sentence("fes", silent=os.environ.get("LOCAL_RANK", "0") != "0"), interrupted(_stopped):
        config, hardware, processes, rest = asked(sys.argv[1:] if arguments is None else arguments)
        if "WORLD_SIZE" not in os.environ:
            with terminable():
                raise SystemExit(start(config, processes, rest))
        os.environ["ACCELERATE_MIXED_PRECISION"] = "no"  # it is not the precision that is checked
        watchdog = threading.Timer(LIMIT, _give_up)
        watchdog.daemon = True
        watchdog.start()
        runtime = Runtime(hardware)
    with interrupted(_stopped), runtime, told_in_one_sentence("fes"):
        right = check(config, runtime)
    watchdog.cancel()
    raise SystemExit(0 if right else 1)


def _stopped() -> str:
    return "fes: stopped; the same command begins anew"


def asked(arguments: Sequence[str]) -> tuple[Config, Hardware, int | None, list[str]]:
    """The settings, the number of processes, and the arguments without it.

    Raises:
        InputError: a flag or a value that means nothing.
    """
    words = argparse.ArgumentParser(
        prog="fes selfcheck gradients",
        allow_abbrev=False,
        description="Compare what several processes compute with what one would, on this machine.",
        epilog="Any setting of train.py may follow: python fes/train.py --help lists them. With a launcher, "
        "as accelerate launch -m fes.selfcheck, the processes are those that it starts, on all machines.",
    )
    told = "processes; as many as there are GPUs, 2 on the CPU where there is none"
    words.add_argument("--processes", type=int, metavar="N", help=told)
    own, rest = words.parse_known_args(arguments)
    if own.processes is not None and own.processes < 1:
        raise InputError(f"--processes is {own.processes}: it must be at least 1")
    given = {word.partition("=")[0] for word in rest}
    settings = parse([*([] if "--data" in given else ["--data", "drawn"]), "--run", "none", *rest])
    model = settings.config.model
    model = dataclasses.replace(model, resolution=model.resolution or 48, channels=model.channels or 1)
    hardware = dataclasses.replace(settings.hardware, tf32=False)
    return dataclasses.replace(settings.config, model=model), hardware, own.processes, rest


def start(config: Config, processes: int | None, arguments: Sequence[str]) -> int:
    """Starts the processes on this machine and passes on what they tell; returns the exit code.

    Raises:
        InputError: so many cannot share a batch.
    """
    gpus = 0 if Launch.read(dict(os.environ)).on_cpu else torch.cuda.device_count()
    processes = processes or gpus or 2
    share_of(config.batch, 0, processes)
    on_cpu = {"ACCELERATE_USE_CPU": "true"} if processes > gpus else {}
    words = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *words, "-m", "--", "fes.selfcheck", *arguments]
    return _passed_on(command, {"OMP_NUM_THREADS": "1", **os.environ, **on_cpu})


def _passed_on(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Passes on what the launched processes tell, but the launcher's own page of a failure; the exit code."""
    last = ""
    with tempfile.TemporaryFile("w+") as errors:
        pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True, "env": variables}
        with subprocess.Popen(command, **pipes) as ranks:
            try:
                for last in ranks.stdout:
                    print(last, end="", flush=True)
            except BaseException:
                ranks.terminate()  # which the launcher passes on
                raise
        if last.startswith((RIGHT, WRONG)):  # of a code that is not 0 the launcher has a page to tell
            return 0 if last.startswith(RIGHT) else 1
        errors.seek(0)
        lines = errors.read().splitlines()
    tell("\n".join([line for line in lines if line.startswith("fes: ")] or lines))
    return 2


def _give_up() -> None:
    rank, ranks = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    sentence = (
        f"fes: rank {rank} of {ranks} has waited for {LIMIT:.0f} seconds: the processes do not meet, or one "
        "hangs; look at the launcher's addresses and ports, and at what NCCL_DEBUG=INFO tells"
    )
    tell(sentence)
    leave_at_once(2)


def check(config: Config, runtime: Runtime) -> bool:
    """Compares, and tells the verdict on the main rank; whether the gradients are right, on all.

    Raises:
        InputError: the ranks cannot share the batch, or with these settings even one process diverges.
    """
    share_of(config.batch, runtime.rank, runtime.ranks)
    if runtime.ranks == 1 and runtime.hardware.micro_batch is None:  # else nothing would be compared
        runtime.hardware = dataclasses.replace(runtime.hardware, micro_batch=max(1, config.batch // 2))
    comparison = Comparison(affordable(config, runtime), runtime)
    found = comparison.found()
    right, verdict = judged(found, comparison.exactness)
    if runtime.is_main:
        print("\n".join([*_about(comparison, config.batch, found), verdict]), flush=True)
    return right


def _about(comparison: Comparison, asked_batch: int, found: Sequence[Found]) -> list[str]:
    """What was compared, and how closely it agrees, in lines."""
    config, exactness, updates = comparison.config, comparison.exactness, comparison.updates
    devices = ", ".join(
        f"{count} on {name}" for name, count in Counter(each.device for each in found).items()
    )
    share = config.batch // len(found)
    count = pieces(share, comparison.runtime.hardware.micro_batch)
    lower = (
        "" if config.batch == asked_batch else f" (not {asked_batch}, more than there is time or memory for)"
    )
    gradients = max((each.gradients for each in found), key=lambda each: each.largest)
    weights = max((each.weights for each in found), key=lambda each: each.largest)
    return [
        f"processes: {devices}",
        f"in {str(exactness.dtype).removeprefix('torch.')}, whatever precision the launcher asks for",
        f"batch: {config.batch}{lower} pictures of noise, {config.model.resolution} px, "
        f"{config.model.channels} channel{'s' * (config.model.channels > 1)}; for each process {share}, "
        f"in {count} piece{'s' * (count > 1)}",
        f"gradients: off by {gradients.largest:.1e} of their size at most, in {gradients.name} "
        f"(limit {exactness.gradients:.0e})",
        f"weights, after {updates} update{'s' * (updates > 1)} of the autoencoder and "
        f"{updates * config.critic_steps} of the critics: off by {weights.largest:.1e} at most, "
        f"in {weights.name} (limit {exactness.weights:.0e})",
    ]

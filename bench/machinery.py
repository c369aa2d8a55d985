"""What the machinery of training costs on this machine: `python -m bench.machinery --help`.

The whole trainer beside a bare loop of the same networks, two ranks beside one, and what ranks say to each
other. Prints tables with the targets, and adds a line of json for each result, with the machine, the
versions and the commit, to bench/results/machinery.jsonl. It takes about seven minutes, in which nothing
else should run.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.commandline import options_of
from bench.overhead import HOOKS, Amount, Result, config_of, measure_overhead
from bench.recording import RESULTS, keep, machine
from bench.steps import measure_readiness, measure_steps
from bench.tables import show, verdict
from fes.errors import InputError
from fes.files import make_folder
from fes.machine import cores
from fes.runtime.processes import Runtime
from shards.build.writer import BuildOptions, build
from shards.sources.drawn import DrawnOptions, draw

ROOT = Path(__file__).parents[1]
MOST_RATIO, LEAST_EFFICIENCY = 1.03, 0.93
RANKS = 2
BATCHES = (4, 8, 16, 32, 64)
RANKS_PATIENCE = 1800  # seconds


@dataclass(frozen=True)
class Options:
    """Measure what the machinery of training costs on this machine, with one thread for each process."""

    out: Path = RESULTS
    """The folder of the file that the results are added to."""
    rounds: int = 20
    """How often blocks of steps are taken in turn."""
    cycles: int = 2
    """How long a block is: cycles of the critics' steps and the autoencoder's."""
    repeats: int = 15
    """How often a single step is timed."""
    quick: bool = False
    """Measure little, and briefly: to see that all of it works, for the figures are worth nothing."""


def run(options: Options) -> None:
    """Measures, prints and keeps the results."""
    make_folder(options.out)
    amount = Amount(2, 1) if options.quick else Amount(options.rounds, options.cycles)
    repeats = 1 if options.quick else options.repeats
    on_gpus = torch.cuda.device_count() >= RANKS
    about = {**machine("cuda" if torch.cuda.is_available() else "cpu"), "quick": options.quick}
    about_ranks = about if on_gpus else {**machine("cpu"), "quick": options.quick}
    path = options.out / "machinery.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        build(draw(DrawnOptions(100, 0, 0)), data, BuildOptions())
        runtime = Runtime()
        torch.set_num_threads(1)
        for workers in (0, 2):
            config = config_of(data, Path(folder) / f"run{workers}", workers, options.quick)
            found = measure_overhead(config, runtime, amount)
            keep(path, about, found)
            show_overhead(found)
        found = measure_steps(config, runtime, BATCHES, repeats)
        show_steps(found)
        keep(path, about, found + measure_readiness(config, runtime, max(BATCHES), repeats))
        runtime.close()
        if not on_gpus and cores() < RANKS:
            raise InputError("there is only one core: two ranks are not measured")
        found = measure_ranks(data, Path(folder) / "ranks.json", amount, on_gpus, options.quick)
        keep(path, about_ranks, found)
        show_ranks(found)


def measure_ranks(data: Path, out: Path, amount: Amount, on_gpus: bool, quick: bool) -> list[Result]:
    """What `bench/ranks.py` finds in two processes, on two GPUs or two cores."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not on_gpus:
        environment["ACCELERATE_USE_CPU"] = "true"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(RANKS)]
    command += ["-m", "bench.ranks", "--data", str(data), "--out", str(out)]
    command += ["--rounds", str(amount.rounds), "--cycles", str(amount.cycles)]
    command += ["--quick"] * quick
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as launcher:
        try:
            code = launcher.wait(RANKS_PATIENCE)
        finally:
            if launcher.poll() is None:
                os.killpg(launcher.pid, signal.SIGKILL)
    if code:
        raise SystemExit("the ranks failed: see above")
    return json.loads(out.read_text())


def show_overhead(results: list[Result]) -> None:
    """Prints the ratio, and the shares of what is done now and then."""
    steps, *hooks = results
    ratio, (low, high) = steps["ratio"], steps["quartiles"]
    rows = [
        ("between ticks, by the clock", f"{ratio:.4f}", verdict("<=", MOST_RATIO, ratio <= MOST_RATIO)),
        ("half of the blocks are within", f"{low:.4f} - {high:.4f}", ""),
        ("between ticks, this process's CPU time", f"{steps['cpu_ratio']:.4f}", ""),
    ]
    rows += [
        (f"a {each['part']}: {1000 * each['seconds']:.0f} ms", f"+ {each['share']:.4f}", "") for each in hooks
    ]
    whole = ratio + sum(each["share"] for each in hooks)
    rows.append((f"with {', '.join(HOOKS)}", f"{whole:.4f}", verdict("<=", MOST_RATIO, whole <= MOST_RATIO)))
    title = f"The trainer beside a bare loop ({1000 * steps['bare_seconds']:.1f} ms a step)"
    show(f"{title}, {steps['workers']} processes that read ahead", ("", "ratio", "target"), rows)


def show_steps(results: list[Result]) -> None:
    """Prints what a step takes by the size of the batch."""
    rows = [
        (
            each["player"],
            str(each["batch"]),
            f"{1000 * each['seconds']:.2f}",
            f"{each['batch'] / each['seconds']:,.0f}",
        )
        for each in results
    ]
    show("A bare step", ("player", "batch", "ms", "pictures per second"), rows)


def show_ranks(results: list[Result]) -> None:
    """Prints the weak scaling, and what ranks say to each other."""
    rows = []
    for each in (each for each in results if each["what"] == "weak scaling"):
        efficiency, met = each["efficiency"], each["efficiency"] >= LEAST_EFFICIENCY
        target = verdict(">=", LEAST_EFFICIENCY, met) if each["part"] == "together" else ""
        rows.append((each["part"], f"{efficiency:.3f}", f"{each['cpu_efficiency']:.3f}", target))
    title = f"{RANKS} ranks: pictures per second and rank, beside one that is alone"
    show(title, ("", "by the clock", "CPU time", "target"), rows)
    rows = [
        (
            each["part"],
            f"{each['parameter_bytes']:,}",
            f"{each['all_reduced_bytes']:,.0f}",
            str(each["calls"]),
        )
        for each in results
        if each["what"] == "traffic"
    ]
    show("What is all-reduced in a step", ("", "bytes of parameters", "bytes all-reduced", "calls"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("machinery", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

"""Draws the modelled scaling to 8, 64 and 512 GPUs: `python -m bench.plot --help`.

Reads the newest figures that `python -m bench.machinery` left in bench/results/machinery.jsonl, a GPU's where
there are such, and writes scaling.png and scaling.json beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bench.commandline import options_of
from bench.recording import RESULTS, kept
from bench.scaling import (
    CLUSTERS,
    ETHERNET_100,
    NVLINK,
    REACHED,
    Step,
    fit_seconds,
    overlap_of,
    strong_efficiency,
    weak_efficiency,
)
from bench.tables import show
from fes.config import Config
from fes.errors import InputError
from fes.files import make_folder

GPUS = tuple(2**power for power in range(10))
TOLD = (8, 64, 512)
STRONG_BATCH = 4096
ASSUMED_SPEEDUP = 50
"""How many times as fast a GPU is as one core of a CPU, where none was measured: an RTX 2080's 10 TFLOP/s are
about a hundred cores', of which small networks reach half."""
MODELLED = "modelled, not measured"


@dataclass(frozen=True)
class Options:
    """Draw how training would scale to many GPUs, by a model, from what was measured on this machine."""

    out: Path = RESULTS
    """The folder that holds machinery.jsonl, and gets scaling.png and scaling.json."""


@dataclass(frozen=True)
class Scenario:
    """What the model begins with."""

    title: str
    steps: tuple[Step, Step]
    """The critics' and the autoencoder's."""


@dataclass(frozen=True)
class Curve:
    """Efficiencies by the number of GPUs, as in `GPUS`."""

    scenario: str
    cluster: str
    weak: list[float]
    strong: list[float]


def run(options: Options) -> None:
    """Models, prints, draws and keeps."""
    file = options.out / "machinery.jsonl"
    if not file.exists():
        raise InputError(f"there is no {file}: `python -m bench.machinery --out {options.out}` makes it")
    device, found = scenarios(kept(file))
    make_folder(options.out)
    curves = [curve for scenario in found for curve in curves_of(scenario)]
    for scenario in found:
        show_curves(scenario, [each for each in curves if each.scenario == scenario.title])
    draw(found, curves).savefig(options.out / "scaling.png", dpi=150)
    about = {"note": MODELLED, "device": device, "gpus": GPUS, "batch_per_gpu": Config.batch}
    about |= {"strong_batch": STRONG_BATCH, "reached": REACHED}
    about |= {"clusters": [asdict(each) for each in CLUSTERS], "scenarios": [asdict(each) for each in found]}
    text = json.dumps({**about, "curves": [asdict(each) for each in curves]}, indent=2)
    (options.out / "scaling.json").write_text(text + "\n")


def scenarios(lines: Sequence[dict]) -> tuple[str, list[Scenario]]:
    """The device that was measured, and what to model: its own steps, and a GPU's where it is none.

    Raises:
        InputError: nothing was measured that is worth anything.
    """
    kept_any, lines = bool(lines), [line for line in lines if not line.get("quick")]
    measured = [line for line in lines if line["what"] == "step"]
    if not measured or not any(line["what"] == "traffic" for line in lines):
        quick = "only figures of --quick, which are worth nothing" if kept_any and not lines else "no figures"
        raise InputError(f"there are {quick} to begin with: run `python -m bench.machinery` first")
    newest = max(measured, key=lambda line: ("cuda" in line, line["time"]))
    same = [line for line in lines if line["time"] == newest["time"]]
    critics, autoencoder = (step_of(player, same, lines) for player in ("critics", "autoencoder"))
    device = newest["device"]
    if "cuda" in newest:
        return device, [Scenario(f"steps as measured on one {device}", (critics, autoencoder))]
    faster = critics.faster(ASSUMED_SPEEDUP), autoencoder.faster(ASSUMED_SPEEDUP)
    return device, [
        Scenario(f"steps as measured on one core of this CPU ({device})", (critics, autoencoder)),
        Scenario(f"steps {ASSUMED_SPEEDUP} times as fast, as a GPU's are assumed to be", faster),
    ]


def step_of(player: str, measured: Sequence[dict], lines: Sequence[dict]) -> Step:
    """A player's step, from the lines of one measurement; what is all-reduced from the newest of all."""
    own = [line for line in measured if line.get("player") == player]
    steps = [line for line in own if line["what"] == "step"]
    readiness = next(line for line in own if line["what"] == "readiness")
    said = [line for line in lines if line["what"] == "traffic" and line["part"] == player]
    buckets = said[-1]["all_reduces"]
    fixed, per_picture = fit_seconds([line["batch"] for line in steps], [line["seconds"] for line in steps])
    times = Config.critic_steps if player == "critics" else 1
    return Step(fixed, per_picture, tuple(buckets), overlap_of(readiness["gradients"], buckets), times)


def curves_of(scenario: Scenario) -> list[Curve]:
    """The efficiencies on each cluster."""
    return [
        Curve(
            scenario.title,
            cluster.name,
            [weak_efficiency(scenario.steps, Config.batch, gpus, cluster) for gpus in GPUS],
            [strong_efficiency(scenario.steps, STRONG_BATCH, gpus, cluster) for gpus in GPUS],
        )
        for cluster in CLUSTERS
    ]


def show_curves(scenario: Scenario, curves: Sequence[Curve]) -> None:
    """Prints the efficiencies at 8, 64 and 512 GPUs."""
    at = [GPUS.index(gpus) for gpus in TOLD]
    rows = [
        (curve.cluster, *(f"{values[index]:.3f}" for values in (curve.weak, curve.strong) for index in at))
        for curve in curves
    ]
    columns = ["inside a node, between nodes"]
    columns += [f"{kind} {gpus}" for kind in ("weak", "strong") for gpus in TOLD]
    show(f"Efficiency, {MODELLED}: {scenario.title}", columns, rows)


def draw(found: Sequence[Scenario], curves: Sequence[Curve]) -> Figure:
    """A row of two plots for each scenario: weak and strong scaling."""
    matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(11, 1.5 + 3.6 * len(found)), layout="constrained")
    figure.suptitle(f"Training on many GPUs: {MODELLED}", fontsize=14, fontweight="bold")
    rows = figure.subfigures(len(found), 1, squeeze=False)[:, 0]
    for row, scenario in zip(rows, found, strict=True):
        row.suptitle(scenario.title, fontsize=11)
        weak, strong = row.subplots(1, 2, sharey=True)
        for curve in (each for each in curves if each.scenario == scenario.title):
            draw_curve(weak, curve.cluster, curve.weak)
            draw_curve(strong, curve.cluster, curve.strong)
        frame(weak, f"weak scaling: {Config.batch} pictures on each GPU")
        frame(strong, f"strong scaling: {STRONG_BATCH} pictures on all GPUs together")
        weak.set_ylabel("speed of each GPU, beside one alone")
    handles, labels = weak.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(CLUSTERS), frameon=False)
    return figure


def draw_curve(axes: Axes, cluster: str, values: Sequence[float]) -> None:
    """One line, its colour telling what is inside a node and its style what is between nodes."""
    color = "tab:green" if cluster.startswith(NVLINK.name) else "tab:purple"
    style = "-" if cluster.endswith(ETHERNET_100.name) else "--"
    axes.plot(GPUS, values, style, color=color, label=cluster, linewidth=1.8, marker="o", markersize=3.5)


def frame(axes: Axes, title: str) -> None:
    """What surrounds the lines."""
    axes.set_title(title, fontsize=10)
    axes.set_xscale("log", base=2)
    axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS])
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("GPUs, 8 in a node")
    axes.grid(color="0.9")
    axes.axvline(CLUSTERS[0].node, color="0.5", linewidth=0.8, linestyle=":")
    axes.text(CLUSTERS[0].node, 0.03, " one node", color="0.4", fontsize=9)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("plot", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

"""Whether it pays to grow: 48 px and then 96 px, beside 96 px from the start, for the same seconds.

    fes-shards build drawn --resolution 96 --channels 3 --test-identities 200 --out data/colour
    fes judge train --data data/colour --resolution 48 --out guide.safetensors --kind plain --kimg 20 \\
        --seed 1 --noise 0.5
    fes judge train --data data/colour --out judge.safetensors --kind plain --kimg 10
    python -m bench.growing --data data/colour --guide guide.safetensors --judge judge.safetensors \\
        --out runs/growing

The grown run is the first two levels of `recipes/grow_48_96_192.yaml`. The other one has the settings of its
first level, but 96 px, and goes on for as many kimg as fit into the seconds that the grown one took, at the
pace that this had at 96 px once its blocks had faded in. On drawn faces the true picture of each person with
each expression is known. Both are interrupted and go on by the same command. OUT/table.md holds the figures,
OUT/growing.png the same faces by both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from bench.commandline import options_of
from bench.whole_runs import ROOT, check_graders, run_python
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.files import make_folder
from fes.photographs.synthesizer import all_expressions
from fes.pictures import sheet, write_picture
from fes.saved.snapshot import load_snapshot
from shards.index import ShardIndex, spread

RECIPE = ROOT / "recipes/grow_48_96_192.yaml"
COLUMNS = {
    "truth_ratio": "error / copying's",
    "expression_accuracy": "read as asked",
    "identity_rank1": "right person",
    "judge_frechet_distance": "Frechet (judge)",
}
"""Figures of `fes evaluate`, and what the table calls them."""


@dataclass(frozen=True)
class Growing:
    """A grown run beside one that begins at its last resolution."""

    data: str
    """Folder of shards of drawn faces in colour, at 96 px or more."""
    guide: Path
    """A guide for 48 px."""
    judge: Path
    """A judge for 96 px."""
    out: Path
    """Folder for the runs, the table and the picture."""
    low_kimg: float = 34.0
    """Length of the level at 48 px."""
    high_kimg: float = 11.0
    """Length of the level at 96 px."""
    faces: int = 200
    """Held-out faces that both are measured on."""


def _train(asked: Growing, name: str, levels: list[dict[str, object]]) -> Path:
    """Trains levels of the recipe, as far as that is not done; returns the run of the last."""
    settings = yaml.safe_load(RECIPE.read_text()) | {"levels": levels}
    file = asked.out / f"{name}.yaml"
    file.write_text(yaml.safe_dump(settings))
    run, cache = asked.out / name, asked.out / "cache"
    words = [
        "--config",
        str(file),
        "--data",
        asked.data,
        "--run",
        str(run),
        "--start.guide",
        str(asked.guide),
    ]
    run_python(str(ROOT / "fes/train.py"), *words, "--stream.cache", str(cache))
    return run / str(levels[-1]["model"]["resolution"])


def _ticks(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def _seconds(run: Path) -> float:
    """What the training of a run took, but for snapshots and states."""
    return sum(tick.get("time/seconds", 0.0) for tick in _ticks(run))


def _as_long(grown: Path, faded: float) -> float:
    """The kimg at 96 px that fit into the seconds of a grown run, whole pictures."""
    seconds = _seconds(grown.parent / "48") + _seconds(grown)
    settled = [tick for tick in _ticks(grown) if "time/seconds" in tick and tick["kimg"] > 2 * faded]
    pace = sum(tick["time/images_per_second"] * tick["time/seconds"] for tick in settled)
    pace /= sum(tick["time/seconds"] for tick in settled)
    return round(seconds * pace / 1000, 1)


def _measured(asked: Growing, run: Path) -> dict[str, float]:
    words = ["--data", asked.data, "--judge", str(asked.judge), "--newest", "--faces", str(asked.faces)]
    run_python("-m", "fes.cli", "evaluate", "--run", str(run), *words)
    return json.loads(sorted((run / "evaluation").glob("*.json"))[-1].read_text())


def _table(rows: dict[str, tuple[Path, dict[str, float]]]) -> str:
    lines = ["| | kimg | seconds | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 3) + "|"]
    for name, (run, figures) in rows.items():
        levels = sorted(run.parent.iterdir(), key=lambda level: int(level.name))
        kimg = " + ".join(f"{_ticks(level)[-1]['kimg']:.0f}" for level in levels)
        seconds = sum(_seconds(level) for level in levels)
        cells = " | ".join(f"{figures[column]:.3f}" for column in COLUMNS)
        lines.append(f"| {name} | {kimg} | {seconds:.0f} | {cells} |")
    return "\n".join(lines) + "\n"


def _picture(asked: Growing, runs: list[Path], faces: int = 3) -> None:
    """Held-out faces, each with its seven expressions by each run, one run below the other."""
    split = ShardIndex.load(Path(asked.data)).split("test")
    images = [torch.from_numpy(split.image(int(each))) for each in spread(split.samples, faces)]
    loaded = [load_snapshot(run) for run in runs]
    drawn = [all_expressions(each.encoder, each.generator, torch.stack(images)) for each in loaded]
    rows = torch.stack(drawn, dim=1).flatten(0, 1)
    write_picture(sheet(rows.numpy(), ("source", *EXPRESSIONS)), asked.out / "growing.png")


def check(asked: Growing, resolution: int, faded: float) -> None:
    """Looks at what is needed once the runs are trained.

    Args:
        resolution: of the last level.
        faded: kimg in which its blocks fade in.

    Raises:
        InputError: something is not there, or makes no sense.
    """
    if asked.high_kimg <= 2 * faded:
        raise InputError(
            f"--high-kimg is {asked.high_kimg:g}: it must be more than {2 * faded:g}, as the pace is that of "
            "what comes then"
        )
    index = check_graders(asked.data, [asked.judge], asked.guide, resolution)
    if index.source != "drawn" or index.resolution < resolution or "test" not in index.splits:
        raise InputError(
            f"--data {asked.data} holds no drawn faces of {resolution} px, with a test split: make "
            f"them by 'fes-shards build drawn --resolution {resolution} --channels 3 --test-identities 200'"
        )
    make_folder(asked.out)


def run(asked: Growing) -> None:
    """Trains and measures both runs; writes the table and the picture."""
    low, high, *_ = yaml.safe_load(RECIPE.read_text())["levels"]
    check(asked, high["model"]["resolution"], high["grow_kimg"])
    low["clock"]["total_kimg"], high["clock"]["total_kimg"] = asked.low_kimg, asked.high_kimg
    grown = _train(asked, "grown", [low, high])
    scratch = {**low, "model": high["model"], "clock": {"total_kimg": _as_long(grown, high["grow_kimg"])}}
    begun = _train(asked, "from-the-start", [scratch])
    rows = {"48 px, then 96 px": (grown, _measured(asked, grown)), "96 px": (begun, _measured(asked, begun))}
    (asked.out / "table.md").write_text(_table(rows))
    _picture(asked, [grown, begun])
    print(_table(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("growing", Growing, arguments) as asked:
        run(asked)


if __name__ == "__main__":
    main()

"""What each term, stage and choice of a recipe is worth: the same short run with one thing changed at a time.

    python -m bench.ablation --recipe recipes/fer2013.yaml --guide guide.safetensors --data data/fer2013 \\
        --judge judge.safetensors --second-judge second.safetensors --kimg 20 --out runs/ablation

Each variant is trained from the same seed for as many pictures and measured by `fes evaluate` on the held-out
faces. A variant that is done is not done again, one that was interrupted goes on: the same command finishes
what is missing, and `--only` does some of them. What each was trained and measured with is kept beside it:
with another judge or other faces it is measured anew, and one that was trained otherwise is refused. The
opening is a quarter of each run, or `--opening` of it. With `--start` variants go on from a trained run
instead, without an opening: that shows what holds up what is there, and networks of another make are left
out. The table goes to the terminal and to OUT/table.md.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.commandline import check_names, options_of
from bench.whole_runs import ROOT, check_graders, run_python
from fes.config.tree import flat, to_tree
from fes.errors import InputError
from fes.files import make_folder, sha256_of, write_file
from fes.saved.snapshot import find_snapshot
from fes.training.arguments import parse_levels

NO_GUIDE = " ".join(f"--{each}.guide-weight 0" for each in ("loss", "stages.opening", "stages.closing"))
NOT_CLEAR = "--loss.guide-clear None --stages.closing.guide-clear None"
ALL_PAINT = "--loss.guide-painting 1"
VARIANTS: dict[str, str] = {
    "recipe": "",
    "no guide": NO_GUIDE,
    "no guide, an expression head": f"{NO_GUIDE} --loss.expression-weight 3",
    "with an expression head": "--loss.expression-weight 1",
    "no margin for the guide": f"--loss.guide-margin None {NOT_CLEAR}",
    "no limit for the guide": "--loss.guide-limit None",
    "a guide that paints all it wants": ALL_PAINT,
    "a source that is spared": "--model.skip warp --loss.paint-weight 1 --loss.strain-weight 1",
    "no light": "--loss.light-weight 0 --stages.closing.light-weight 0",
    "with a margin for the guide": "--loss.guide-margin 0 --loss.guide-clear 0.4",
    "with a limit for the guide": "--loss.guide-limit 0.75",
    "with light": "--loss.light-weight 1.5",
    "no image critic": " ".join(f"--{each}.image-weight 0" for each in ("loss", "stages.opening")),
    "weights that balance themselves": "--loss.balance",
    "no return": "--loss.return-weight 0",
    "no return, cycle consistency": "--loss.return-weight 0 --loss.cycle-weight 1",
    "no opening": "--stages.opening.kimg 0",
    "with latent consistency": "--loss.consistency-weight 1",
    "with feature distance": "--loss.feature-weight 1",
    "one-sided penalty": "--loss.adversary wgan-gp-one-sided",
    "R1, non-saturating": "--loss.adversary r1-non-saturating --loss.penalty-weight 1",
    "R1, relativistic": "--loss.adversary r1-relativistic --loss.penalty-weight 1",
    "no flips": "--augment.no-flips",
    "no augmentation": "--augment.strength 0",
    "adaptive augmentation": "--augment.strength 0 --augment.adapt-kimg 20",
    "no class balance": "--augment.class-balance 0",
    "three steps of the critics": "--critic-steps 3",
    "skip: none": f"--model.skip none --loss.reconstruction-weight 2 {ALL_PAINT}",
    "skip: features": f"--model.skip features --loss.reconstruction-weight 2 {ALL_PAINT}",
    "skip: residual": f"--model.skip residual {ALL_PAINT}",
    "skip: mask": f"--model.skip mask {ALL_PAINT}",
    "skip: warp": "--model.skip warp",
    "stages first": "--stages.autoencoder.kimg {fifth} --stages.gan.kimg {fifth}",
}
"""What is changed: flags that win over the recipe's; `{fifth}` is a fifth of the run."""
ORIGINAL = "original recipe"
FROM_NOTHING = (ORIGINAL, "skip:", "a source that is spared", "stages", "no opening")
"""How variants begin whose networks or stages are others than a trained run's."""
MADE_WITH = "made_with.json"
"""Of a run, what it was trained and measured with."""
OWN = ("data", "run", "stream", "start")
"""Settings of a run that tell where something lies; what lies there is told by its sums."""
COLUMNS = {
    "expression_accuracy": "read as asked",
    "second_judge_expression_accuracy": "by the second judge",
    "identity_rank1": "right person",
    "reconstruction_l1": "L1",
    "truth_ratio": "error / copying's",
    "judge_frechet_distance": "Frechet (judge)",
    "score": "score",
}
"""Figures of `fes evaluate`, and what the table calls them."""


@dataclass(frozen=True)
class Ablation:
    """The same run with one thing changed at a time."""

    recipe: Path
    """The yaml that is varied."""
    data: str
    """Folder of shards."""
    judge: Path
    """A judge of these data."""
    guide: Path
    """The guide of the recipe."""
    out: Path
    """Folder for the runs and the table."""
    second_judge: Path | None = None
    """Another judge."""
    start: Path | None = None
    """A run of the recipe to begin with. None: random weights."""
    kimg: float = 60.0
    """Length of each run."""
    opening: float = 0.25
    """Share of each run that is the opening."""
    only: tuple[str, ...] = ()
    """Variants to run; none given: all."""
    faces: int = 200
    """Held-out faces that each is measured on."""


def length_of_opening(asked: Ablation, variant: str) -> float:
    """The kimg of the opening, at most what other stages leave of the run."""
    if asked.start or variant == ORIGINAL:
        return 0.0
    before = sum(asked.kimg / 5 for word in VARIANTS[variant].split() if word == "{fifth}")
    return min(asked.opening * asked.kimg, asked.kimg - before)


def run_of(asked: Ablation, variant: str) -> Path:
    """The folder of a variant's run."""
    return asked.out / variant.replace(" ", "-").replace(":", "").replace(",", "")


def commands(asked: Ablation, variant: str) -> tuple[list[str], list[str]]:
    """The arguments of `fes/train.py` and of `fes evaluate` for a variant."""
    recipe = ROOT / "recipes/original.yaml" if variant == ORIGINAL else asked.recipe
    flags = "" if variant == ORIGINAL else VARIANTS[variant].format(fifth=asked.kimg / 5)
    run, length = str(run_of(asked, variant)), str(asked.kimg)
    opening = ["--stages.opening.kimg", str(length_of_opening(asked, variant))]
    clock = ["--clock.total-kimg", length, "--clock.snapshot-kimg", length, "--clock.state-kimg", length]
    closing = ["--stages.closing.from-kimg", "None"]  # it comes after what is compared
    stages = [*opening, *closing]
    train = ["--config", str(recipe), "--data", asked.data, "--run", run, *clock, *stages, *flags.split()]
    if variant != ORIGINAL:
        train += ["--start.guide", "None" if NO_GUIDE in flags else str(asked.guide)]
    if asked.start:
        for name in ("encoder", "generator", "latent-critic", "image-critic"):
            train += [f"--start.{name}", str(asked.start)]
    measured = ["--run", run, "--data", asked.data, "--judge", str(asked.judge), "--newest"]
    if asked.second_judge:
        measured += ["--second-judge", str(asked.second_judge)]
    return train, ["evaluate", *measured, "--faces", str(asked.faces)]


def made_with(asked: Ablation, variant: str, data: str) -> dict[str, dict[str, object]]:
    """What a variant is `trained` and `measured` with, as json keeps it; `data` is their fingerprint.

    Raises `InputError` where a file is not there.
    """
    levels = [each.config for each in parse_levels(commands(asked, variant)[0])]
    settings = [flat(to_tree(level)) for level in levels]
    trained = {
        name: [each[name] for each in settings] for name in settings[0] if name.split(".")[0] not in OWN
    }
    start = find_snapshot(asked.start) if asked.start else None
    trained |= {"data": data, "guide": _sum(levels[0].start.guide), "start": _sum(start)}
    judges = {"judge": _sum(asked.judge), "second_judge": _sum(asked.second_judge)}
    return json.loads(json.dumps({"trained": trained, "measured": {**judges, "faces": asked.faces}}))


def _sum(path: Path | None) -> str | None:
    return None if path is None else sha256_of(path)


def _made_before(run: Path) -> dict[str, dict[str, object]]:
    """What a run was made with; nothing where there is none. Raises `InputError` where it does not tell."""
    if not run.exists() or not any(run.iterdir()):
        return {}
    try:
        made = json.loads((run / MADE_WITH).read_text())
        return {"trained": dict(made["trained"]), "measured": dict(made["measured"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{run} does not tell, in {MADE_WITH}, what it was trained with: remove it, or take another --out"
        ) from None


def refuse_other(asked: Ablation, variant: str, data: str) -> None:
    """Raises `InputError` where a variant's run was trained with other settings than are asked for now."""
    run = run_of(asked, variant)
    before, now = _made_before(run).get("trained"), made_with(asked, variant, data)["trained"]
    if before is None or before == now:
        return
    other = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    raise InputError(
        f"{run} was trained with another {', '.join(other[:4])}{', ...' * (len(other) > 4)}: remove it, or "
        "take another --out"
    )


def measure(asked: Ablation, variant: str, data: str) -> dict[str, float]:
    """Trains and measures a variant, as far as that is not done yet as it is asked for; returns its figures.

    Its run is none that `refuse_other` refuses; `data` is the fingerprint of what it is trained on.
    """
    train, evaluate = commands(asked, variant)
    run, made = run_of(asked, variant), made_with(asked, variant, data)
    if _made_before(run) != made:
        make_folder(run)
        _keep(run, {**made, "measured": {}})
        run_python(str(ROOT / "fes/train.py"), *train)
        run_python("-m", "fes.cli", *evaluate)
        _keep(run, made)
    return json.loads(sorted(run.glob("evaluation/*.json"))[-1].read_text())


def _keep(run: Path, made: dict[str, dict[str, object]]) -> None:
    write_file(run / MADE_WITH, json.dumps(made, indent=2).encode())


def table(figures: dict[str, dict[str, float]]) -> str:
    """A table in Markdown of those figures that any variant has."""
    names = [name for name in COLUMNS if any(name in found for found in figures.values())]
    lines = ["| | " + " | ".join(COLUMNS[name] for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    for variant, found in figures.items():
        cells = (f"{found[name]:.3f}" if name in found else "" for name in names)
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _all(asked: Ablation) -> tuple[str, ...]:
    """All variants that can begin as asked."""
    every = (ORIGINAL, *VARIANTS)
    return tuple(each for each in every if not asked.start or not each.startswith(FROM_NOTHING))


def check(asked: Ablation, variants: Sequence[str]) -> str:
    """The data's fingerprint. Raises `InputError` for what would stop a variant once others are trained."""
    runs = [each.config for variant in variants for each in parse_levels(commands(asked, variant)[0])]
    judges = asked.judge, asked.second_judge
    for guide, *shape in {(run.start.guide, run.model.resolution, run.model.channels) for run in runs}:
        data = check_graders(asked.data, judges, guide, *shape).fingerprint
    for variant in variants:
        refuse_other(asked, variant, data)
    make_folder(asked.out)
    return data


def run(asked: Ablation) -> None:
    """Trains and measures what is asked for, and writes the table after each variant."""
    check_names("--only", asked.only, (ORIGINAL, *VARIANTS))
    variants = asked.only or _all(asked)
    data = check(asked, variants)
    figures = {}
    for variant in variants:
        figures[variant] = measure(asked, variant, data)
        text = table(figures)
        (asked.out / "table.md").write_text(text)
        print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("ablation", Ablation, arguments) as asked:
        run(asked)


if __name__ == "__main__":
    main()

"""Whether an expression grows with its strength: the judge's probability of what is asked, by strength.

    python -m bench.strength --data data/fer2013 [--weights runs/fer2013] [--judge judge.safetensors]

Held-out faces are drawn from their own expression towards each of the others. The table is Markdown: a row
for each expression that is asked for, a column for each strength, and the share of single steps from one
strength to the next in which the probability does not fall by more than a hundredth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bench.commandline import options_of
from fes.config import StreamConfig
from fes.data.mixture import open_index
from fes.errors import InputError
from fes.evaluation.faces import HELD_OUT, load_faces
from fes.expressions import EXPRESSIONS
from fes.judge import load_judge
from fes.photographs.synthesizer import STRENGTHS, between, synthesize
from fes.saved.shipped import shipped_judge, shipped_synthesizer
from fes.saved.snapshot import load_snapshot

SLACK = 0.01


@dataclass(frozen=True)
class Strength:
    """The judge's probability of the asked expression, by strength."""

    data: str
    """Folder of shards whose held-out faces are drawn."""
    weights: Path | None = None
    """A snapshot or a run. None: the weights that come with fes."""
    judge: Path | None = None
    """A judge. None: the one that comes with fes."""
    faces: int = 200
    """Most faces to draw."""


def probabilities(options: Strength) -> Tensor:
    """float32 [strengths, faces, classes]: NaN where a face has the asked expression already.

    Raises:
        InputError: there are no faces to draw, or nothing to draw or to judge them with.
    """
    snapshot = load_snapshot(options.weights or shipped_synthesizer())
    judge, model = load_judge(options.judge or shipped_judge()), snapshot.model
    judge.check_shape(model.resolution, model.channels)
    index = open_index(options.data, StreamConfig())
    held = load_faces(index, HELD_OUT, model.resolution, model.channels, options.faces).held
    known = (held.label >= 0).nonzero().flatten()[: options.faces]
    if not len(known):
        raise InputError(
            f"none of {len(held.label)} held-out faces in {options.data} has a label: more --faces"
        )
    image, label = held.image[known], held.label[known]
    own = functional.one_hot(label, len(EXPRESSIONS)).float()
    found = torch.full((len(STRENGTHS), len(known), len(EXPRESSIONS)), torch.nan)
    for at, strength in enumerate(STRENGTHS):
        for target in range(len(EXPRESSIONS)):
            way = between(own, torch.full_like(label, target), torch.full((len(known),), strength))
            drawn = synthesize(snapshot.encoder, snapshot.generator, image, way)
            found[at, :, target] = judge.probabilities(drawn)[:, target]
    return found.masked_fill((own > 0)[None], torch.nan)


def table(found: Tensor) -> str:
    """The means over faces, and how often a step does not lessen the expression."""
    means, steps = found.nanmean(1), found.diff(dim=0)
    rises = torch.where(steps.isnan(), torch.nan, (steps > -SLACK).float()).nanmean((0, 1))
    lines = ["| | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " | steps that do not fall |"]
    lines.append("|---" * (len(STRENGTHS) + 2) + "|")
    rows = {name: (means[:, at], rises[at]) for at, name in enumerate(EXPRESSIONS)}
    rows["all"] = means.mean(1), rises.mean()
    for name, (each, share) in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in each) + f" | {share:.3f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("strength", Strength, arguments) as options:
        torch.set_num_threads(1)
        print(table(probabilities(options)))


if __name__ == "__main__":
    main()

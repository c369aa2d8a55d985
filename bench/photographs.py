"""How photographs are read whose faces were changed in their own pixels (`python -m bench.photographs`).

    python -m bench.photographs --folder webmorph [--weights runs/fer2013] [--second-judge second.safetensors]

The largest face of each photograph is found and drawn with all seven expressions, at most 256 pixels large,
and by the network alone; both are made as small and grey as the judge wants them. The table is Markdown: how
many are read as asked. As `fes synthesize` does it, pictures that are a face are taken whole. Photographs in
which no face is found are left out, and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bench.commandline import options_of
from fes.commandline import FOUND
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.judge import Judge, check_distinct, load_judge
from fes.photographs.framing import framed
from fes.photographs.photograph import Photograph
from fes.photographs.synthesizer import Synthesizer, retouch, synthesize
from fes.saved.shipped import shipped_judge, shipped_retoucher
from shards.pictures import PICTURE_SUFFIXES

SIDE = 256
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
WAYS = "in the photograph's pixels", "as the network draws them"


@dataclass(frozen=True)
class Photographs:
    """How many faces of photographs are read as asked, changed in their own pixels, and by the network."""

    folder: Path
    """Photographs, at any depth."""
    weights: Path | None = None
    """A snapshot or a run. None: the weights for photographs that come with fes."""
    judge: Path | None = None
    """A judge of grey faces. None: the one that comes with fes."""
    second_judge: Path | None = None
    """Another one."""


def drawn_of(path: Path, synthesizer: Synthesizer) -> tuple[Tensor, Tensor] | None:
    """A photograph's face with each expression, both ways, uint8 [classes, channels, side, side]; None where
    no face is found."""
    photograph = Photograph.read(path)
    frame = framed(photograph.pixels, FOUND)
    if frame.missed:
        return None
    photograph, snapshot = photograph.around(frame.square), synthesizer.snapshot
    networks, label = (snapshot.encoder, snapshot.generator), torch.arange(len(EXPRESSIONS))
    picture = torch.from_numpy(synthesizer.see(photograph))
    alone = synthesize(*networks, picture.expand(len(label), -1, -1, -1), label)
    return retouch(*networks, picture, label, photograph.fine(SIDE)), alone


def as_read(drawn: Tensor, side: int) -> Tensor:
    """uint8 [n, channels, height, width] -> uint8 [n, 1, side, side], grey."""
    grey = drawn.float() if drawn.shape[1] == 1 else (drawn.float() * LUMA).sum(1, keepdim=True)
    return functional.interpolate(grey, size=(side, side), mode="area").round().byte()


def readings(asked: Photographs) -> tuple[list[Tensor], int]:
    """For each judge and way, which faces are read as asked, bool [photographs, classes]; and in how many
    photographs no face was found.

    Raises:
        InputError: there is nothing to read, or to read it with.
    """
    paths, synthesizer, judges = photographs_in(asked.folder), retoucher(asked.weights), judges_of(asked)
    right: list[list[Tensor]] = [[] for _ in range(len(judges) * len(WAYS))]
    unfound = 0
    for path in paths:
        drawn = drawn_of(path, synthesizer)
        if drawn is None:
            unfound += 1
            continue
        seen = [judge.probabilities(as_read(way, judge.resolution)) for judge in judges for way in drawn]
        for kept, probabilities in zip(right, seen, strict=True):
            kept.append(probabilities.argmax(1) == torch.arange(len(EXPRESSIONS)))
    if not right[0]:
        raise InputError(f"no face was found in any of the {unfound} photographs in {asked.folder}")
    return [torch.stack(each) for each in right], unfound


def photographs_in(folder: Path) -> list[Path]:
    """Picture files, by name; raises `InputError` where there are none."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix[1:].lower() in PICTURE_SUFFIXES]
    if not paths:
        raise InputError(f"--folder {folder} holds no photographs")
    return paths


def retoucher(weights: Path | None) -> Synthesizer:
    """Raises `InputError` where there are no such weights, or all of a face is drawn by them."""
    synthesizer = Synthesizer.load(weights or shipped_retoucher())
    if not synthesizer.retouches:
        raise InputError(f"--weights {weights} draw every pixel: there is nothing to carry over")
    return synthesizer


def judges_of(asked: Photographs) -> list[Judge]:
    """One or two; raises `InputError` for one that reads no grey faces, and for two that are the same."""
    paths = asked.judge or shipped_judge(), asked.second_judge
    judges = [load_judge(path) for path in paths if path]
    check_distinct(paths)
    for judge in judges:
        judge.check_shape(judge.resolution, 1)
    return judges


def table(right: list[Tensor], unfound: int) -> str:
    """A row for each judge and way."""
    lines = [f"| read as asked | {' | '.join(EXPRESSIONS)} | all |", "|---" * (len(EXPRESSIONS) + 2) + "|"]
    for number, each in enumerate(right):
        who = "by the judge" if number < len(WAYS) else "by the second judge"
        shares = [*each.float().mean(0).tolist(), each.float().mean().item()]
        cells = " | ".join(f"{share:.3f}" for share in shares)
        lines.append(f"| {WAYS[number % len(WAYS)]}, {who} | {cells} |")
    return "\n".join(
        [*lines, "", f"{len(right[0])} photographs; {unfound} more without a face that was found"]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("photographs", Photographs, arguments) as options:
        torch.set_num_threads(1)
        print(table(*readings(options)))


if __name__ == "__main__":
    main()

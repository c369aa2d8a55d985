"""How good synthesised faces are: is the asked expression read, and how far is the picture from the truth.

The faces are held out: drawn people that were never trained on, or the test split of photographs.
"""

from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.judge import Judge
from fes.snapshot import Snapshot
from fes.synthesizer import synthesize
from shards.drawing.faces import render
from shards.index import ShardIndex, Split, spread
from shards.pictures import decode_picture, encode_picture

HELD_OUT = "test", "valid"
"""Splits to evaluate on, the first that there is."""


def held_out(index: ShardIndex) -> str:
    """The split to evaluate on: test, else valid.

    Raises:
        InputError: there is neither.
    """
    for name in HELD_OUT:
        if name in index.splits:
            return name
    raise InputError(f"{index.place} has no test or valid split to evaluate on")


def evaluate(snapshot: Snapshot, judge: Judge, index: ShardIndex, faces: int) -> dict[str, Any]:
    """Draws all seven expressions of held-out faces and measures them.

    Returns:
        `expression_accuracy`, the share of synthesised faces that the judge reads as asked, also
        `expression_accuracy_by_class`; `judge_accuracy`, its share of right answers on the real
        pictures, which is the ceiling; `reconstruction_l1`, the mean absolute error of the face drawn
        with its own expression; and on drawn faces `truth_l1`, the error to the true picture of that
        person with that expression, beside `copy_l1`, that of copying the source. Errors are on a
        scale where the whole range of a pixel is 1.

    Raises:
        InputError: the judge reads pictures of another shape than the snapshot's, or the held-out pictures
            have no labels.
    """
    resolution, channels = snapshot.model.resolution, snapshot.model.channels
    judge.check_shape(resolution, channels)
    split = index.split(held_out(index)).sized(resolution, channels)
    positions = spread(split.samples, faces).tolist()
    source = torch.from_numpy(np.stack([split.image(p) for p in positions]))
    label = torch.from_numpy(split.labels[positions])
    known = label != UNLABELLED
    if not known.any():
        raise InputError(f"the held-out pictures in {index.place} have no labels to compare with")
    drawn = torch.stack(
        [
            synthesize(snapshot.encoder, snapshot.generator, source, torch.full_like(label, target))
            for target in range(len(EXPRESSIONS))
        ],
        dim=1,
    )  # [faces, classes, channels, height, width]
    read = rearrange(judge.read(rearrange(drawn, "f e c h w -> (f e) c h w")), "(f e) -> f e", f=len(drawn))
    right = (read == torch.arange(len(EXPRESSIONS))).double()
    results: dict[str, Any] = {
        "kimg": snapshot.kimg,
        "faces": len(positions),
        "expression_accuracy": right.mean().item(),
        "expression_accuracy_by_class": dict(zip(EXPRESSIONS, right.mean(0).tolist(), strict=True)),
        "judge_accuracy": (judge.read(source) == label)[known].double().mean().item(),
        "reconstruction_l1": _error(drawn[known, label[known]], source[known]),
    }
    if index.source == "drawn":
        truth = _truth(index, split, positions)
        copies = repeat(source, "f c h w -> f e c h w", e=len(EXPRESSIONS))
        results |= {"truth_l1": _error(drawn, truth), "copy_l1": _error(copies, truth)}
    return results


def _truth(index: ShardIndex, split: Split, positions: list[int]) -> Tensor:
    """The true pictures of drawn people, as the data would hold them: uint8 [faces, classes, ...]."""
    people = np.array([split.details(p)["numbers"] for p in positions], dtype=np.float32)
    labels = np.tile(np.arange(len(EXPRESSIONS)), len(people))
    repeated = np.repeat(people, len(EXPRESSIONS), axis=0)
    drawn = render(repeated, labels, index.resolution, index.channels)
    files = map(encode_picture, drawn)
    pictures = np.stack([decode_picture(file, split.resolution, split.channels) for file in files])
    return torch.from_numpy(rearrange(pictures, "(f e) c h w -> f e c h w", e=len(EXPRESSIONS)))


def _error(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double()).abs().mean().item() / 255

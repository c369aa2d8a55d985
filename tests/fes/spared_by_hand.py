"""What spares the source once more, node by node: how much is drawn over, and how far it is torn."""

import itertools
import math

import torch
from torch import Tensor

from fes.config import LossConfig
from fes.drawing import Drawing


def spared(weights: LossConfig, drawings: list[Drawing]) -> dict[str, tuple[Tensor, Tensor]]:
    """How much is drawn over and how far it is torn, and where each pulls."""
    found = {}
    if weights.paint_weight:
        covers = torch.cat([0.02 + 0.98 * each.mask.sigmoid() for each in drawings])
        excess = [cover.mean() - weights.paint_free for cover in covers]
        over = sum(each if each > 0 else 0 * each for each in excess) / len(excess)
        found["paint"] = over * math.sqrt(covers[0].numel()), covers
    if weights.strain_weight:
        moved = torch.cat([0.12 * (4 * each.flow).tanh() for each in drawings])
        sources = torch.cat([each.source for each in drawings])
        strains = [strain_of(*pair, weights.strain_limit) for pair in zip(moved, sources, strict=True)]
        strain = sum(strains) / len(strains)
        found["strain"] = strain, moved
    return found


def strain_of(moved: Tensor, source: Tensor, limit: float | None) -> Tensor:
    """The strain of one picture, node by node and towards either side, beyond a limit if there is one."""
    grey, nodes = source.mean(0), moved.shape[-1]
    corners = grey[:-1, :-1], grey[:-1, 1:], grey[1:, 1:], grey[1:, :-1]
    slope = sum((a - b) ** 2 for a, b in itertools.pairwise((*corners, corners[0]))) / 2

    def parts() -> list[slice]:
        side = len(slope)
        return [slice(n * side // nodes, -((n + 1) * side // -nodes)) for n in range(nodes)]

    edges = torch.stack([torch.stack([slope[y, x].mean().sqrt() for x in parts()]) for y in parts()])
    near = [slice(max(n - 1, 0), n + 2) for n in range(nodes)]
    edges = torch.stack([torch.stack([edges[y, x].max() for x in near]) for y in near])
    total = 0.0
    for y, x, up, left in itertools.product(range(nodes), range(nodes), (-1, 1), (-1, 1)):
        if not (0 <= y + up < nodes and 0 <= x + left < nodes):
            continue
        here = moved[:, y, x]
        slopes = (moved[:, y, x + left] - here) * left, (moved[:, y + up, x] - here) * up
        bent = torch.stack(slopes, dim=1) * nodes
        strained, turned = (bent + bent.T) / 2, (bent - bent.T) / 2
        energy = strained.pow(2).sum() + turned.pow(2).sum() / 4 + 4 * strained.trace() ** 2
        energy = energy * (0.1 + 0.9 * (edges[y, x] / edges.mean()) ** 2)
        total = total + energy + (energy**2 / limit**2 if limit else 0.0)
    return total / (2 * (nodes - 1)) ** 2

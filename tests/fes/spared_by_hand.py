"""What spares the source once more, node by node: how much is drawn over, and how far it is torn."""

import itertools
import math

import torch
from torch import Tensor

from fes.config import LossConfig
from fes.model.drawing import Drawing


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
    stiff, total = 0.1 + 0.9 * (edges / edges.mean()) ** 2, 0.0
    for down, right in itertools.product((-1, 1), repeat=2):
        there = [slice(None, -1) if step == 1 else slice(1, None) for step in (down, right)]
        beside = (moved.roll(-right, dims=2) - moved) * right
        below = (moved.roll(-down, dims=1) - moved) * down
        bent = torch.stack([beside, below], dim=1)[:, :, *there].movedim((0, 1), (-2, -1)) * nodes
        strained, turned = (bent + bent.mT) / 2, (bent - bent.mT) / 2
        grown = torch.linalg.diagonal(strained).sum(-1)
        energy = strained.pow(2).sum((-2, -1)) + turned.pow(2).sum((-2, -1)) / 4 + 4 * grown**2
        energy = energy * stiff[*there]
        total = total + (energy + (energy**2 / limit**2 if limit else 0.0)).sum()
    return total / (2 * (nodes - 1)) ** 2

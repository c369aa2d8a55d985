"""Where a network that grew still reads and draws pictures as it did at a lower resolution.

Blocks for a higher resolution come new to a network that others have trained for long. While they fade in
(Karras et al., 2018), the layer between pictures and blocks at the lower resolution, its edge, stays and
gives way little by little: at share 0 the network is the old one, at 1 the edge is not needed any more.
"""

import re
from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

_KEY = re.compile(r"\.edges\.(\d+)\.")


class Edges(nn.ModuleDict):
    """The edge of a network by its resolution, as text: one while new blocks fade in, else none."""

    def __init__(self, per_pixel: int) -> None:
        """`per_pixel`: pixels a side, of a picture, to one of the map between it and the finest block."""
        super().__init__()
        self.per_pixel = per_pixel
        self.share = 0.0
        """Of the new blocks in what passes, from 0 to 1."""

    def entering(self, block: str, h: Tensor, x: Tensor, unit: Callable[[Tensor], Tensor]) -> Tensor:
        """What enters a block of a network that reads pictures `x` and has such units, given what new blocks
        made of them."""
        for resolution, from_image in self.items():
            if block == self._first(resolution):
                small = functional.avg_pool2d(x, x.shape[-1] // int(resolution))
                # Autocast leaves norms in float32 on a GPU, convolutions not, and does not mix the two.
                return torch.lerp(unit(from_image(small)).to(h.dtype), h, self.share)
        return h

    def drawn(self, block: str, h: Tensor, resolution: int) -> Tensor | None:
        """What the edge draws, each pixel enlarged to a square, of what leaves a block; None at others."""
        for own, to_image in self.items():
            if block == self._first(own):
                return functional.interpolate(to_image(h), scale_factor=resolution // int(own))
        return None

    def _first(self, resolution: str) -> str:
        return f"block{int(resolution) // self.per_pixel}"


def edges_of(network: nn.Module) -> Iterator[Edges]:
    """The edges of all networks in a module."""
    return (module for module in network.modules() if isinstance(module, Edges))


def fade(network: nn.Module, share: float) -> None:
    """Gives new blocks their share, in place; at 1 the edges are gone for good."""
    for edges in edges_of(network):
        edges.share = share
        if share >= 1:
            edges.clear()


def edge_among(names: Collection[str]) -> int | None:
    """The resolution of the edges among the names of a module's tensors; None where it has none."""
    return next((int(found[1]) for found in map(_KEY.search, names) if found), None)

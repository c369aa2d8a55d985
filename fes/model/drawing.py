"""How a picture comes from what the generator's last layers give: drawn anew, or out of its source.

Much of an expression moves what is there: brows sink, the corners of a mouth rise. A source that is bent
(Jaderberg et al., 2015) keeps the grain, the light and the person of the photograph; what comes from nowhere
in it, as teeth, is drawn over it through a mask.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_OPEN = 0.02
"""The least share of what is drawn in a picture that is laid over its source by a mask."""
_INSIDE = 0.99
"""Sources are taken so much nearer to 0 that their inverse tanh is finite."""
REACH = 0.12
"""The furthest that a place of a picture is taken from, as a share of its width."""
_EAGER = 4.0
"""Numbers that become a flow are enlarged by this: else brows take long to move as far as faces want them to,
and are drawn elsewhere meanwhile."""


class Drawing(NamedTuple):
    """What the generator makes of codes and labels, before it is a picture."""

    drawn: Tensor
    """[batch, channels, height, width], any numbers, whose tanh is what is drawn."""
    source: Tensor | None = None
    """[batch, channels, height, width] in [-1, 1]: the picture that is changed. None: all is drawn."""
    mask: Tensor | None = None
    """[batch, 1, height, width], any numbers: how far what is drawn covers its source."""
    flow: Tensor | None = None
    """[batch, 2, nodes, nodes], any numbers: how the source is bent before, as `bend` takes it."""

    def picture(self, painted: float = 1.0) -> Tensor:
        """[batch, channels, height, width] in [-1, 1].

        Args:
            painted: share, from 0 to 1, of a gradient that reaches what is drawn and the mask, where a source
                is bent: at 0 the bending learns alone. The picture is the same.
        """
        if self.source is None:
            return torch.tanh(self.drawn)
        if self.mask is None:
            return torch.tanh(self.drawn + torch.atanh(_INSIDE * self.source))
        drawn, mask = torch.tanh(self.drawn), self.cover
        if self.flow is None:
            return torch.lerp(self.source, drawn, mask)
        bent = bend(self.source, self.flow)
        return torch.lerp(bent, passing(drawn, painted), passing(mask, painted))

    def carried_over(self, fine: Tensor, share: Tensor | None = None) -> Tensor:
        """The same change of a picture of that face with more pixels, or with colours that its source lacks.

        Where `picture` is (1 - mask) bent + mask * drawn, this is (1 - mask) (fine bent) + mask * tinted. All
        that is fine is bent as the source is, and drawn over with what is drawn, as that would be with the
        fine picture's light and colours: tinted = drawn - bent + (the fine one in the source's size, bent).

        Args:
            fine: [batch, channels, height, width] in [-1, 1], grey or in colour, whatever the source is.
            share: [height, width] from 0, where what is fine stays as it is, to 1; None: 1 everywhere.

        Returns:
            Pictures of the shape of `fine`, which can lie somewhat outside of [-1, 1].

        Raises:
            ValueError: all is drawn anew, without a mask.
        """
        if self.source is None or self.mask is None:
            raise ValueError("what is drawn anew everywhere has nothing of its source to carry over")
        small, large = self.source.shape[-2:], fine.shape[-2:]
        departure = torch.tanh(self.drawn) - self._bent(self.source)
        if departure.shape[1] > fine.shape[1]:  # a grey photograph, and networks that see colours
            departure = departure.mean(1, keepdim=True)
        tinted = departure + self._bent(_resized(fine, small))
        # Multiplied before it is enlarged: where a mask is shut, what is drawn behind it is anything.
        cover, laid_over = _resized(self.cover, large), _resized(self.cover * tinted, large)
        if share is not None:
            cover, laid_over = share.to(cover.dtype) * cover, share.to(cover.dtype) * laid_over
        bent = fine if self.flow is None else _bent_at_once(fine, self.flow, share)
        return torch.addcmul(laid_over, 1 - cover, bent)

    def _bent(self, x: Tensor) -> Tensor:
        return x if self.flow is None else bend(x, self.flow)

    @property
    def cover(self) -> Tensor:
        """[batch, 1, height, width] in (0, 1): how far each pixel is drawn over. There has to be a mask."""
        # Never quite closed: through a mask of 0 nothing would be learnt any more.
        return _OPEN + (1 - _OPEN) * torch.sigmoid(self.mask)

    @property
    def displacement(self) -> Tensor:
        """[batch, 2, nodes, nodes]: from how far to the right and how far below each node is taken, as shares
        of the picture's width. There has to be a flow."""
        return displacement(self.flow.to(self.source.dtype))

    def apart(self) -> Iterator["Drawing"]:
        """That of each picture of the batch, as a batch of one."""
        for row in range(len(self.drawn)):
            yield Drawing(*(None if part is None else part[row : row + 1] for part in self))

    def halves(self) -> tuple["Drawing", "Drawing"]:
        """Those of the first half of the batch, and of the second."""
        parts = [(None, None) if each is None else each.chunk(2) for each in self]
        first, second = (Drawing(*half) for half in zip(*parts, strict=True))
        return first, second

    def mirrored(self) -> "Drawing":
        """What draws the mirror image, left to right."""
        drawn, source, mask, flow = (None if each is None else each.flip(3) for each in self)
        if flow is not None:
            flow = torch.cat([-flow[:, :1], flow[:, 1:]], dim=1)
        return Drawing(drawn, source, mask, flow)

    def averaged(self, other: "Drawing") -> "Drawing":
        """What lies halfway to another drawing of the same source."""
        pairs = zip(self, other, strict=True)
        return Drawing(*(None if one is None else (one + another) / 2 for one, another in pairs))


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Pictures [batch, channels, height, width] of another size: each pixel the mean of those that it takes
    the place of, or, where there are to be more of them, smooth between them."""
    if x.shape[-2:] == tuple(size):
        return x
    if size[0] < x.shape[-2]:
        return functional.interpolate(x, size=size, mode="area")
    return functional.interpolate(x, size=size, mode="bicubic")


def passing(x: Tensor, share: float) -> Tensor:
    """The same values, at which that share of a gradient arrives."""
    return x if share == 1 else torch.lerp(x.detach(), x, share)


def displacement(flow: Tensor) -> Tensor:
    """Any numbers -> displacements, within `REACH`."""
    return REACH * torch.tanh(_EAGER * flow)


def bend(x: Tensor, flow: Tensor) -> Tensor:
    """Pictures [batch, channels, height, width], each pixel of which is taken from nearby.

    Args:
        flow: [batch, 2, nodes, nodes], any numbers, whose `displacement` tells how far to the right and how
            far below a place is taken from, smoothly between nodes. What lies outside of a picture is as its
            border.
    """
    height, width = x.shape[-2:]
    away = _away(flow.to(x.dtype), height, width)
    left, right_by = _split(away[:, 0] * width, 2)
    top, below_by = _split(away[:, 1] * height, 1)
    place, pixels = (top * width + left).flatten(1)[:, None].expand(-1, x.shape[1], -1), x.flatten(2)

    def at(further: int) -> Tensor:
        return pixels[..., further:].gather(2, place).view_as(x)

    # `grid_sample` does the same, but on a GPU has no backward that adds in a fixed order if it is asked to.
    upper, lower = torch.lerp(at(0), at(1), right_by), torch.lerp(at(width), at(width + 1), right_by)
    return torch.lerp(upper, lower, below_by)


def _bent_at_once(x: Tensor, flow: Tensor, share: Tensor | None) -> Tensor:
    """As `bend`, where nothing learns: a third of its time, and less memory. `share` is [height, width], of
    the way that each place is taken from; None: all."""
    height, width = x.shape[-2:]
    away = 2 * _away(flow.to(x.dtype), height, width)  # `grid_sample` counts from -1 to 1
    if share is not None:
        away *= share.to(away.dtype)

    def centres(size: int) -> Tensor:
        return (2 * torch.arange(size, dtype=x.dtype, device=x.device) + 1) / size - 1

    away[:, 0] += centres(width)
    away[:, 1] += centres(height)[:, None]
    places = away.permute(0, 2, 3, 1)
    return functional.grid_sample(x, places, padding_mode="border", align_corners=False)


def _away(flow: Tensor, height: int, width: int) -> Tensor:
    """[batch, 2, height, width]: the free-form deformation (Rueckert et al., 1999) whose control points are
    the nodes. It curves as skin does: straight between nodes, lips would break in large photographs."""
    across, down = _splines(width, flow), _splines(height, flow)
    with torch.autocast(flow.device.type, enabled=False):  # a matrix product that tells places
        return down @ displacement(flow) @ across.T


def _splines(size: int, flow: Tensor) -> Tensor:
    """[size, nodes]: what each node of a flow counts at each pixel along a side, by uniform cubic B-splines.
    Beyond a picture it goes on as its outermost nodes."""
    nodes = flow.shape[-1]
    places = (torch.arange(size, dtype=flow.dtype, device=flow.device) + 0.5) * (nodes / size) - 0.5
    apart = (places[:, None] - torch.arange(-2, nodes + 2, dtype=flow.dtype, device=flow.device)).abs()
    near, far = 2 / 3 + apart.square() * (apart / 2 - 1), (2 - apart).clamp_min(0) ** 3 / 6
    shares = torch.where(apart < 1, near, far)
    first, inside, last = shares.split([3, nodes - 2, 3], dim=1)
    return torch.cat([first.sum(1, keepdim=True), inside, last.sum(1, keepdim=True)], dim=1)


def _split(away: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """From how many pixels away along an axis places are taken, [batch, height, width] -> the last pixel
    before each, and how far behind that it lies, [batch, 1, height, width]."""
    last = away.shape[axis] - 1
    own = torch.arange(last + 1, device=away.device).reshape((-1, 1) if axis == 1 else (1, -1))
    place = (own + away).clamp(0, last)
    before = place.detach().floor().clamp_max(last - 1)
    # A network that diverges bends by NaN: that is to be seen in the picture, and not to end a GPU.
    before = before.nan_to_num(0.0)
    return before.long(), (place - before)[:, None]

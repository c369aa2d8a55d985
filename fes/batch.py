"""What a step works on."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A rank's share of a global batch. Partner i is the sample that a permutation of the global batch
    puts at place i, so partners and samples are the same set."""

    image: Tensor
    """uint8 [batch, channels, height, width]."""
    label: Tensor
    """int64 [batch], -1 where unlabelled."""
    partner_image: Tensor
    """uint8, of the same shape as `image`."""
    partner_label: Tensor
    """int64 [batch]."""

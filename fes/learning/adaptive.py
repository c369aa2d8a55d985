"""How strongly the image critic's pictures are augmented: as much as keeps it from learning them by heart.

The measure is r_v of Karras et al. (2020, section 3.1): how far the mean score falls from training pictures
to held-out ones, as a part of how far it falls to synthesised ones. At 0 held-out pictures are worth as much
as those trained on, at 1 as little as synthesised ones.
"""

import torch
from torch import Tensor, nn

TARGET = 0.5
"""Below, most of what tells real pictures from synthesised ones holds for pictures that the critic never
saw; above, most of it is knowledge of the training pictures. (The 0.6 of the paper is for r_t, the mean sign
of the scores on training pictures, and a Wasserstein critic's scores have no zero to take a sign from.)"""
HIGHEST = 0.8
"""Beyond, hardly a picture stays unchanged, and the generator begins to draw the changes."""


class AdaptiveStrength(nn.Module):
    """The strength, and the rule that moves it. Its state is the buffer `progress`, a whole number of
    pictures: no precision rounds it, and strides add up to the same anywhere."""

    progress: Tensor
    """int64 []: the strength, in pictures out of `whole`."""

    def __init__(
        self, adapt_kimg: float, first: float = 0.0, target: float = TARGET, highest: float = HIGHEST
    ) -> None:
        """
        Args:
            adapt_kimg: in which the strength goes from 0 to 1, if it only rises.
            first: the strength to begin with.
            target: the r_v that is kept.
            highest: the largest strength.
        """
        super().__init__()
        self.whole, self.target = max(1, round(adapt_kimg * 1000)), target
        self.most = round(highest * self.whole)
        self.register_buffer("progress", torch.tensor(min(round(first * self.whole), self.most)))

    @property
    def strength(self) -> Tensor:
        """float32 [], in [0, `highest`], on the device."""
        return self.progress / self.whole

    @torch.no_grad()
    def update(self, gap: Tensor, held_out_gap: Tensor, images: int) -> Tensor:
        """Moves the strength by one stride; returns r_v, for people.

        It goes up where r_v is above the target, and down below it. A critic that does not score training
        pictures above synthesised ones has learnt nothing, by heart or otherwise: it goes down, and 0 is
        told. Nothing waits for the device.

        Args:
            gap: [], how far the image critic's mean score of training pictures is above that of synthesised
                ones of the same classes, over all ranks.
            held_out_gap: [], the same for held-out pictures.
            images: pictures drawn from the data, by all ranks, since the last update.

        Returns:
            [], held within -1 and 2, which it leaves where the critic hardly tells anything apart.
        """
        lost, learnt = gap - held_out_gap, gap > 0
        direction = torch.where(learnt, torch.sign(lost - self.target * gap), -torch.ones_like(gap))
        moved = self.progress + images * direction.nan_to_num().to(torch.int64)
        self.progress.copy_(moved.clamp(0, self.most))
        return torch.where(learnt, lost / gap, torch.zeros_like(gap)).clamp(-1, 2)

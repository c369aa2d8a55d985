"""Pictures with other labels than their own."""

import numpy as np

from shards.index import Split


class Relabelled:
    """A split with other labels."""

    def __init__(self, split: Split, labels: np.ndarray) -> None:
        self.split, self.labels = split, labels
        self.samples, self.shard_starts = split.samples, split.shard_starts
        self.resolution, self.channels = split.resolution, split.channels

    def image(self, position: int) -> np.ndarray:
        return self.split.image(position)

"""Pictures for tests."""

import numpy as np


def picture(number: int) -> np.ndarray:
    """A made-up picture, uint8 [2304]: the same for the same number, another for every other."""
    return np.random.default_rng(number).integers(0, 256, size=48 * 48, dtype=np.uint8)


def row(number: int, label: int | str = 0, usage: str = "Training") -> list[str]:
    """A row of fer2013.csv that shows picture `number`."""
    return [str(label), " ".join(map(str, picture(number))), usage]

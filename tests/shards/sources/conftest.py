"""What tests of the Toronto Face Database begin with: nine made-up faces."""

import numpy as np
import pytest

from tests.shards.sources.mat_files import ROWS, SIDE, Variables


@pytest.fixture
def variables() -> Variables:
    """Seven faces, each of another class, and two without labels; every part of a picture is different."""
    images = np.random.default_rng(3).integers(0, 60, (ROWS, SIDE, SIDE), dtype=np.uint8)
    images[:, :, SIDE // 2 :] += 60
    images[:, SIDE // 3 :, :] += 100
    turns = [np.roll([1, 2, 3, 1, 2, 3, 1], by).tolist() for by in range(5)]
    return {
        "images": images,
        "labs_ex": np.array([[1, 2, 3, 4, 5, 6, 7, -1, -1]], np.float64).T,
        "labs_id": np.array([[900, 17, 17, 3, 44, 45, -1, -1, -1]], np.float64).T,
        "folds": np.array([[*turn, 0, 0] for turn in turns], np.uint8).T,
    }

"""Errors and likenesses of pictures, reckoned by hand."""

import math

import numpy as np
import pytest
import torch

from fes.evaluation.similarity import absolute_error, structural_similarity


def noise(seed: int, channels: int = 1, side: int = 16) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, channels, side, side), generator=rng, dtype=torch.uint8)


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two pictures [side, side] in 0..255 as the paper has it, one window after the other."""
    side, reach = len(a), 5
    square = range(-reach, reach + 1)
    weights = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in square for j in square}
    whole, found = sum(weights.values()), []
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    for y in range(reach, side - reach):
        for x in range(reach, side - reach):
            patch = [
                (w / whole, float(a[y + i, x + j]), float(b[y + i, x + j])) for (i, j), w in weights.items()
            ]
            ma, mb = sum(w * p for w, p, _ in patch), sum(w * q for w, _, q in patch)
            va, vb = sum(w * (p - ma) ** 2 for w, p, _ in patch), sum(w * (q - mb) ** 2 for w, _, q in patch)
            both = sum(w * (p - ma) * (q - mb) for w, p, q in patch)
            found.append((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return sum(found) / len(found)


def test_ssim_is_that_of_the_paper():
    a = noise(0)
    b = ((a.int() * 3 + noise(1).int()) // 4).to(torch.uint8)  # alike, but not much
    found = structural_similarity(a, b)
    assert found.dtype == torch.float64
    for each in range(2):
        assert found[each].item() == pytest.approx(by_hand(a[each, 0].numpy(), b[each, 0].numpy()), rel=1e-9)
    assert 0.5 < found.min() < found.max() < 0.99


def test_ssim_of_flat_pictures_is_that_of_their_light():
    flat = [torch.full((1, 3, 16, 16), value, dtype=torch.uint8) for value in (51, 102)]
    assert structural_similarity(*flat).item() == pytest.approx((2 * 0.2 * 0.4 + 1e-4) / (0.04 + 0.16 + 1e-4))


def test_a_picture_is_wholly_like_itself_and_colours_count_alike():
    a = noise(2, channels=3)
    b = a.clone()
    b[:, 1] = noise(3, channels=3)[:, 1]
    assert structural_similarity(a, a).tolist() == pytest.approx([1, 1])
    one = structural_similarity(a[:, 1:2], b[:, 1:2])
    assert structural_similarity(a, b).tolist() == pytest.approx(((2 + one) / 3).tolist())


def test_the_absolute_error_is_a_share_of_the_whole_range():
    black, white = (
        torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        torch.full((2, 3, 4, 4), 255, dtype=torch.uint8),
    )
    white[1, :, 2:] = 0
    assert absolute_error(black, white).tolist() == [1.0, 0.5]

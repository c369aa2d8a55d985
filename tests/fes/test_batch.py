"""Pictures as bytes, and as numbers from -1 to 1."""

import pytest
import torch

from fes.batch import to_float, to_uint8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_256_values_come_back_from_float_unchanged(dtype):
    image = torch.arange(256, dtype=torch.uint8)
    x = to_float(image, dtype)
    assert x.dtype == dtype
    assert (x[0], x[255]) == (-1.0, 1.0)
    assert torch.equal(to_uint8(x), image)
    assert torch.equal(image, torch.arange(256, dtype=torch.uint8))


def test_float_is_rounded_and_clipped_and_left_as_it_is():
    x = torch.tensor([-3.0, -1.0, -0.001, 0.001, 1.0, 7.0])
    before = x.clone()
    assert to_uint8(x).tolist() == [0, 0, 127, 128, 255, 255]
    assert torch.equal(x, before)

"""Pictures as coordinates."""

import numpy as np
import pytest
import torch

from fes.evaluation.eigenfaces import LARGEST, Eigenfaces


def pictures(count: int, side: int, channels: int = 1) -> torch.Tensor:
    rng = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (count, channels, side, side), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize(("count", "side"), [(20, 8), (200, 8)], ids=["fewer pictures than pixels", "more"])
def test_components_are_orthonormal_and_sorted_and_their_deviation_is_that_of_the_coordinates(count, side):
    image = pictures(count, side)
    found = Eigenfaces.fit(image, 10)
    assert found.components.shape == (64, 10)
    assert found.components.T @ found.components == pytest.approx(np.eye(10), abs=1e-4)
    assert (np.diff(found.deviation) <= 0).all()
    coordinates = found.coordinates(image)
    assert coordinates.mean(0) == pytest.approx(np.zeros(10), abs=1e-4)
    assert coordinates.std(0, ddof=1) == pytest.approx(found.deviation, rel=1e-3)
    assert found.embed(image).std(0, ddof=1) == pytest.approx(np.ones(10), rel=1e-3)
    singular = np.linalg.svd(image.flatten(1).double().numpy() / 255 - found.mean, compute_uv=False)
    assert found.deviation == pytest.approx(singular[:10] / (count - 1) ** 0.5, rel=1e-3)


def test_there_are_no_more_components_than_the_pictures_have():
    assert Eigenfaces.fit(pictures(5, 8), 10).components.shape[1] == 4
    assert Eigenfaces.fit(pictures(20, 8), 10).first(3).embed(pictures(20, 8)).shape == (20, 3)


def test_large_pictures_in_colour_are_made_small_and_grey():
    image = pictures(6, 128, channels=3)
    small = image.double().mean(1, keepdim=True).unflatten(2, (64, 2)).unflatten(4, (64, 2)).mean((3, 5))
    found = Eigenfaces.fit(image, 4)
    assert found.mean == pytest.approx((small / 255).mean(0).flatten().numpy(), abs=1e-6)
    assert found.components.shape == (LARGEST**2, 4)

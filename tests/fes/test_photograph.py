"""A photograph whose face is changed in its own pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fes.errors import InputError
from fes.photograph import Photograph
from fes.pictures import read_pixels


def photographed(folder: Path, width: int = 90, height: int = 60) -> tuple[Path, np.ndarray]:
    """A photograph of noise in colour, as a file and as pixels."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / "me.png")
    return folder / "me.png", read_pixels(folder / "me.png")


def test_without_a_square_the_central_one_is_meant(tmp_path: Path) -> None:
    photograph = Photograph(*photographed(tmp_path), None)
    assert photograph.square == (15, 0, 60)
    assert photograph.side == 60


def test_the_face_is_its_square_made_smaller_where_it_is_too_large(tmp_path: Path) -> None:
    path, pixels = photographed(tmp_path)
    photograph = Photograph(path, pixels, (10, 5, 40))
    whole = photograph.face(most=100).picture
    assert np.array_equal(whole, pixels[5:45, 10:50].transpose(2, 0, 1))
    assert photograph.face(most=20).picture.shape == (3, 20, 20)
    assert photograph.face(most=20).share is None


def test_a_face_comes_back_into_its_place_and_nothing_else_changes(tmp_path: Path) -> None:
    path, pixels = photographed(tmp_path)
    photograph = Photograph(path, pixels, (10, 5, 40))
    place = photograph.place()
    assert np.array_equal(np.asarray(photograph.changed(place.picture)), pixels)
    changed = np.asarray(photograph.changed(255 - place.picture))
    assert np.array_equal(changed[5:45, 10:50], 255 - pixels[5:45, 10:50])
    changed = changed.copy()
    changed[5:45, 10:50] = pixels[5:45, 10:50]
    assert np.array_equal(changed, pixels)


def test_a_change_fades_where_the_photograph_goes_on_and_not_at_its_own_borders(tmp_path: Path) -> None:
    path, pixels = photographed(tmp_path)
    inside = Photograph(path, pixels, (10, 5, 50)).place().share
    for border in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        assert torch.equal(border, torch.zeros(50))
    assert torch.equal(inside[10:40, 10:40], torch.ones(30, 30))
    assert inside.diff(dim=0)[:25].min() >= 0
    left = Photograph(path, pixels, (0, 0, 60)).place().share  # as high as the photograph, and at its left
    assert torch.equal(left[:, 0], torch.ones(60))
    assert torch.equal(left[0, :50], torch.ones(50))
    assert torch.equal(left[:, -1], torch.zeros(60))


def test_a_square_beyond_the_photograph_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not lie in"):
        Photograph(*photographed(tmp_path), (60, 0, 50)).face(most=20)

"""Where faces change: the regions hold what expressions move, and little else."""

import torch

from fes.evaluation.faces import Faces
from fes.evaluation.regions import changes, expression_regions


def test_a_change_is_told_where_it_is():
    source = torch.zeros(2, 3, 48, 48, dtype=torch.uint8)
    drawn = source.clone()
    inside = expression_regions(48)
    drawn[0, :, inside] = 255
    drawn[1, :2, ~inside] = 51
    assert [each.tolist() for each in changes(source, drawn)] == [[1.0, 0.0], [0.0, 0.2 * 2 / 3]]


def test_the_regions_are_the_same_part_of_the_face_at_any_resolution():
    share = expression_regions(48).double().mean().item()
    assert 0.3 < share < 0.5
    for side in (64, 256):
        assert abs(expression_regions(side).double().mean().item() - share) < 0.03


def test_what_expressions_move_in_drawn_faces_lies_in_the_regions(faces: Faces):
    true, there = faces.truth(slice(0, 12))
    assert there.all()
    moved = (true.double() - true[:, -1:].double()).abs().mean((0, 1, 2))
    assert moved[expression_regions(48)].sum() > 0.95 * moved.sum()

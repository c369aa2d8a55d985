"""Faces in photographs."""

import numpy as np
import pytest

from shards.finding import find_faces
from shards.schema import Square
from tests.photographs import people, photograph


def overlap(one: Square, other: Square) -> float:
    """The area that two squares share, of what they cover together."""
    starts, ends = (
        np.maximum(one[:2], other[:2]),
        np.minimum(np.add(one[:2], one[2]), np.add(other[:2], other[2])),
    )
    shared = np.prod(np.maximum(ends - starts, 0))
    return shared / (one[2] ** 2 + other[2] ** 2 - shared)


@pytest.mark.parametrize("person", range(9))
def test_each_face_is_found_where_it_is_and_framed_from_the_hair_to_the_chin(person: int) -> None:
    (found,) = find_faces(photograph((500, 400), (people()[person], (210, 130), 150)))
    assert overlap(found, (210, 130, 150)) > 0.6


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("scale", [1, 4, 8])
def test_a_large_photograph_shows_the_face_at_the_same_place_as_a_small_one(mode: str, scale: int) -> None:
    size, place, side = (500 * scale, 400 * scale), (210 * scale, 130 * scale), 150 * scale
    (found,) = find_faces(photograph(size, (people()[0], place, side), mode=mode))
    assert np.array(found) / scale == pytest.approx((210, 130, 150), abs=20)


def test_the_largest_face_comes_first() -> None:
    first, second, third, *_ = people()
    placed = (first, (20, 20), 100), (second, (200, 100), 200), (third, (450, 40), 140)
    left, *_ = zip(*find_faces(photograph((620, 400), *placed)), strict=True)
    assert left == pytest.approx((200, 450, 20), abs=20)


def test_squares_of_faces_at_an_edge_lie_in_the_picture() -> None:
    first, second, third, *_ = people()
    corners = (first, (0, 0), 150), (second, (350, 0), 150), (third, (200, 250), 150)
    found = find_faces(photograph((500, 400), *corners))
    assert len(found) == 3
    for left, top, side in found:
        assert 0 <= left <= 500 - side
        assert 0 <= top <= 400 - side


def test_where_no_face_is_none_is_found() -> None:
    noise = np.random.default_rng(0).integers(256, size=(400, 500, 3)).astype(np.uint8)
    assert find_faces(noise) == []
    assert find_faces(np.full((1, 1, 1), 100, np.uint8)) == []
    assert find_faces(np.full((1, 9000, 1), 100, np.uint8)) == []

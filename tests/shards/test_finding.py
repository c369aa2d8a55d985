"""Faces in photographs."""

import cv2
import numpy as np
import pytest

from fes.errors import InputError
from shards.finding import _cascade, faces_in, find_faces, is_cut_out, turn_to_a_face
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


@pytest.mark.parametrize("share", [0.03, 0.05, 0.08])
def test_a_small_face_in_a_large_photograph_is_framed_as_closely_as_a_large_one(share: float) -> None:
    place = 1500, 1200, round(4000 * share)
    (found,) = find_faces(photograph((4000, 3000), (people()[0], place[:2], place[2])))
    assert overlap(found, place) > 0.6


@pytest.mark.parametrize("person", range(9))
def test_by_how_much_a_photograph_is_to_be_turned_is_seen_in_its_face(person: int) -> None:
    upright = photograph((500, 400), (people()[person], (210, 130), 150))
    assert faces_in(upright)[0].is_clear
    assert turn_to_a_face(upright) is None
    found = [turn_to_a_face(np.ascontiguousarray(np.rot90(upright, turns))) for turns in (1, 2, 3)]
    assert found == [90, 180, 270]


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


@pytest.mark.parametrize(
    ("size", "faces", "cut_out"),
    [
        ((48, 48), [], True),
        ((95, 118), [], True),
        ((95, 300), [], False),
        ((96, 96), [], False),
        ((300, 300), [(20, 20, 240)], True),
        ((300, 300), [(20, 20, 239)], False),
        ((300, 400), [(20, 20, 290)], False),
    ],
    ids=["small", "nearly square", "a strip", "faceless", "filled", "with some room", "wide"],
)
def test_small_squares_and_what_a_face_fills_are_faces_themselves(
    size: tuple[int, int], faces: list[Square], cut_out: bool
) -> None:
    assert is_cut_out(np.zeros((*size, 3), np.uint8), faces) is cut_out


def test_an_opencv_without_the_cascade_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__file__", "/nowhere/cv2/__init__.py")
    with pytest.raises(InputError, match=r"has no /nowhere/.*: 'pip install opencv-python-headless'"):
        _cascade.__wrapped__()

"""Which square of a photograph is drawn, and what is said of it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.commandline import FOUND, MIDDLE
from fes.errors import InputError
from fes.photographs.framing import Frame, check_found, framed
from fes.photographs.photograph import Photograph
from shards.turning import ORIENTATION
from tests.photographs import people, photograph


def test_a_face_that_does_not_fill_the_photograph_is_drawn() -> None:
    frame = framed(photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB"), FOUND)
    assert frame.square == pytest.approx((210, 130, 150), abs=20)
    assert frame.told == "the face at {},{},{}".format(*frame.square)
    assert frame.advice == ""


def test_of_several_faces_the_largest_is_drawn_and_the_next_are_told() -> None:
    places = [(20, 20), (120, 20), (220, 20), (320, 20), (420, 20)]
    placed = [(person, at, 90) for person, at in zip(people(), places, strict=False)]
    frame = framed(photograph((620, 500), *placed, (people()[5], (200, 200), 200), mode="RGB"), FOUND)
    assert frame.square == pytest.approx((200, 200, 200), abs=25)
    assert frame.advice.startswith("; it is the largest of 6 that were found: --crop ")
    assert frame.advice.count("--crop") == 3


def test_other_faces_are_told_from_the_largest_down_with_what_draws_them() -> None:
    placed = [(people()[1], (20, 20), 90), (people()[2], (400, 40), 130), (people()[5], (150, 200), 200)]
    frame = framed(photograph((620, 500), *placed, mode="RGB"), FOUND)
    assert frame.told == "the face at {},{},{}".format(*frame.square)
    told = re.fullmatch(
        r"; it is the largest of 3 that were found: --crop (\S+) or --crop (\S+) draws another", frame.advice
    )
    for found, place in zip(told.groups(), [(400, 40, 130), (20, 20, 90)], strict=True):
        assert tuple(map(int, found.split(","))) == pytest.approx(place, abs=25)


@pytest.mark.parametrize("side", [48, 96, 300])
def test_a_face_that_was_cut_out_is_drawn_as_it_is(side: int) -> None:
    frame = framed(photograph((side, side), (people()[0], (0, 0), side), mode="RGB"), FOUND)
    assert frame == Frame(None, "the central square")


@pytest.mark.parametrize("size", [(500, 400), (96, 200)])
def test_where_no_face_is_found_the_ways_out_are_told(size: tuple[int, int]) -> None:
    wall = photograph(size, mode="RGB")
    frame = framed(wall, FOUND)
    assert (frame.square, frame.missed) == (None, True)
    told = (
        "no face was found in me.jpg: turn the photograph upright, give the square that holds the face by "
        "--crop LEFT,TOP,SIDE, or take the central one by --crop middle"
    )
    with pytest.raises(InputError, match=f"^{told}$"):
        check_found(frame, wall, Path("me.jpg"))


@pytest.mark.parametrize("size", [(95, 300), (48, 90), (20, 90)])
def test_small_pictures_without_a_face_are_drawn_as_they_are(size: tuple[int, int]) -> None:
    wall = photograph(size, mode="RGB")
    frame = framed(wall, FOUND)
    check_found(frame, wall, Path("me.jpg"))
    assert frame.square is None
    assert frame.missed
    assert "no face was found: --crop" in frame.advice


@pytest.mark.parametrize(
    ("turns", "told"),
    [(1, "90 degrees clockwise"), (2, "180 degrees"), (3, "90 degrees counter-clockwise")],
)
def test_of_a_photograph_that_is_not_upright_the_turn_is_told(turns: int, told: str) -> None:
    upright = photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB")
    check_found(framed(upright, FOUND), upright, Path("me.jpg"))
    turned = np.ascontiguousarray(np.rot90(upright, turns))
    with pytest.raises(InputError, match=f"^me.jpg shows a clear face when .* turned by {told}: turn it"):
        check_found(framed(turned, FOUND), turned, Path("me.jpg"))
    for asked in (MIDDLE, (0, 0, 300)):
        check_found(framed(turned, asked), turned, Path("me.jpg"))


def test_a_square_that_is_asked_for_is_taken_unseen() -> None:
    wall = photograph((500, 400))
    assert framed(wall, (1, 2, 3)) == Frame((1, 2, 3), "the square 1,2,3")
    assert framed(wall, MIDDLE) == Frame(None, "the central square")


def test_a_large_face_beside_the_middle_of_a_wide_picture_is_drawn() -> None:
    frame = framed(photograph((640, 360), (people()[0], (20, 30), 300), mode="RGB"), FOUND)
    assert frame.square[0] < 80
    assert frame.square[2] > 240


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_face_is_found_in_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    stored = Image.fromarray(photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB"))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes the turn of each mark
    if orientation in turns:
        stored = stored.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "me.jpg", exif=exif)
    assert framed(Photograph.read(tmp_path / "me.jpg").pixels, FOUND).square == pytest.approx(
        (210, 130, 150), abs=20
    )


def test_a_face_is_found_in_colour_without_a_ground_and_in_16_bits(tmp_path: Path) -> None:
    grey = Image.fromarray(photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB")).convert("L")
    grey.convert("RGBA").save(tmp_path / "clear.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("clear.png", "deep.png"):
        assert framed(Photograph.read(tmp_path / name).pixels, FOUND).square == pytest.approx(
            (210, 130, 150), abs=20
        )

"""Which square of a photograph is drawn, and what is said of it."""

from pathlib import Path

import pytest
from PIL import Image

from fes.errors import InputError
from fes.framing import Frame, framed
from tests.photographs import people, photograph


def saved(path: Path, size: tuple[int, int], *placed: tuple[Image.Image, tuple[int, int], int]) -> Path:
    Image.fromarray(photograph(size, *placed, mode="RGB")).save(path)
    return path


def test_a_face_that_does_not_fill_the_photograph_is_drawn(tmp_path: Path) -> None:
    frame = framed(saved(tmp_path / "me.png", (500, 400), (people()[0], (210, 130), 150)), None)
    assert frame.square == pytest.approx((210, 130, 150), abs=20)
    assert frame.told == "the face at {},{},{}".format(*frame.square)
    assert frame.advice == ""


def test_of_several_faces_the_largest_is_drawn_and_the_next_are_told(tmp_path: Path) -> None:
    places = [(20, 20), (120, 20), (220, 20), (320, 20), (420, 20)]
    placed = [(person, at, 90) for person, at in zip(people(), places, strict=False)]
    frame = framed(saved(tmp_path / "us.png", (620, 500), *placed, (people()[5], (200, 200), 200)), None)
    assert frame.square == pytest.approx((200, 200, 200), abs=25)
    assert frame.advice.startswith("; it is the largest of 6 faces: --crop ")
    assert frame.advice.count("--crop") == 3


@pytest.mark.parametrize("side", [48, 96, 300])
def test_a_face_that_was_cut_out_is_drawn_as_it_is(side: int, tmp_path: Path) -> None:
    frame = framed(saved(tmp_path / "face.png", (side, side), (people()[0], (0, 0), side)), None)
    assert frame == Frame(None, "the central square")


def test_where_no_face_is_found_the_middle_is_drawn_and_a_way_out_told(tmp_path: Path) -> None:
    frame = framed(saved(tmp_path / "wall.png", (500, 400)), None)
    assert frame.square is None
    assert "no face was found: --crop" in frame.advice


def test_a_square_that_is_asked_for_is_taken_unseen() -> None:
    assert framed(Path("nowhere.png"), (1, 2, 3)) == Frame((1, 2, 3), "the square 1,2,3")


def test_what_is_no_picture_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "me.jpg").write_text("no")
    with pytest.raises(InputError, match=r"me\.jpg cannot be read as a picture: no readable picture"):
        framed(tmp_path / "me.jpg", None)
    with pytest.raises(InputError, match=r"no picture at .*you\.jpg"):
        framed(tmp_path / "you.jpg", None)

import numpy as np
import pytest

from shards.pixels import NOT_NUMBERS, OUT_OF_RANGE, WRONG_COUNT, parse_pixels

GOOD = b"0 7 255"


def test_good_texts_become_their_numbers() -> None:
    pixels, troubles = parse_pixels([GOOD, b" 1  2 3 "], 3)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[0, 7, 255], [1, 2, 3]]
    assert troubles == {}


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        (b"1 2", WRONG_COUNT),
        (b"1 2 3 4", WRONG_COUNT),
        (b"", WRONG_COUNT),
        (b"1 2 -1", OUT_OF_RANGE),
        (b"1 2 256", OUT_OF_RANGE),
        (b"1 2 4294967298", OUT_OF_RANGE),
        (b"1 2 " + b"9" * 5000, OUT_OF_RANGE),
        (b"1 2 3.5", NOT_NUMBERS),
        (b"1 two 3", NOT_NUMBERS),
        (b"1 2 3\xff", NOT_NUMBERS),
        (b"1 2 1_0", NOT_NUMBERS),
    ],
)
def test_a_bad_text_is_named_and_the_others_are_read(text: bytes, trouble: str) -> None:
    pixels, troubles = parse_pixels([GOOD, text, GOOD], 3)
    assert troubles == {1: trouble.format(3)}
    assert pixels[[0, 2]].tolist() == [[0, 7, 255]] * 2


def test_a_short_text_and_a_long_one_do_not_make_up_for_each_other() -> None:
    _, troubles = parse_pixels([b"1 2", b"3 4 5 6", GOOD], 3)
    assert sorted(troubles) == [0, 1]


@pytest.mark.parametrize("text", [b"1 2 3 -1", b"1 2 3 -1 4 5 6"])
def test_the_parser_s_own_mark_is_no_way_around_the_count(text: bytes) -> None:
    _, troubles = parse_pixels([text], 3)
    assert troubles == {0: WRONG_COUNT.format(3)}


def test_no_text_gives_no_rows() -> None:
    pixels, troubles = parse_pixels([], 3)
    assert pixels.shape == (0, 3)
    assert troubles == {}

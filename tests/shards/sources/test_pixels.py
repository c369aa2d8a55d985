import numpy as np
import pytest

from shards.sources.pixels import NOT_NUMBERS, OUT_OF_RANGE, WRONG_COUNT, parse_pixels

GOOD = b"0 7 255"


def test_good_texts_become_their_numbers() -> None:
    pixels, troubles = parse_pixels([GOOD, b" 1  2 3 "], 3)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[0, 7, 255], [1, 2, 3]]
    assert troubles == {}


def test_every_number_is_read_behind_every_other() -> None:
    values = [(first, second) for first in range(256) for second in range(256)]
    pixels, troubles = parse_pixels([b"%d %d" % pair for pair in values], 2)
    assert np.array_equal(pixels, values)
    assert troubles == {}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"007 08 0", [7, 8, 0]),
        (b"0007 0255 1", [7, 255, 1]),
        (b"1\t2\r3", [1, 2, 3]),
        (b"-0 1 2", [0, 1, 2]),
    ],
)
def test_numbers_in_an_unusual_form_are_read_too(text: bytes, values: list[int]) -> None:
    pixels, troubles = parse_pixels([GOOD, text, GOOD], 3)
    assert pixels.tolist() == [[0, 7, 255], values, [0, 7, 255]]
    assert troubles == {}


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        (b"1 2", WRONG_COUNT),
        (b"1 2 3 4", WRONG_COUNT),
        (b"", WRONG_COUNT),
        (b"1 2 -1", OUT_OF_RANGE),
        (b"1 2 256", OUT_OF_RANGE),
        (b"1 2 1000", OUT_OF_RANGE),
        (b"1000 2 3", OUT_OF_RANGE),
        (b"1 2 4294967298", OUT_OF_RANGE),
        (b"1 2 " + b"9" * 5000, OUT_OF_RANGE),
        (b"1 2 3.5", NOT_NUMBERS),
        (b"1 two 3", NOT_NUMBERS),
        (b"1 2 3\xff", NOT_NUMBERS),
        (b"1 2 1_0", NOT_NUMBERS),
        (b"1 2 3:", NOT_NUMBERS),
        (b"1 2 P", NOT_NUMBERS),  # the digit 0 but for a bit
        (b"1 2 q5", NOT_NUMBERS),
        (b"1,2 3 4", NOT_NUMBERS),
    ],
)
@pytest.mark.parametrize("place", range(3))
def test_a_bad_text_is_named_and_the_others_are_read(text: bytes, trouble: str, place: int) -> None:
    texts = [GOOD] * 3
    texts[place] = text
    pixels, troubles = parse_pixels(texts, 3)
    assert troubles == {place: trouble.format(3)}
    assert np.delete(pixels, place, axis=0).tolist() == [[0, 7, 255]] * 2
    assert not pixels[place].any()


def test_a_short_text_and_a_long_one_do_not_make_up_for_each_other() -> None:
    _, troubles = parse_pixels([b"1 2", b"3 4 5 6", GOOD], 3)
    assert list(troubles) == [0, 1]


def test_any_texts_are_read_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    characters = list(b"0123456789   -:P")
    for _ in range(200):
        texts = [bytes(rng.choice(characters[: rng.choice([11, 13, 16])], 4)) for _ in range(6)]
        pixels, troubles = parse_pixels(texts, 2)
        alone = [parse_pixels([text], 2) for text in texts]
        assert pixels.tolist() == [values[0].tolist() for values, _ in alone]
        assert troubles == {at: trouble[0] for at, (_, trouble) in enumerate(alone) if trouble}


def test_no_text_gives_no_rows() -> None:
    pixels, troubles = parse_pixels([], 3)
    assert pixels.shape == (0, 3)
    assert troubles == {}

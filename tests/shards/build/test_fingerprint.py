from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from shards.build.fingerprint import FINGERPRINT, difference, fingerprints
from shards.sources.drawn import DrawnOptions, draw

RNG = np.random.default_rng(0)
PEOPLE = DrawnOptions(train_identities=4, valid_identities=0, test_identities=0, resolution=96)
FACES = draw(PEOPLE).read(range(28))


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def one(picture: np.ndarray) -> np.void:
    return fingerprints([picture])[0]


def pictures_of_many_kinds() -> list[np.ndarray]:
    shapes = [(48, 48, 1), (48, 48, 3), (218, 178, 3), (48, 48, 1), (31, 33, 1), (5, 7, 3), (300, 300, 1)]
    return [noise(*shape) for shape in shapes * 3]


def test_fingerprints_do_not_depend_on_the_pictures_beside() -> None:
    pictures = pictures_of_many_kinds()
    together = fingerprints(pictures)
    assert together.dtype == FINGERPRINT
    assert together.tobytes() == np.concatenate([fingerprints([each]) for each in pictures]).tobytes()
    assert fingerprints([]).shape == (0,)


def test_equal_pictures_have_equal_fingerprints_however_they_lie_in_memory() -> None:
    picture = noise(40, 50, 3)
    strided = np.asfortranarray(picture)[::-1].copy()[::-1]
    assert one(picture).tobytes() == one(strided).tobytes()


def test_exact_fingerprints_tell_pixels_shapes_and_channels_apart() -> None:
    picture = noise(20, 30, 1)
    changed = picture.copy()
    changed[7, 7] ^= 1
    others = [changed, picture.reshape(30, 20, 1), picture.reshape(10, 20, 3), picture.repeat(3, axis=2)]
    assert len(set(fingerprints([picture, *others])["exact"].tolist())) == 5


def test_grey_pictures_look_the_same_as_their_rgb_copies() -> None:
    grey = noise(64, 48, 1)
    first, second = fingerprints([grey, grey.repeat(3, axis=2)])
    assert first["perceptual"] == second["perceptual"]
    assert np.array_equal(first["thumbnail"], second["thumbnail"])


def plain_hash(grey: np.ndarray) -> int:
    """Zauner's hash of uint8 [96, 96], written as it is told: means, DCT, lowest frequencies, median."""
    means = grey.reshape(32, 3, 32, 3).mean(axis=(1, 3))
    waves = [np.cos(np.pi / 32 * frequency * (np.arange(32) + 0.5)) for frequency in range(1, 9)]
    coefficients = np.array([(means * np.outer(down, across)).sum() for down in waves for across in waves])
    bits = coefficients > np.median(coefficients)
    return int.from_bytes(np.packbits(bits).tobytes(), "little")


def test_the_perceptual_hash_is_zauner_s() -> None:
    pictures = [*FACES[::7], *(noise(96, 96, 1) for _ in range(20))]
    for picture, found in zip(pictures, fingerprints(pictures)["perceptual"].tolist(), strict=True):
        # Rounded cosines may turn a frequency that lies at the median.
        assert (found ^ plain_hash(picture[..., 0])).bit_count() <= 2


def test_pictures_look_the_same_as_when_every_pixel_is_four() -> None:
    pictures = [noise(*shape) for shape in [(48, 48, 1), (31, 47, 1), (218, 178, 3), (7, 400, 1)]]
    larger = [each.repeat(2, axis=0).repeat(2, axis=1) for each in pictures]
    first, second = fingerprints(pictures), fingerprints(larger)
    assert np.array_equal(first["perceptual"], second["perceptual"])
    assert np.array_equal(first["thumbnail"], second["thumbnail"])


def test_fingerprints_are_the_same_on_every_machine() -> None:
    down, across = np.mgrid[:218, :178]
    colours = (down * across // 7, down * 3 + across, across * across // 50 + down)
    found = one(np.stack(colours, axis=2).astype(np.uint8))
    assert found["exact"].tobytes().hex() == "c77518e3072c2b99d1804d221a7db425"
    assert f"{found['perceptual']:016x}" == "f498d47f2e4e2219"
    assert found["thumbnail"][::9, ::9].tolist() == [[75, 135, 156], [100, 98, 120], [171, 140, 91]]


def test_half_of_the_bits_are_set() -> None:
    hashes = fingerprints([noise(48, 48, 1) for _ in range(50)])["perceptual"].tolist()
    assert {each.bit_count() for each in hashes} == {32}


def test_pictures_without_detail_have_no_bits_set_by_chance() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    assert fingerprints([stripes, np.full((50, 30, 3), 9, np.uint8)])["perceptual"].tolist() == [0, 0]


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 10, 30)])
def test_pictures_of_one_colour_are_constant(colour: tuple[int, int, int]) -> None:
    constant = np.full((50, 60, 3), colour, np.uint8)
    nearly, equal_grey = constant.copy(), constant.copy()
    nearly[-1, -1, 2] ^= 1
    equal_grey[:, ::2] = (colour[0], colour[1], colour[2] ^ 1)
    found = fingerprints([constant, constant[..., :1], nearly, equal_grey])["constant"]
    assert found.tolist() == [True, True, False, False]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 100_003, 3), (100_003, 1, 1), (40_000, 3, 1), (2, 3, 3)])
def test_pictures_of_any_shape_have_fingerprints(shape: tuple[int, ...]) -> None:
    assert one(noise(*shape))["exact"] != one(noise(*shape))["exact"]
    grey = one(np.full(shape, 77, np.uint8))
    assert (grey["thumbnail"] == 77).all()
    assert grey["constant"]


def test_thumbnails_are_blurred_means() -> None:
    picture = np.zeros((32, 32, 1), np.uint8)
    picture[10, 20] = 250
    thumbnail = one(picture)["thumbnail"]
    rows = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
    assert np.array_equal(thumbnail[4:11, 14:21], np.floor(250 * np.outer(rows, rows) + 0.5))
    assert thumbnail.sum() == thumbnail[4:11, 14:21].sum()


def recompressed(picture: np.ndarray) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(picture[..., 0]).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))[..., None]


def brightened(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture.astype(int) + 10, 0, 255).astype(np.uint8)


def resized(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture[..., 0]).resize((128, 128)).resize((96, 96)))[..., None]


def cropped(picture: np.ndarray) -> np.ndarray:
    return picture[1:, :-1]


def unlike(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    return difference(fingerprints(first)["thumbnail"], fingerprints(second)["thumbnail"])


@pytest.mark.parametrize("change", [recompressed, brightened, resized, cropped])
def test_copies_differ_little(change: Callable[[np.ndarray], np.ndarray]) -> None:
    assert unlike(FACES, list(map(change, FACES))).max() < 0.18


def test_other_expressions_and_other_people_differ_much() -> None:
    first, second = np.triu_indices(len(FACES), 1)
    found = unlike([FACES[at] for at in first], [FACES[at] for at in second])
    assert found.min() > 0.4


def test_differences_are_nothing_for_the_same_and_equal_both_ways() -> None:
    others = FACES[::-1]
    assert np.array_equal(unlike(FACES, FACES), np.zeros(len(FACES)))
    np.testing.assert_allclose(unlike(FACES, others), unlike(others, FACES), rtol=1e-6)


def test_differences_are_finite_for_pictures_without_detail() -> None:
    flat, dim = np.full((96, 96, 1), 90, np.uint8), (FACES[0] // 64).astype(np.uint8)
    found = unlike([flat, flat, dim, flat], [flat, flat + 1, flat, FACES[0]])
    assert np.isfinite(found).all()
    assert found[:2].max() < 1e-6

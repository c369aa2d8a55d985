"""Drawn faces: the same people everywhere, in seven clear expressions that move nothing but features."""

import numpy as np
import pytest

from fes.expressions import EXPRESSIONS
from shards.drawing.faces import LUMA, NUMBERS, PIXELS_PER_CHUNK, draw_identities, render

LABELS = np.arange(len(EXPRESSIONS))


def seven(identity: np.ndarray, resolution: int = 48, channels: int = 1) -> np.ndarray:
    """Every expression of one identity, float [7, resolution, resolution, channels]."""
    return render(np.tile(identity, (7, 1)), LABELS, resolution, channels).astype(float)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_an_identity_is_a_function_of_seed_and_index_alone():
    together = draw_identities(3, [5, 2**40, 0, 5])
    assert together.shape == (4, 16)
    assert together.dtype == np.float32
    assert np.array_equal(together[1], draw_identities(3, [2**40])[0])
    assert np.array_equal(together[0], together[3])
    assert len(np.unique(draw_identities(3, range(100)).round(4), axis=0)) == 100
    assert not np.array_equal(draw_identities(4, [5])[0], together[0])


def test_identities_are_the_same_in_every_release_and_on_every_platform():
    expected = np.float32([0.8115733861923218, 0.5844961404800415, 0.044190287590026855, 0.890958309173584])
    assert np.array_equal(draw_identities(0, [7])[0, :4], expected)


def test_identities_fill_the_unit_interval_evenly():
    identities = draw_identities(0, range(500))
    assert identities.min() >= 0
    assert identities.max() < 1
    assert np.abs(identities.mean(0) - 0.5).max() < 0.06
    assert np.abs(identities.std(0) - 12**-0.5).max() < 0.03


@pytest.mark.parametrize(("resolution", "channels"), [(48, 1), (48, 3), (33, 1), (100, 3)])
def test_a_picture_does_not_depend_on_its_batch(resolution, channels):
    count = PIXELS_PER_CHUNK // resolution**2 + 3  # more than one chunk
    identities, labels = draw_identities(1, range(count)), np.arange(count) % 7
    batch = render(identities, labels, resolution, channels)
    assert batch.shape == (count, resolution, resolution, channels)
    assert batch.dtype == np.uint8
    for row in (0, 1, count // 2, count - 2, count - 1):
        alone = render(identities[row : row + 1], labels[row : row + 1], resolution, channels)
        assert np.array_equal(alone[0], batch[row])


def test_an_expression_leaves_background_hair_and_ears_alone():
    for identity in draw_identities(2, range(30)):
        moved = np.ptp(seven(identity, 96)[..., 0], axis=0) > 0
        rows, columns = np.nonzero(moved)
        edges = np.array([rows.min(), columns.min(), columns.max()]) / 48 - 1
        assert edges[0] > -0.72, "the top of the hair moved"
        assert np.abs(edges[1:]).max() < 0.80, "the background or the ears moved"
        assert 0.25 < moved.mean() < 0.5


def test_any_two_expressions_of_a_person_differ_plainly():
    for identity in draw_identities(4, range(20)):
        pictures = seven(identity)[:, 8:, 8:40]
        pairs = [distance(pictures[a], pictures[b]) for a in LABELS for b in range(a)]
        assert min(pairs) > 4


def test_expressions_are_told_apart_in_new_people_by_their_mean_pictures():
    # A nearest-mean rule on the face's centre knows nothing of faces: it works only if expressions are plain.
    people = np.stack([seven(i)[:, 6:46, 8:40, 0] for i in draw_identities(5, range(150))])
    people -= people.mean(axis=1, keepdims=True)
    means = people[:100].mean(0)
    gaps = np.abs(people[100:, :, None] - means[None, None]).mean((-1, -2))
    assert (gaps.argmin(-1) == LABELS).mean() > 0.95


def test_every_number_changes_the_person():
    identity = np.full((2, len(NUMBERS)), 0.5, np.float32)
    for position, name in enumerate(NUMBERS):
        pair = identity.copy()
        pair[:, position] = (0.0, 1.0)
        low, high = render(pair, np.array([6, 6]), 48)
        assert distance(low, high) > 0.25, name


def test_people_differ_from_each_other():
    faces = render(draw_identities(6, range(40)), np.full(40, 6), 48)
    pairs = [distance(faces[a], faces[b]) for a in range(40) for b in range(a)]
    assert min(pairs) > 8


@pytest.mark.parametrize("position", range(len(NUMBERS)), ids=NUMBERS)
def test_pictures_vary_smoothly_with_each_number(position):
    steps = np.linspace(0, 1, 101)
    path = np.tile(draw_identities(8, [1]), (len(steps), 1))
    path[:, position] = steps
    pictures = render(path, np.full(len(steps), 3), 48).astype(float)
    jumps = np.abs(np.diff(pictures, axis=0))
    assert jumps.mean((1, 2, 3)).max() < 1.5
    assert jumps.max() < 90


@pytest.mark.parametrize("channels", [1, 3])
def test_twice_the_resolution_averages_down_to_the_same_picture(channels):
    identities, labels = draw_identities(9, range(42)), np.arange(42) % 7
    direct = render(identities, labels, 48, channels).astype(float)
    fine = render(identities, labels, 96, channels).astype(float)
    averaged = fine.reshape(42, 48, 2, 48, 2, channels).mean((2, 4))
    gaps = np.abs(averaged - direct)
    assert gaps.mean() < 2
    assert np.quantile(gaps, 0.99) < 24
    assert 3 * gaps.mean() < np.abs(averaged - fine[:, ::2, ::2]).mean(), (
        "no better than without antialiasing"
    )


def test_grey_is_the_luma_of_colour():
    identities, labels = draw_identities(10, range(28)), np.arange(28) % 7
    grey = render(identities, labels, 48, 1)[..., 0].astype(float)
    colour = render(identities, labels, 48, 3).astype(float)
    assert np.abs(colour @ np.array(LUMA) - grey).max() < 1.1
    assert np.ptp(colour, axis=-1).mean() > 20, "colour pictures have no colour"


def test_pictures_use_the_range_without_clipping_large_areas():
    faces = render(draw_identities(11, range(70)), np.arange(70) % 7, 48)
    assert (faces == 255).mean() < 0.01
    assert (faces == 0).mean() < 0.01
    assert np.ptp(faces.reshape(70, -1).astype(float), axis=1).min() > 100


@pytest.mark.parametrize("resolution", [8, 17, 250])
def test_any_resolution_is_drawn(resolution):
    faces = render(draw_identities(12, range(2)), np.array([0, 5]), resolution)
    assert faces.shape == (2, resolution, resolution, 1)
    assert faces.std() > 10


def test_no_people_make_no_pictures():
    nobody = draw_identities(0, [])
    assert nobody.shape == (0, 16)
    assert render(nobody, np.zeros(0, int), 48, 3).shape == (0, 48, 48, 3)


@pytest.mark.parametrize("label", [-1, 7])
def test_a_label_outside_the_seven_is_an_error(label):
    with pytest.raises(ValueError, match=r"0\.\.6"):
        render(draw_identities(0, [0, 1]), np.array([0, label]), 48)


@pytest.mark.parametrize("shape", [(16,), (2, 15), (2, 17), (1, 2, 16)])
def test_identities_of_another_shape_are_an_error(shape):
    with pytest.raises(ValueError, match="identities must be"):
        render(np.zeros(shape), np.zeros(2, int), 48)


def test_as_many_labels_as_identities_are_needed():
    with pytest.raises(ValueError, match="labels must be"):
        render(draw_identities(0, [0, 1]), np.zeros(3, int), 48)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channels_are_an_error(channels):
    with pytest.raises(ValueError, match="channels must be"):
        render(draw_identities(0, [0]), np.zeros(1, int), 48, channels)


def test_a_negative_seed_or_index_is_an_error():
    with pytest.raises(OverflowError):
        draw_identities(-1, [0])
    with pytest.raises(OverflowError):
        draw_identities(0, np.array([-1]))

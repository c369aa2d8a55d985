from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.build import duplicates
from shards.build.duplicates import CROWD, DISTANCE, first_copies, joined, near_pairs, spare
from shards.build.fingerprint import FINGERPRINT, fingerprints
from shards.sources.drawn import DrawnOptions, draw

FACES_FOLDER = Path(__file__).parents[4] / "shared/data/webmorph"
needs_faces = pytest.mark.skipif(
    not FACES_FOLDER.exists(), reason=f"the webmorph faces are not at {FACES_FOLDER}"
)
NOTHING = np.zeros((0, 2), np.int64)


def made(hashes: list[int] | np.ndarray, thumbnails: np.ndarray | int = 0) -> np.ndarray:
    """Fingerprints with these hashes and thumbnails."""
    found = np.zeros(len(hashes), FINGERPRINT)
    found["perceptual"] = hashes
    found["thumbnail"] = thumbnails
    return found


def test_first_copies_point_to_the_first_equal_picture() -> None:
    values = [b"b" * 16, b"a" * 16, b"b" * 16, b"a" * 15 + b"c", b"a" * 16, bytes(16), bytes(16)]
    assert first_copies(np.array(values, "V16")).tolist() == [0, 1, 0, 3, 1, 5, 5]
    assert first_copies(np.zeros(0, FINGERPRINT)["exact"]).tolist() == []


def pairs_by_brute_force(hashes: np.ndarray) -> list[list[int]]:
    first, second = np.triu_indices(len(hashes), 1)
    apart = [(int(hashes[a]) ^ int(hashes[b])).bit_count() for a, b in zip(first, second, strict=True)]
    near = np.array(apart) <= DISTANCE
    return np.stack([first[near], second[near]], axis=1).tolist()


def clustered_hashes(rng: np.random.Generator, clusters: int, each: int, flips: int) -> np.ndarray:
    hashes = np.repeat(rng.integers(0, 2**64, clusters, dtype=np.uint64), each)
    for _ in range(flips):
        hashes ^= np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
    return rng.permutation(hashes)


@pytest.mark.parametrize("flips", [0, 3, 6, 9])
@pytest.mark.parametrize("together", [7, 1 << 16])
def test_all_pictures_with_near_hashes_are_compared(
    flips: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "COMPARED_TOGETHER", together)
    hashes = clustered_hashes(np.random.default_rng(flips), clusters=25, each=CROWD, flips=flips)
    pairs, bits = near_pairs(made(hashes))
    assert bits == DISTANCE
    assert pairs.tolist() == pairs_by_brute_force(hashes)


def test_near_hashes_alone_make_no_near_duplicates() -> None:
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 256, (50, 26, 26), dtype=np.uint8)
    assert near_pairs(made([7] * 50, thumbnails))[0].tolist() == []
    assert near_pairs(made([7] * 50))[0].size > 0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures_for_a_pair_make_none(count: int) -> None:
    assert near_pairs(made([5] * count))[0].tolist() == []


def test_a_crowd_with_the_same_hash_is_compared_with_its_first_ones_alone() -> None:
    pairs, _ = near_pairs(made([3] * 1000 + [3 ^ 1] * 1000))
    assert len(pairs) < 2 * CROWD * 1000 + CROWD * CROWD
    assert set(joined(pairs, 2000).tolist()) == {0}
    alone = [[first, second] for first, second in pairs.tolist() if second < 1000]
    assert spare(np.array(alone)) == set(range(1, 1000))


def test_where_too_many_pictures_are_alike_the_nearest_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.unique(clustered_hashes(np.random.default_rng(1), clusters=1, each=300, flips=6))
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 2000)
    pairs, bits = near_pairs(made(hashes))
    apart = [(int(hashes[a]) ^ int(hashes[b])).bit_count() for a, b in pairs_by_brute_force(hashes)]
    assert 0 < bits < DISTANCE
    assert len(pairs) == sum(each <= bits for each in apart) <= 2000 < sum(each <= bits + 1 for each in apart)


def test_pairs_are_bounded_also_where_many_pictures_share_each_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.unique(clustered_hashes(np.random.default_rng(1), clusters=1, each=40, flips=6))
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 2000)
    shared = np.repeat(hashes, CROWD)
    pairs, bits = near_pairs(made(shared))
    between = pairs[shared[pairs[:, 0]] != shared[pairs[:, 1]]]
    apart = [(int(hashes[a]) ^ int(hashes[b])).bit_count() for a, b in pairs_by_brute_force(hashes)]
    assert 0 < bits < DISTANCE
    assert len(between) == CROWD**2 * sum(each <= bits for each in apart) <= 2000
    assert len(apart) <= 2000 < CROWD**2 * sum(each <= bits + 1 for each in apart)


def test_where_the_search_would_take_too_long_only_equal_hashes_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "MOST_COMPARISONS", 0)
    pairs, bits = near_pairs(made([1, 2, 1, 1 << 60]))
    assert (pairs.tolist(), bits) == ([[0, 2]], 0)


def test_pairs_that_share_a_picture_are_one_group() -> None:
    pairs = np.array([[4, 6], [0, 3], [3, 6], [2, 7]])
    assert joined(pairs, 9).tolist() == [0, 1, 2, 0, 0, 5, 0, 2, 8]
    assert joined(NOTHING, 3).tolist() == [0, 1, 2]


def test_what_is_spare_makes_a_pair_with_an_earlier_picture_that_stays_and_no_pair_is_left() -> None:
    assert spare(NOTHING) == set()
    assert spare(np.array([[0, 1], [1, 2]])) == {1}
    for seed in range(20):
        pairs = np.unique(np.sort(np.random.default_rng(seed).integers(0, 60, (80, 2)), axis=1), axis=0)
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        dropped = spare(pairs)
        assert all(first in dropped or second in dropped for first, second in pairs.tolist())
        explained = {second for first, second in pairs.tolist() if first not in dropped}
        assert dropped <= explained


def test_no_two_drawn_faces_are_near_duplicates() -> None:
    people = DrawnOptions(train_identities=30, valid_identities=0, test_identities=0)
    faces = draw(people).read(range(210))
    assert near_pairs(fingerprints(faces))[0].tolist() == []


@pytest.fixture(scope="module")
def people() -> dict[str, list[np.ndarray]]:
    """60 people, neutral and happy, 218 pixels high and wide in colour."""
    return {
        name: [
            np.asarray(Image.open(path).convert("RGB").resize((218, 218), Image.Resampling.BOX))
            for path in sorted((FACES_FOLDER / name).glob("*.jpg"))
        ]
        for name in ("neutral", "happy")
    }


def recompressed(picture: np.ndarray) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def brightened(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture.astype(int) + 10, 0, 255).astype(np.uint8)


def of_48_pixels(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((48, 48), Image.Resampling.BOX))


def resized(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(of_48_pixels(picture)).resize((64, 64)).resize((48, 48)))


def recompressed_at_48_pixels(picture: np.ndarray) -> np.ndarray:
    return recompressed(of_48_pixels(picture))


def cropped(picture: np.ndarray) -> np.ndarray:
    return of_48_pixels(picture)[1:-1, 1:-1]


def in_grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).convert("L"))[..., None]


CHANGES = [recompressed, brightened, resized, recompressed_at_48_pixels, cropped, in_grey]


@needs_faces
@pytest.mark.parametrize("change", CHANGES)
def test_every_changed_copy_is_found_and_nothing_else(
    change: Callable[[np.ndarray], np.ndarray], people: dict[str, list[np.ndarray]]
) -> None:
    faces = people["neutral"]
    copies = list(map(change, faces))
    pairs, _ = near_pairs(fingerprints([*faces, *copies]))
    assert pairs.tolist() == [[at, at + len(faces)] for at in range(len(faces))]


@needs_faces
@pytest.mark.parametrize("size", [218, 48])
def test_the_same_person_with_another_expression_is_no_near_duplicate_nor_is_a_mirrored_copy(
    size: int, people: dict[str, list[np.ndarray]]
) -> None:
    faces = [*people["neutral"], *people["happy"]]
    faces = [face if size == 218 else of_48_pixels(face) for face in faces]
    mirrored = [face[:, ::-1] for face in faces]
    assert len(faces) == 120
    assert near_pairs(fingerprints([*faces, *mirrored]))[0].tolist() == []

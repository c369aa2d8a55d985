import itertools
import lzma
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fes.expressions import UNLABELLED
from shards.build.curation import (
    CONFLICTS,
    CONSTANT,
    COPIES,
    COPY_DROPPED,
    LEAK,
    LEAK_DROPPED,
    NEAR,
    NEAR_DROPPED,
    NEAR_LEAK,
    Curated,
    curate,
)
from shards.build.fingerprint import FINGERPRINT, fingerprints
from shards.schema import Sample
from shards.sources.drawn import DrawnOptions, draw

REAL_FILE = Path(__file__).parents[4] / "shared/data/fer2013/fer2013.csv.xz"
USAGES = {b"Training": "train", b"PublicTest": "valid", b"PrivateTest": "test"}

PEOPLE = DrawnOptions(train_identities=4, valid_identities=0, test_identities=0, resolution=96)
A, B, C, D = draw(PEOPLE).read(range(0, 28, 7))
BLACK, WHITE = np.zeros((96, 96, 1), np.uint8), np.full((96, 96, 1), 255, np.uint8)

Row = tuple[str, int, np.ndarray]


def brighter(picture: np.ndarray, levels: int = 4) -> np.ndarray:
    """A near-duplicate."""
    return np.clip(picture.astype(int) + levels, 0, 255).astype(np.uint8)


def curated(rows: Sequence[Row], unreadable: dict[int, str] | None = None, **options: object) -> Curated:
    """What is left of rows with these splits, labels and pictures, numbered from 0."""
    samples = [Sample(split, label, at, {}) for at, (split, label, _) in enumerate(rows)]
    found = fingerprints([picture for *_, picture in rows])
    found[list(unreadable or {})] = np.zeros((), FINGERPRINT)
    return curate(samples, unreadable or {}, found, **options)


def origins(result: Curated) -> dict[str, list]:
    return {finding.reason: finding.origins for finding in result.findings}


def actions(result: Curated) -> dict[str, str]:
    return {finding.reason: finding.action for finding in result.findings}


def leak(here: str, there: str) -> str:
    return LEAK.format(here, "row", there)


def near_leak(here: str, there: str) -> str:
    return NEAR_LEAK.format(here, "row", there)


def test_where_all_is_well_all_is_kept_and_nothing_found() -> None:
    result = curated([("train", 0, A), ("valid", 1, B), ("test", 2, C)])
    assert result.kept.dtype == np.int64
    assert result.kept.tolist() == [0, 1, 2]
    assert result.findings == []
    assert result.facts == {"rows_readable": 3, "distinct_pictures": 3}


def test_unreadable_and_constant_pictures_are_dropped_with_every_setting() -> None:
    rows = [("train", 0, A), ("train", 0, B), ("train", 0, BLACK), ("test", 0, C), ("test", 0, WHITE)]
    for dedup in ("none", "exact", "near"):
        for no_leak in (False, True):
            result = curated(rows, {3: "cut short", 1: "a page of text"}, dedup=dedup, no_leak=no_leak)
            assert result.kept.tolist() == [0]
            assert origins(result) == {"a page of text": [1], "cut short": [3], CONSTANT: [2, 4]}
            assert {(finding.action, finding.unit) for finding in result.findings} == {("dropped", "rows")}
            assert result.facts == {"rows_readable": 3, "distinct_pictures": 3}


def test_unreadable_pictures_are_no_copies_of_each_other() -> None:
    rows = [("train", 0, A), ("valid", 1, A), ("test", 2, A), ("train", 0, B)]
    result = curated(rows, {0: "gone", 1: "gone", 2: "gone"}, dedup="near", no_leak=True)
    assert origins(result) == {"gone": [0, 1, 2]}
    assert result.kept.tolist() == [3]


def test_a_source_without_samples_or_without_a_readable_one_leaves_nothing() -> None:
    assert curated([]).kept.tolist() == []
    assert curated([]).facts == {"rows_readable": 0, "distinct_pictures": 0}
    assert curated([("train", 0, A)], {0: "gone"}).kept.tolist() == []


COPIED = [
    ("train", 0, A),
    ("valid", 0, A),
    ("train", 3, B),
    ("train", 4, B),
    ("test", 5, C),
    ("valid", 5, C),
    ("train", 6, D),
]


def test_exact_copies_are_kept_and_told_as_groups_conflicts_and_leaks() -> None:
    result = curated(COPIED)
    assert result.kept.tolist() == [*range(7)]
    assert result.facts == {"rows_readable": 7, "distinct_pictures": 4}
    assert origins(result) == {
        COPIES: [[0, 1], [2, 3], [4, 5]],
        CONFLICTS: [[2, 3]],
        leak("valid", "train"): [1],
        leak("test", "valid"): [4],
    }
    assert [finding.unit for finding in result.findings] == ["groups", "groups", "rows", "rows"]
    assert set(actions(result).values()) == {"kept"}


@pytest.mark.parametrize("no_leak", [False, True])
def test_one_of_exact_copies_stays_that_in_test_else_in_valid_else_in_train(no_leak: bool) -> None:
    result = curated(COPIED, dedup="exact", no_leak=no_leak)
    assert result.kept.tolist() == [1, 2, 4, 6]
    assert origins(result) == origins(curated(COPIED)) | {COPY_DROPPED: [0, 3, 5]}
    assert actions(result)[COPIES] == "3 of 6 rows dropped, the others kept"
    assert actions(result)[CONFLICTS] == "1 of 2 rows dropped, the others kept"
    assert {actions(result)[leak("valid", "train")], actions(result)[COPY_DROPPED]} == {"kept", "dropped"}


def test_without_leaks_training_rows_go_whose_picture_stands_in_valid_or_test() -> None:
    rows = [*COPIED, ("train", 5, C), ("train", 6, D)]
    result = curated(rows, no_leak=True)
    assert result.kept.tolist() == [1, 2, 3, 4, 5, 6, 8]
    assert origins(result)[LEAK_DROPPED] == [0, 7]
    assert actions(result)[LEAK_DROPPED] == "dropped"
    assert actions(result)[COPIES] == "2 of 9 rows dropped, the others kept"
    assert {actions(result)[leak("valid", "train")], actions(result)[CONFLICTS]} == {"kept"}


def test_no_label_conflicts_with_none() -> None:
    rows = [
        ("train", UNLABELLED, A),
        ("train", 3, A),
        ("train", 1, B),
        ("train", UNLABELLED, B),
        ("train", 2, B),
    ]
    assert origins(curated(rows))[CONFLICTS] == [[2, 3, 4]]


def test_copies_of_constant_pictures_are_told_as_copies_and_dropped() -> None:
    rows = [("train", 0, BLACK), ("valid", 1, BLACK), ("train", 2, A), ("train", 2, A)]
    result = curated(rows, no_leak=True)
    assert result.kept.tolist() == [2, 3]
    assert origins(result) == {
        CONSTANT: [0, 1],
        COPIES: [[0, 1], [2, 3]],
        CONFLICTS: [[0, 1]],
        leak("valid", "train"): [1],
    }
    assert actions(result)[CONSTANT] == "dropped"


ALIKE = [
    ("train", 0, A),
    ("test", 0, brighter(A)),
    ("train", 1, A),
    ("train", 2, B),
    ("valid", 2, brighter(B)),
    ("train", 3, C),
    ("train", 4, brighter(C)),
    ("train", 5, D),
]


@pytest.mark.parametrize(
    ("dedup", "no_leak", "dropped"),
    [
        ("none", False, {}),
        ("none", True, {}),
        ("exact", False, {COPY_DROPPED: [2]}),
        ("exact", True, {COPY_DROPPED: [2]}),
        ("near", False, {COPY_DROPPED: [2], NEAR_DROPPED: [0, 3, 6]}),
        ("near", True, {COPY_DROPPED: [2], NEAR_DROPPED: [0, 3, 6]}),
    ],
)
def test_near_duplicates_are_always_told_and_dropped_when_asked(
    dedup: str, no_leak: bool, dropped: dict[str, list[int]]
) -> None:
    result = curated(ALIKE, dedup=dedup, no_leak=no_leak)
    gone = {place for places in dropped.values() for place in places}
    assert result.kept.tolist() == [place for place in range(len(ALIKE)) if place not in gone]
    told = {
        COPIES: [[0, 2]],
        CONFLICTS: [[0, 2]],
        NEAR: [[0, 1, 2], [3, 4], [5, 6]],
        near_leak("valid", "train"): [4],
        near_leak("test", "train"): [1],
    }
    assert origins(result) == told | dropped
    assert all(actions(result)[reason] == "dropped" for reason in dropped)
    assert actions(result)[NEAR] == (f"{len(gone)} of 7 rows dropped, the others kept" if gone else "kept")


def test_exact_copies_alone_are_no_near_duplicates_and_no_near_leaks() -> None:
    rows = [("train", 0, A), ("valid", 0, A), ("test", 0, brighter(A))]
    result = curated(rows)
    assert NEAR not in origins(curated(rows[:2]))
    assert origins(result)[NEAR] == [[0, 1, 2]]
    assert origins(result)[leak("valid", "train")] == [1]
    assert near_leak("valid", "train") not in origins(result)
    assert origins(result)[near_leak("test", "train")] == [2]


FILM = [B[:, step : step + 85] for step in range(12)]


def test_of_a_chain_of_small_changes_those_stay_that_are_not_like_another_that_stays() -> None:
    rows = [("train", 0, picture) for picture in FILM]
    result = curated(rows, dedup="near")
    assert origins(result)[NEAR] == [[*range(12)]]
    stay = result.kept.tolist()
    assert stay[0] == 0
    assert 1 < len(stay) < 12
    assert NEAR not in origins(curated([rows[at] for at in stay]))


def test_without_leaks_and_near_duplicates_no_picture_of_a_chain_to_the_test_is_trained_on() -> None:
    rows = [*(("train", 0, picture) for picture in FILM[:-1]), ("test", 0, FILM[-1]), ("train", 0, A)]
    assert curated(rows, dedup="near", no_leak=True).kept.tolist() == [11, 12]
    assert len(curated(rows, dedup="near").kept) > 2


def test_samples_are_called_what_their_source_calls_them() -> None:
    samples = [Sample(split, 0, f"{split}.png", {}) for split in ("train", "valid")]
    result = curate(samples, {}, fingerprints([A, A]), what="files")
    assert origins(result) == {
        COPIES: [["train.png", "valid.png"]],
        "valid file whose exact picture stands in train": ["valid.png"],
    }
    assert result.findings[1].unit == "files"
    assert result.facts == {"files_readable": 2, "distinct_pictures": 1}
    assert curate(samples, {}, fingerprints([A, A]), what="pictures").findings[1].unit == "pictures"


def test_a_search_that_was_cut_short_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shards.build.duplicates.MOST_COMPARISONS", 0)
    assert curated(ALIKE).facts["near_duplicates_within_bits"] == 0


def lines_of_the_real_file() -> Iterator[bytes]:
    """Unpacks it in another thread while its lines are used."""
    with lzma.open(REAL_FILE) as file, ThreadPoolExecutor(1) as pool:
        rest, coming = b"", pool.submit(file.read, 1 << 24)
        while block := coming.result():
            coming = pool.submit(file.read, 1 << 24)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines


@pytest.fixture(scope="module")
def fer2013() -> tuple[list[Sample], np.ndarray]:
    """The samples of the real file and the fingerprints of their pictures."""
    samples, pictures = [], []
    for number, line in enumerate(itertools.islice(lines_of_the_real_file(), 1, None), 1):
        label, pixels, usage = line.split(b",")
        samples.append(Sample(USAGES[usage], int(label), number, {}))
        pictures.append(np.fromstring(pixels, np.uint8, sep=" ").reshape(48, 48, 1))
    return samples, fingerprints(pictures)


@pytest.mark.fer2013
@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real FER2013 is not at {REAL_FILE}")
def test_the_real_fer2013_holds_what_is_known_of_it(fer2013: tuple[list[Sample], np.ndarray]) -> None:
    result = curate(fer2013[0], {}, fer2013[1])
    assert result.facts == {"rows_readable": 35887, "distinct_pictures": 34032}
    assert {reason: len(found) for reason, found in origins(result).items()} == {
        CONSTANT: 12,
        COPIES: 1518,
        CONFLICTS: 59,
        leak("valid", "train"): 280,
        leak("test", "train"): 288,
        leak("test", "valid"): 44,
        NEAR: 1133,
        near_leak("valid", "train"): 288,
        near_leak("test", "train"): 279,
        near_leak("test", "valid"): 65,
    }
    kept = Counter(fer2013[0][at].split for at in result.kept)
    assert kept == {"train": 28698, "valid": 3588, "test": 3589}


@pytest.mark.fer2013
@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real FER2013 is not at {REAL_FILE}")
def test_the_real_fer2013_is_left_without_copies_and_leaks(fer2013: tuple[list[Sample], np.ndarray]) -> None:
    samples, found = fer2013
    kept = curate(samples, {}, found, dedup="near", no_leak=True).kept
    assert len(kept) == 32523
    assert curate([samples[at] for at in kept], {}, found[kept]).findings == []

import gzip
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED, expression_label
from shards.schema import Sample
from shards.sources import ferplus
from shards.sources.ferplus import Ballot, FerPlusOptions, join_ferplus, read_ballots

REAL_FILE = Path(__file__).parents[4] / "shared/data/fer2013/fer2013new.csv"
HEADER = b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
VotesOf = Callable[..., Path]

NEUTRAL = b"Training,a,10,0,0,0,0,0,0,0,0,0"
TIED = b"Training,b,5,5,0,0,0,0,0,0,0,0"
UNKNOWN = b"Training,c,2,0,0,0,0,0,0,0,8,0"
CONTEMPT = b"Training,d,0,0,0,0,4,0,0,6,0,0"
NO_FACE = b"Training,,0,0,0,0,0,0,0,0,0,10"
NO_VOTES = b"Training,e,0,0,0,0,0,0,0,0,0,0"
HALF = b"Training,f,5,3,2,0,0,0,0,0,0,0"
FOURTH = b"Training,g,4,3,3,0,0,0,0,0,0,0"
BROKEN = b"Training,h,4,x,3,0,0,0,0,0,0,0"


@pytest.fixture
def votes_of(tmp_path: Path) -> VotesOf:
    """Writes rows of fer2013new.csv and returns its path."""

    def write(rows: Iterable[bytes], header: bytes = HEADER) -> Path:
        path = tmp_path / "fer2013new.csv"
        path.write_bytes(header + b"\n".join(rows))
        return path

    return write


def samples_of(number: int, label: int = 0) -> list[Sample]:
    """Training samples of the first rows."""
    return [Sample("train", label, row, {"row": row}) for row in range(1, number + 1)]


def labels_of(path: Path, rows: list[bytes], label: int = 0, **options: object) -> list[int | None]:
    """The labels that the rows in a file give to samples that have another; None where they are dropped."""
    joined = join_ferplus(samples_of(len(rows), label), len(rows), FerPlusOptions(votes=path, **options))
    return [None if sample is None else sample.label for sample in joined.samples]


def test_votes_get_the_names_of_fes_in_its_order_where_there_are_any(votes_of: VotesOf) -> None:
    every = b"PrivateTest,a,7,4,6,5,1,2,3,8,9,10"
    assert [*read_ballots(votes_of([every, NEUTRAL]))[0].votes.items()] == [
        ("angry", 1),
        ("disgusted", 2),
        ("afraid", 3),
        ("happy", 4),
        ("sad", 5),
        ("surprised", 6),
        ("neutral", 7),
        ("contempt", 8),
        ("unknown", 9),
        ("not_a_face", 10),
    ]
    assert read_ballots(votes_of([every, NEUTRAL]))[1] == Ballot("train", {"neutral": 10})


def test_the_columns_are_those_of_all_classes_under_a_name_that_fes_knows() -> None:
    classes = [*ferplus.COLUMNS][: len(EXPRESSIONS)]
    assert tuple(classes) == EXPRESSIONS
    assert [expression_label(ferplus.COLUMNS[name]) for name in classes] == [*range(len(EXPRESSIONS))]


def test_columns_are_found_by_name_in_a_compressed_file_too(tmp_path: Path) -> None:
    names = [b" nf ", *HEADER.strip().lower().split(b",")[:-1][::-1]]
    path = tmp_path / "votes"
    path.write_bytes(gzip.compress(b",".join(names) + b"\r\n0,0,0,0,0,9,0,0,0,0,name,PublicTest\r\n"))
    assert read_ballots(path) == [Ballot("valid", {"angry": 9})]


@pytest.mark.parametrize(
    "bad",
    [
        b"Training,a,4,0,0,1,3,2,0,0,0",
        b"Training,a,4,0,0,1,3,2,0,0,0,",
        b"Training,a,4,0,0,1,3,2,0,0,0,x",
        b"Training,a,4,0,0,1,3,-2,0,0,0,0",
        b"Training,a,4,0,0,1,3,2.5,0,0,0,0",
        b"Training,a," + b"9" * 5000 + b",0,0,1,3,2,0,0,0,0",
        b"training,a,4,0,0,1,3,2,0,0,0,0",
    ],
)
def test_a_bad_row_of_votes_drops_its_sample_alone(votes_of: VotesOf, bad: bytes) -> None:
    path = votes_of([NEUTRAL, bad, NEUTRAL])
    joined = join_ferplus(samples_of(3), 3, FerPlusOptions(votes=path))
    assert [sample and sample.label for sample in joined.samples] == [6, None, 6]
    assert [(each.reason, each.action, each.origins) for each in joined.findings] == [
        (ferplus.BAD_VOTES, "dropped", [2])
    ]


def test_a_missing_column_is_told_in_a_sentence(votes_of: VotesOf) -> None:
    with pytest.raises(InputError, match=r"has no column fear, nf: give fer2013new\.csv"):
        read_ballots(votes_of([], HEADER.replace(b",NF", b"").replace(b"fear", b"Angst")))
    with pytest.raises(InputError, match="has no column usage, "):
        read_ballots(votes_of([], b""))


@pytest.mark.parametrize(
    ("votes", "threshold", "majority"),
    [
        ({"happy": 6, "sad": 4}, 0.6, "happy"),
        ({"happy": 6, "sad": 4}, 0.61, None),
        ({"happy": 7, "sad": 3}, 0.7, "happy"),
        ({"happy": 5, "sad": 5}, 0.1, None),
        ({"happy": 4, "sad": 3, "unknown": 3}, 0.4, "happy"),
        ({"happy": 4, "sad": 3, "not_a_face": 3}, 0.5, None),
        ({"sad": 1, "not_a_face": 9}, 0.5, "not_a_face"),
        ({"happy": 10}, 1.0, "happy"),
        ({}, 0.5, None),
    ],
)
def test_a_majority_has_more_votes_than_any_other_and_its_share_of_all(
    votes: dict[str, int], threshold: float, majority: str | None
) -> None:
    assert Ballot("train", votes).majority(threshold) == majority


ALL = [NEUTRAL, TIED, UNKNOWN, CONTEMPT, NO_FACE, NO_VOTES, HALF, FOURTH, BROKEN]


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, [6, -1, -1, None, None, -1, 6, -1, None]),
        ({"threshold": 0.4}, [6, -1, -1, None, None, -1, 6, 6, None]),
        ({"threshold": 1.0}, [6, -1, -1, -1, None, -1, -1, -1, None]),
        ({"unsure": "drop"}, [6, None, None, None, None, None, 6, None, None]),
        ({"unsure": "fer2013"}, [6, 3, 3, None, None, 3, 6, 3, None]),
        ({"contempt": "unlabelled"}, [6, -1, -1, -1, None, -1, 6, -1, None]),
        ({"contempt": "disgusted"}, [6, -1, -1, 1, None, -1, 6, -1, None]),
    ],
)
def test_options_decide_what_becomes_of_a_row(
    votes_of: VotesOf, options: dict[str, object], labels: list[int | None]
) -> None:
    assert labels_of(votes_of(ALL), ALL, label=3, **options) == labels


def test_everything_but_a_label_is_a_finding_that_says_what_was_done(votes_of: VotesOf) -> None:
    options = FerPlusOptions(votes=votes_of(ALL), contempt="angry", unsure="fer2013")
    joined = join_ferplus(samples_of(9, 6), 9, options)
    assert [(each.reason, each.action, each.origins) for each in joined.findings] == [
        (ferplus.BAD_VOTES, "dropped", [9]),
        (ferplus.NO_FACE, "dropped", [5]),
        (ferplus.CONTEMPTUOUS, "kept as angry", [4]),
        (ferplus.UNSURE, "kept with the label of FER2013", [2, 3, 6, 8]),
    ]
    assert joined.facts == {"labels_by_ferplus": 2, "labels_changed_by_ferplus": 1}


def test_a_label_that_was_none_counts_as_given_and_not_as_changed(votes_of: VotesOf) -> None:
    joined = join_ferplus(samples_of(1, UNLABELLED), 1, FerPlusOptions(votes=votes_of([NEUTRAL])))
    assert joined.facts == {"labels_by_ferplus": 1, "labels_changed_by_ferplus": 0}


def test_votes_are_kept_as_details_beside_the_others(votes_of: VotesOf) -> None:
    joined = join_ferplus(samples_of(1), 1, FerPlusOptions(votes=votes_of([HALF])))
    assert joined.samples[0].details == {"row": 1, "votes": {"neutral": 5, "happy": 3, "surprised": 2}}


def test_rows_are_joined_by_their_place_also_where_samples_are_missing(votes_of: VotesOf) -> None:
    misleading = b"Training,fer0000003.png,0,10,0,0,0,0,0,0,0,0"
    path = votes_of([misleading, NEUTRAL, NEUTRAL])
    joined = join_ferplus([samples_of(3)[0], samples_of(3)[2]], 3, FerPlusOptions(votes=path))
    assert [sample.label for sample in joined.samples] == [3, 6]


@pytest.mark.parametrize("rows", [1, 3])
def test_another_number_of_rows_is_told_with_both(votes_of: VotesOf, rows: int) -> None:
    options = FerPlusOptions(votes=votes_of([NEUTRAL, NEUTRAL]))
    with pytest.raises(InputError, match=f"has 2 rows and FER2013 here has {rows}"):
        join_ferplus(samples_of(1), rows, options)


def test_another_order_of_rows_is_told_with_the_first_that_differs(votes_of: VotesOf) -> None:
    path = votes_of([BROKEN, NEUTRAL, NEUTRAL.replace(b"Training", b"PublicTest"), NEUTRAL])
    with pytest.raises(InputError, match=r"row 3 of .*fer2013new\.csv has another Usage"):
        join_ferplus(samples_of(4), 4, FerPlusOptions(votes=path))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threshold": 0.0}, "above 0 and at most 1, not 0.0"),
        ({"threshold": 1.1}, "above 0 and at most 1, not 1.1"),
        ({"threshold": float("nan")}, "above 0 and at most 1, not nan"),
        ({"contempt": "disgustd"}, "contempt cannot become 'disgustd'; did you mean 'disgusted'"),
        ({"unsure": "keep"}, "unsure cannot become 'keep'; choose from drop, unlabelled, fer2013"),
    ],
)
def test_options_without_sense_are_told_in_a_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FerPlusOptions(votes=Path("any"), **options).check()


@pytest.mark.fer2013
@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real FER+ is not at {REAL_FILE}")
def test_the_real_votes_are_what_is_known_of_them() -> None:
    ballots = read_ballots(REAL_FILE)
    assert Counter(ballot.split for ballot in ballots) == {"train": 28709, "valid": 3589, "test": 3589}
    assert Counter(sum(ballot.votes.values()) for ballot in ballots) == {10: 35886, 9: 1}
    samples = [Sample(ballot.split, UNLABELLED, row, {}) for row, ballot in enumerate(ballots, 1)]
    joined = join_ferplus(samples, len(ballots), FerPlusOptions(votes=REAL_FILE))
    assert {each.reason: len(each.origins) for each in joined.findings} == {
        ferplus.NO_FACE: 176,
        ferplus.CONTEMPTUOUS: 142,
        ferplus.UNSURE: 4373,
    }
    assert joined.facts["labels_by_ferplus"] == 31196

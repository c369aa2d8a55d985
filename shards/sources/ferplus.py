"""Joins the votes of FER+ (fer2013new.csv), ten per picture, to the rows of FER2013.

The two files belong together row by row. The number in the column `Image name` is not that of the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fes.errors import InputError, nearest
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.schema import DROP, UNLABELLED_NAME, Finding, Sample
from shards.sources.compressed import open_csv

USAGES = {b"Training": "train", b"PublicTest": "valid", b"PrivateTest": "test"}
CONTEMPT, UNKNOWN, NOT_A_FACE = "contempt", "unknown", "not_a_face"
COLUMNS = {
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "neutral": "neutral",
    CONTEMPT: "contempt",
    UNKNOWN: "unknown",
    NOT_A_FACE: "nf",
}
"""Everything that can be voted for, and its column in fer2013new.csv."""

BAD_VOTES = "FER+ row that cannot be read"
NO_FACE = "FER+ majority for not a face"
CONTEMPTUOUS = "FER+ majority for contempt"
UNSURE = "no FER+ majority, or one for unknown"

KEEP = "fer2013"
ACTIONS = {DROP: "dropped", UNLABELLED_NAME: "kept unlabelled", KEEP: "kept with the label of FER2013"}


@dataclass(frozen=True, kw_only=True)
class FerPlusOptions:
    """How the votes of FER+ become labels.

    A picture's majority is what got the most of its votes, be it an expression, contempt, unknown or not
    a face; where two got as many there is none. An expression becomes the label, and what is not a face
    is dropped.
    """

    votes: Path
    """The file fer2013new.csv, plain or compressed."""
    threshold: float = 0.5
    """The least share of a majority: its votes divided by all votes that the picture got, whatever for."""
    contempt: str = DROP
    """What to do with a majority for contempt: "drop", "unlabelled", or the expression to count it as."""
    unsure: Literal["drop", "unlabelled", "fer2013"] = UNLABELLED_NAME
    """What to do without a majority, or with one for unknown: "fer2013" keeps the label of FER2013."""

    def check(self) -> None:
        """Raises InputError for values that make no sense."""
        if not 0 < self.threshold <= 1:
            raise InputError(f"the threshold of FER+ is above 0 and at most 1, not {self.threshold}")
        for name, value, choices in (
            ("contempt", self.contempt, (DROP, UNLABELLED_NAME, *EXPRESSIONS)),
            ("unsure", self.unsure, (DROP, UNLABELLED_NAME, KEEP)),
        ):
            if value not in choices:
                raise InputError(f"FER+ {name} cannot become '{value}'{nearest(value, choices)}")


@dataclass(frozen=True, slots=True)
class Ballot:
    """The votes for one picture: how many got what, in the order of `COLUMNS`, where any did."""

    split: str
    votes: dict[str, int]

    def majority(self, threshold: float) -> str | None:
        """What got the most votes, where nothing else got as many and its share is `threshold` or more."""
        most = max(self.votes.values(), default=0)
        winners = [name for name, number in self.votes.items() if number == most]
        if len(winners) != 1 or most / sum(self.votes.values()) < threshold:
            return None
        return winners[0]


@dataclass
class Joined:
    """Samples with the labels of FER+, None where one is dropped; what was found; counts for the report."""

    samples: list[Sample | None]
    findings: list[Finding]
    facts: dict[str, int]


def read_ballots(path: Path) -> list[Ballot | None]:
    """The rows of fer2013new.csv; None where one cannot be read.

    Raises InputError where the file cannot be read or lacks a column.
    """
    with open_csv(path, ["fer2013new"]) as table:
        names = [name.decode("utf-8", "replace").strip().lower() for name in next(table.rows, [])]
        missing = [name for name in ("usage", *COLUMNS.values()) if name not in names]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}: give fer2013new.csv of FER+")
        places = {name: names.index(column) for name, column in COLUMNS.items()}
        return [_ballot(fields, len(names), names.index("usage"), places) for fields in table.rows]


def _ballot(fields: list[bytes], columns: int, usage: int, places: dict[str, int]) -> Ballot | None:
    if len(fields) < columns:
        return None
    split = USAGES.get(fields[usage].strip())
    cells = {name: fields[place].strip() for name, place in places.items()}
    if split is None or not all(cell.isdigit() and len(cell) < 10 for cell in cells.values()):
        return None
    return Ballot(split, {name: int(cell) for name, cell in cells.items() if int(cell)})


def join_ferplus(samples: Sequence[Sample], rows: int, options: FerPlusOptions) -> Joined:
    """Gives the samples the labels that their votes say, and the votes as details: {"votes": {name: n}}.

    The origin of a sample is the number of its row among the `rows` of FER2013, counted from 1.
    Raises InputError where the votes cannot be read, or are not those of the same rows.
    """
    ballots = read_ballots(options.votes)
    if len(ballots) != rows:
        raise InputError(
            f"{options.votes} has {len(ballots)} rows and FER2013 here has {rows}: "
            "they are joined row by row, so give both files whole"
        )
    _check_order(samples, ballots, options.votes)
    choices = {BAD_VOTES: DROP, NO_FACE: DROP, CONTEMPTUOUS: options.contempt, UNSURE: options.unsure}
    verdicts = [_verdict(ballots[sample.origin - 1], options.threshold) for sample in samples]
    joined = [
        _relabelled(sample, ballots[sample.origin - 1], choices.get(verdict, verdict))
        for sample, verdict in zip(samples, verdicts, strict=True)
    ]
    findings = [
        Finding(reason, ACTIONS.get(choice, f"kept as {choice}"), _origins(reason, samples, verdicts))
        for reason, choice in choices.items()
        if reason in verdicts
    ]
    facts = {
        "labels_by_ferplus": sum(verdict in EXPRESSIONS for verdict in verdicts),
        "labels_changed_by_ferplus": sum(map(_differ, samples, joined)),
    }
    return Joined(joined, findings, facts)


def _check_order(samples: Sequence[Sample], ballots: Sequence[Ballot | None], path: Path) -> None:
    for sample in samples:
        ballot = ballots[sample.origin - 1]
        if ballot is not None and ballot.split != sample.split:
            raise InputError(
                f"row {sample.origin} of {path} has another Usage than that row of FER2013: "
                "they are joined row by row, so give both files in the order they were published in"
            )


def _verdict(ballot: Ballot | None, threshold: float) -> str:
    """The expression that was voted for, or why there is none."""
    if ballot is None:
        return BAD_VOTES
    majority = ballot.majority(threshold)
    if majority in EXPRESSIONS:
        return majority
    return {CONTEMPT: CONTEMPTUOUS, NOT_A_FACE: NO_FACE}.get(majority, UNSURE)


def _relabelled(sample: Sample, ballot: Ballot | None, choice: str) -> Sample | None:
    if choice == DROP:
        return None
    labels = {UNLABELLED_NAME: UNLABELLED, KEEP: sample.label}
    label = labels[choice] if choice in labels else EXPRESSIONS.index(choice)
    return replace(sample, label=label, details={**sample.details, "votes": ballot.votes})


def _origins(reason: str, samples: Sequence[Sample], verdicts: Sequence[str]) -> list[int | str]:
    return [sample.origin for sample, verdict in zip(samples, verdicts, strict=True) if verdict == reason]


def _differ(before: Sample, after: Sample | None) -> bool:
    """Whether a label became another label."""
    return after is not None and UNLABELLED not in (before.label, after.label) and before.label != after.label

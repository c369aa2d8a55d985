"""What a build tells about its source: every finding with where it is, and classes without samples."""

from collections.abc import Mapping, Sequence

import numpy as np

from fes.expressions import EXPRESSIONS
from shards.catalogue import Counts, Shard, counts_of, split_of_each
from shards.schema import NOBODY, SCHEMA, SPLITS, Finding

ORIGINS_NOTE = (
    "origins are what the source calls its samples: names of files, or numbers of rows, where 1 is the "
    "first row of data below the header"
)


def report_of(
    source: str,
    facts: Mapping[str, int],
    shards: Sequence[Shard],
    places: np.ndarray,
    findings: Sequence[Finding],
    warnings: Sequence[str] = (),
) -> dict[str, object]:
    """The content of report.json; the same for the same source.

    `places` is an array of `PLACE`, a row per sample of the shards, in their order. `warnings` are those of
    the source itself.
    """
    counts = counts_of(shards, places)
    return {
        "schema": SCHEMA,
        "source": source,
        **facts,
        "samples_kept": len(places),
        "splits": counts,
        "people": people_of(shards, places),
        "warnings": [*class_warnings(counts), *people_warnings(shards, places), *warnings],
        "origins_note": ORIGINS_NOTE,
        "findings": [_told(finding) for finding in findings],
    }


def people_warnings(shards: Sequence[Shard], places: np.ndarray) -> list[str]:
    """A sentence for each two splits that share people: what is measured on one is not what is new to it."""
    split_of = split_of_each(shards)
    known = places["identity"] != NOBODY
    of = [set(places["identity"][known & (split_of == number)].tolist()) for number in range(len(SPLITS))]
    pairs = [(a, b) for a in range(len(SPLITS)) for b in range(a + 1, len(SPLITS)) if of[a] & of[b]]
    return [f"people who stand in {SPLITS[a]} and in {SPLITS[b]}: {len(of[a] & of[b]):,}" for a, b in pairs]


def people_of(shards: Sequence[Shard], places: np.ndarray) -> dict[str, dict[str, int]]:
    """{split: {"people", "pictures_of_nobody_known", "fewest_pictures", "median_pictures", "most_pictures"}}.

    Of splits where people are known; `places` is an array of `PLACE`, a row per sample of the shards.
    """
    split_of, people = split_of_each(shards), {}
    for number, split in enumerate(SPLITS):
        identities = places["identity"][split_of == number]
        _, pictures = np.unique(identities[identities != NOBODY], return_counts=True)
        if len(pictures):
            people[split] = {
                "people": len(pictures),
                "pictures_of_nobody_known": int((identities == NOBODY).sum()),
                "fewest_pictures": int(pictures.min()),
                "median_pictures": int(np.median(pictures)),
                "most_pictures": int(pictures.max()),
            }
    return people


def _told(finding: Finding) -> dict[str, object]:
    return {
        "reason": finding.reason,
        "action": finding.action,
        "unit": finding.unit,
        "count": len(finding.origins),
        "origins": finding.origins,
    }


def class_warnings(counts: Counts) -> list[str]:
    """What training cannot learn from these samples, a sentence each."""
    if "train" not in counts:
        return ["train has no samples at all: this data can be looked at, not trained on"]
    classes = counts["train"]["classes"]
    empty = [name for name in EXPRESSIONS if not classes[name]]
    if len(empty) == len(EXPRESSIONS):
        return ["train has no labels: mix it with a data set that has, as in --data labelled:0.5,this:0.5"]
    return [f"train has no sample of class {name!r}: training cannot learn to draw it" for name in empty]

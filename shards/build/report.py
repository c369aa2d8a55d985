"""What a build tells about its source: every finding with where it is, and classes without samples."""

from collections.abc import Mapping, Sequence

from fes.expressions import EXPRESSIONS
from shards.schema import SCHEMA, Finding

ORIGINS_NOTE = (
    "origins are what the source calls its samples: names of files, or numbers of rows, where 1 is the "
    "first row of data below the header"
)


def report_of(
    source: str,
    facts: Mapping[str, int],
    counts: dict[str, dict[str, object]],
    findings: Sequence[Finding],
) -> dict[str, object]:
    """The content of report.json; the same for the same source. `counts` are the index's `splits`."""
    return {
        "schema": SCHEMA,
        "source": source,
        **facts,
        "samples_kept": sum(split["samples"] for split in counts.values()),
        "splits": counts,
        "warnings": class_warnings(counts),
        "origins_note": ORIGINS_NOTE,
        "findings": [_told(finding) for finding in findings],
    }


def _told(finding: Finding) -> dict[str, object]:
    return {
        "reason": finding.reason,
        "action": finding.action,
        "unit": finding.unit,
        "count": len(finding.origins),
        "origins": finding.origins,
    }


def class_warnings(counts: dict[str, dict[str, object]]) -> list[str]:
    """What training cannot learn from these samples, a sentence each."""
    if "train" not in counts:
        return ["train has no samples at all: this data can be looked at, not trained on"]
    classes = counts["train"]["classes"]
    empty = [name for name in EXPRESSIONS if not classes[name]]
    if len(empty) == len(EXPRESSIONS):
        return ["train has no labels: mix it with a data set that has, as in --data labelled:0.5,this:0.5"]
    return [f"train has no sample of class {name!r}: training cannot learn to draw it" for name in empty]

"""What a build tells about its source: every finding with its rows, and classes without samples."""

from collections import Counter

from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.schema import SCHEMA, SPLITS, UNLABELLED_NAME, Source

ROWS_NOTE = "rows are numbered as in the source: 1 is the first row of data below the header"


def report_of(source: Source) -> dict[str, object]:
    """The content of report.json; the same for the same source."""
    return {
        "schema": SCHEMA,
        "source": source.name,
        **source.facts,
        "samples_kept": len(source.samples),
        "splits": class_counts(source),
        "warnings": class_warnings(source),
        "rows_note": ROWS_NOTE,
        "findings": [
            {
                "reason": finding.reason,
                "action": finding.action,
                "unit": finding.unit,
                "count": len(finding.rows),
                "rows": finding.rows,
            }
            for finding in source.findings
        ],
    }


def class_counts(source: Source) -> dict[str, dict[str, object]]:
    """{split: {"samples": n, "classes": {name: n, ..., "unlabelled": n}}} of splits that have samples."""
    counts = Counter((sample.split, sample.label) for sample in source.samples)
    names = {**dict(enumerate(EXPRESSIONS)), UNLABELLED: UNLABELLED_NAME}
    splits = {}
    for split in SPLITS:
        classes = {name: counts[split, label] for label, name in names.items()}
        if any(classes.values()):
            splits[split] = {"samples": sum(classes.values()), "classes": classes}
    return splits


def class_warnings(source: Source) -> list[str]:
    """One sentence for every class that training never sees."""
    train = class_counts(source).get("train")
    if train is None:
        return ["train has no samples at all: this data can be looked at, not trained on"]
    return [
        f"train has no sample of class {name!r}: training cannot learn to draw it"
        for name, count in train["classes"].items()
        if count == 0 and name != UNLABELLED_NAME
    ]

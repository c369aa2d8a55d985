"""Indexes WebDataset shards that others made, where they lie: an index is written, and no picture copied."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fes.errors import InputError, nearest
from fes.expressions import EXPRESSIONS, expression_label
from fes.files import write_file
from fes.machine import cores
from shards.build.alone import alone_in
from shards.build.curation import Curated, Dedup, curate
from shards.build.fingerprint import FINGERPRINT
from shards.build.report import report_of
from shards.build.sizes import common_side
from shards.build.writer import OR_ELSEWHERE, prepare
from shards.catalogue import Shard, write_index
from shards.documents import to_text
from shards.foreign.files import find_tars, splits_of
from shards.foreign.tar import (
    ACTIONS,
    LEFT_OUT,
    NO_IDENTITY_FIELD,
    NO_LABEL_FIELD,
    Meaning,
    Person,
    Tar,
    index_one,
)
from shards.schema import (
    DROP,
    INDEX_NAME,
    NOBODY,
    REPORT_NAME,
    SPLITS,
    Finding,
    Progress,
    Sample,
    no_progress,
)
from shards.workers import spread

SOURCE = "webdataset"
EMPTY = "tar without a sample that can be used"
PACKED = "compressed tar, in which nothing has a place"


def index_shards(
    tars: Sequence[Path],
    out: Path,
    *,
    splits: Mapping[str, str] | None = None,
    label_field: str | None = None,
    identity_field: str | None = None,
    numbers: Sequence[str] = EXPRESSIONS,
    workers: int | None = None,
    overwrite: bool = False,
    dedup: Dedup = "none",
    no_leak: bool = False,
    progress: Progress = no_progress,
) -> dict[str, object]:
    """Writes index.json, index.npy and report.json of tars into the folder `out`; returns the index.

    A sample has a picture, and may have a label (.cls, a number or a name) and details (.json). Every
    picture is decoded once. What is damaged, constant or makes no sense is left out and told in the
    report, as are copies.

    Args:
        tars: files, folders of them, or names with braces as in `faces-{000000..000146}.tar`.
        out: should stay where it is from the tars: the index names them from there.
        splits: patterns of files' names and their splits, as {"eval-*.tar": "test"}. Else the file's name
            tells, or the name of its folder; where neither does, it is training.
        label_field: the field of the details that is the label, instead of the .cls.
        identity_field: the field of the details that tells who it is, a number or a text.
        numbers: the classes that the numbers 0, 1, 2, ... stand for in these shards; "drop" leaves out.
        workers: processes that share the work, by default one per core; the index is the same for any.
        overwrite: replace an index that is in `out`.
        dedup: leaves out copies, as `curate` does.
        no_leak: leaves out training samples whose picture stands in valid or test, as `curate` does.
        progress: is called with the bytes of the tars read and in all.

    Raises:
        InputError: a tar is missing or compressed, its path cannot be printed or its split not be told, the
            options make no sense, no sample can be used, or `out` cannot be written, or another writes there.
    """
    meaning = Meaning(label_field, identity_field, tuple(map(_label_of_number, numbers)))
    files = find_tars(tars)
    split_of = splits_of(files.tars, splits or {})
    names = _names(files.tars, out)
    prepare(out, overwrite=overwrite)
    with alone_in(out, OR_ELSEWHERE):
        paths = sorted(files.tars, key=lambda path: (SPLITS.index(split_of[path]), names[path]))
        found = dict(zip(paths, _read(meaning, paths, workers or cores(), progress), strict=True))
        findings = _findings({names[path]: tar for path, tar in found.items()}, files.packed)
        _check(list(found.values()), meaning, findings)
        readable = {path: tar for path, tar in found.items() if tar.rows}
        used, curated = _curated(readable, names, split_of, dedup, no_leak)
        findings += curated.findings
        shards = [
            Shard(names[path], split_of[path], len(tar.rows), tar.bytes, tar.sha256)
            for path, tar in used.items()
        ]
        return _write(out, shards, list(used.values()), findings, {"tars": len(found)} | curated.facts)


def _curated(
    found: Mapping[Path, Tar],
    names: Mapping[Path, str],
    split_of: Mapping[Path, str],
    dedup: Dedup,
    no_leak: bool,
) -> tuple[dict[Path, Tar], Curated]:
    """What stays of the samples of tars, and what was found in them all."""
    samples = [
        Sample(split_of[path], int(row["label"]), f"{names[path]}: {key}", {})
        for path, tar in found.items()
        for key, row in zip(tar.keys, tar.rows, strict=True)
    ]
    prints = np.array([each for tar in found.values() for each in tar.prints], FINGERPRINT)
    curated = curate(samples, {}, prints, dedup=dedup, no_leak=no_leak, what="samples")
    if not len(curated.kept):
        raise InputError(f"no sample of the {len(found)} tars can be used: all their pictures are constant")
    kept, first, used = set(curated.kept.tolist()), 0, {}
    for path, tar in found.items():
        those = [at for at in range(len(tar.rows)) if first + at in kept]
        first += len(tar.rows)
        if those:
            used[path] = tar.only(those)
    return used, curated


def _names(tars: Sequence[Path], out: Path) -> dict[Path, str]:
    """The names of the tars in the index, which are the ways to them from its folder."""
    names = {path: os.path.relpath(path, out.resolve()).replace(os.sep, "/") for path in tars}
    for name in names.values():
        if not name.isprintable():
            raise InputError(
                f"the path {name!a} has characters that cannot be printed, which no index can name: "
                "rename that file or its folder"
            )
    return names


def _label_of_number(name: str) -> int | None:
    label = expression_label(name)
    if label is None and name != DROP:
        raise InputError(f"--numbers has {name!r}, which is no class{nearest(name, (*EXPRESSIONS, DROP))}")
    return label


def _read(meaning: Meaning, paths: Sequence[Path], workers: int, progress: Progress) -> list[Tar]:
    total, done, found = sum(path.stat().st_size for path in paths), 0, []
    for tar in spread(index_one, meaning, paths, workers):
        found.append(tar)
        done += tar.bytes
        progress(done, total)
    return found


def _findings(found: Mapping[str, Tar], packed: Sequence[str]) -> list[Finding]:
    """The troubles of all tars by their reasons; `found` has the tars by their names in the index."""
    origins = defaultdict(list, {PACKED: list(packed)} if packed else {})
    for name, tar in found.items():
        for reason, where in tar.troubles:
            origins[reason].append(f"{name}: {where}")
        if not tar.rows:
            origins[EMPTY].append(name)
    return [
        Finding(reason, ACTIONS.get(reason, LEFT_OUT), where, "places")
        for reason, where in sorted(origins.items())
    ]


def _check(found: Sequence[Tar], meaning: Meaning, findings: Sequence[Finding]) -> None:
    """Raises InputError where no sample can be used, or no sample has a field that was asked for."""
    samples = sum(len(tar.rows) for tar in found)
    if not samples:
        reasons = "; ".join(f"{each.reason}: {len(each.origins)}" for each in findings)
        raise InputError(f"no sample of the {len(found)} tars can be used: {reasons}")
    lacking = Counter(reason for tar in found for reason, _ in tar.troubles)
    fields = sorted({name for tar in found for name in tar.fields})
    for flag, name, reason in (
        ("--label-field", meaning.label_field, NO_LABEL_FIELD),
        ("--identity-field", meaning.identity_field, NO_IDENTITY_FIELD),
    ):
        if lacking[reason] >= samples:
            raise InputError(
                f"no .json of the {len(found)} tars has the field {flag} {name}{nearest(name, fields)}"
            )


def _write(
    out: Path,
    shards: Sequence[Shard],
    tars: Sequence[Tar],
    findings: Sequence[Finding],
    facts: dict[str, int],
) -> dict[str, object]:
    places = np.concatenate([tar.places for tar in tars])
    places["identity"] = _identities([person for tar in tars for person in tar.people])
    sizes = np.array([size for tar in tars for size in tar.sizes])
    report = report_of(SOURCE, facts, shards, places, findings)
    (out / INDEX_NAME).unlink(missing_ok=True)  # an index of earlier, which the new places would not fit
    write_file(out / REPORT_NAME, to_text(report).encode())
    return write_index(
        out,
        source=SOURCE,
        resolution=common_side(sizes[:, 0], sizes[:, 1], None),
        channels=max(tar.channels for tar in tars),
        crop=None,
        shards=shards,
        places=places,
    )


def _identities(people: Sequence[Person]) -> list[int]:
    """The people as they are where all are numbers, else their places in the order of their names."""
    known = {person for person in people if person is not None}
    if all(isinstance(person, int) and abs(person) < 2**63 for person in known):
        return [NOBODY if person is None else person for person in people]
    numbers = {name: number for number, name in enumerate(sorted({str(person) for person in known}))}
    return [NOBODY if person is None else numbers[str(person)] for person in people]

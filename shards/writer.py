"""Writes a source as shards, the same bytes on every build and with any number of workers."""

import contextlib
import json
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.machine import cores
from shards.archive import Plan, write_atomically, write_shard
from shards.documents import to_text
from shards.report import class_counts, report_of
from shards.schema import INDEX_NAME, REPORT_NAME, SCHEMA, SPLITS, Progress, Source, no_progress, shard_name

UNFINISHED = "free some space there or choose another --out; without index.json it counts as unfinished"


def check_numbers(*, seed: int, samples_per_shard: int, workers: int) -> None:
    """Raises InputError for numbers that no build can work with."""
    if seed < 0:
        raise InputError(f"--seed is 0 or more, not {seed}")
    if samples_per_shard < 1:
        raise InputError(f"--samples-per-shard is 1 or more, not {samples_per_shard}")
    if workers < 1:
        raise InputError(f"--workers is 1 or more, not {workers}")


def prepare(out: Path, *, overwrite: bool = False) -> None:
    """Makes the output folder and proves that it can be written to.

    Raises InputError where it cannot, or where a finished data set stands there and is not to go.
    """
    with _disk_trouble_told(out, "choose another --out"):
        if (out / INDEX_NAME).exists() and not overwrite:
            raise InputError(
                f"{out} holds a finished data set: pass --overwrite to replace it, or another --out"
            )
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f"{INDEX_NAME}.tmp"
        try:
            probe.write_bytes(b"{}")
        finally:
            probe.unlink(missing_ok=True)


def build(
    source: Source,
    out: Path,
    *,
    seed: int = 0,
    samples_per_shard: int = 512,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, object]:
    """Writes every sample of the source to the folder `out` and returns the index written there.

    The seed decides the order of the samples, `samples_per_shard` is the most a shard holds, and
    `workers` processes share the work (default: one per core); the bytes depend only on the first two.
    `progress` is called with the numbers of samples written and in all.
    Raises InputError where the numbers make no sense or the folder or its disk cannot take the shards.
    """
    workers = cores() if workers is None else workers
    check_numbers(seed=seed, samples_per_shard=samples_per_shard, workers=workers)
    plans = plan_shards(source, seed=seed, samples_per_shard=samples_per_shard)
    prepare(out, overwrite=overwrite)
    with _disk_trouble_told(out, UNFINISHED):
        _clear(source.name, out)
        records, done = [], 0
        for record in _write_all(source, out, plans, min(workers, len(plans))):
            records.append(record)
            done += record["samples"]
            progress(done, len(source.samples))
        index = _index(source, records)
        write_atomically(out / REPORT_NAME, to_text(report_of(source)).encode())
        write_atomically(out / INDEX_NAME, to_text(index).encode())
    return index


def plan_shards(source: Source, *, seed: int, samples_per_shard: int) -> list[Plan]:
    """The shards to write, in order."""
    places = np.array([SPLITS.index(sample.split) for sample in source.samples], dtype=np.int64)
    plans = []
    for place, split in enumerate(SPLITS):
        members = np.flatnonzero(places == place)
        # Raw draws, because numpy promises those of a bit generator to stay the same.
        order = np.argsort(np.random.PCG64([seed, place]).random_raw(len(members)), kind="stable")
        first = 0
        for number, part in enumerate(_equal_parts(members[order], samples_per_shard)):
            plans.append(Plan(shard_name(source.name, split, number), split, first, part))
            first += len(part)
    return plans


def _equal_parts(positions: np.ndarray, at_most: int) -> list[np.ndarray]:
    parts = 1
    while len(positions) > parts * at_most:
        parts *= 2
    # No shard may be empty, so with next to one sample per shard there are fewer, fuller ones.
    while parts > max(len(positions), 1):
        parts //= 2
    return np.array_split(positions, parts) if len(positions) else []


def _write_all(source: Source, out: Path, plans: list[Plan], workers: int) -> Iterator[dict[str, object]]:
    if workers <= 1:
        for plan in plans:
            yield write_shard(source, out, plan)
        return
    with ProcessPoolExecutor(workers, initializer=_take_job, initargs=(source, out)) as pool:
        yield from pool.map(_write_planned, plans)


_job: tuple[Source, Path]  # what a worker process writes, sent to it once rather than with every shard


def _take_job(source: Source, out: Path) -> None:
    global _job
    _job = source, out
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer


def _write_planned(plan: Plan) -> dict[str, object]:
    return write_shard(*_job, plan)


def _index(source: Source, records: list[dict[str, object]]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "source": source.name,
        "resolution": source.resolution,
        "channels": source.channels,
        "classes": list(EXPRESSIONS),
        "splits": class_counts(source),
        "shards": records,
    }


def _clear(source_name: str, out: Path) -> None:
    """Takes an earlier build away, index first, so that a folder without one is never taken for whole."""
    names = _indexed_names(out / INDEX_NAME)
    for stale in (INDEX_NAME, REPORT_NAME):
        (out / stale).unlink(missing_ok=True)
    unfinished = re.compile(rf"{source_name}-({'|'.join(SPLITS)})-\d{{6}}\.tar(\.tmp)?")
    for path in list(out.iterdir()):
        if path.name in names or unfinished.fullmatch(path.name):
            path.unlink()


def _indexed_names(index: Path) -> set[str]:
    try:
        return {shard["name"] for shard in json.loads(index.read_bytes())["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # a broken index names nothing; it is about to be replaced


@contextlib.contextmanager
def _disk_trouble_told(out: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write shards to {out} ({error.strerror or error}): {advice}") from error

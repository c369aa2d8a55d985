"""Builds a data set from a source: gather, curate, pack; the same bytes with any number of workers.

A build that was interrupted goes on where it was: pictures that were read are not read again. Shards are
packed again, which tells where their samples lie, but those that lie there whole are not written again.
What it needs for that lies in a folder `unfinished`, which goes when it is done.
"""

import contextlib
import errno
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fes.errors import InputError
from fes.files import make_folder, write_file
from fes.machine import cores
from shards.build.alone import alone_in
from shards.build.archive import Plan, Work, write_shard
from shards.build.curation import Curated, Dedup, curate
from shards.build.gather import Gathered, gather, is_begun, stamp_of, start_over_where_other
from shards.build.report import report_of
from shards.build.sizes import common_side, size_findings
from shards.catalogue import Shard, parse_index, write_index
from shards.documents import to_text
from shards.schema import (
    INDEX_NAME,
    PLACES_NAME,
    REPORT_NAME,
    SHARD_NAME,
    SPLITS,
    Crop,
    Progress,
    Sample,
    Source,
    no_progress,
    shard_name,
)
from shards.workers import spread

UNFINISHED_NAME, OWNED_NAME = "unfinished", "shards.json"
OR_ELSEWHERE = " or choose another --out"
Labeller = Callable[[Sequence[Sample], Gathered, Crop | None, Progress], Sequence[Sample]]
"""Gives classes to samples that have none; returns all samples."""
Stages = Callable[[str], AbstractContextManager[Progress]]
"""Opens a display for a stage of a build: "reading", say."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How a source becomes shards."""

    seed: int = 0
    """Decides the order of the samples."""
    samples_per_shard: int = 512
    """The most samples in a shard; every split gets the fewest shards that allow it, 1, 2, 4, 8, ..."""
    workers: int = field(default_factory=cores)
    """Processes that share the work; the shards are the same for any number."""
    overwrite: bool = False
    """Replace the finished data set in the output folder."""
    dedup: Dedup = "none"
    """What stays of pictures that occur more than once: all (none), one of all exact copies (exact), or one
    of all that look the same (near): that in test, else that in valid, else that in train."""
    no_leak: bool = False
    """Drop training samples whose picture stands in valid or test; with --dedup near, also if only nearly."""

    def check(self) -> None:
        """Raises InputError for numbers that no build can work with."""
        if self.seed < 0:
            raise InputError(f"--seed is 0 or more, not {self.seed}")
        if self.samples_per_shard < 1:
            raise InputError(f"--samples-per-shard is 1 or more, not {self.samples_per_shard}")
        if self.workers < 1:
            raise InputError(f"--workers is 1 or more, not {self.workers}")


def prepare(out: Path, *, overwrite: bool = False) -> None:
    """Makes the output folder and proves that it can be written to.

    Raises InputError where it cannot, or where a finished data set stands there and is not to go.
    """
    if (out / INDEX_NAME).exists() and not overwrite:
        raise InputError(f"{out} holds a finished data set: pass --overwrite to replace it, or another --out")
    make_folder(out)


def refuse_other_tars(out: Path) -> None:
    """Raises InputError where tars lie in the folder that no build has put there: it is not to touch them."""
    others = sorted(path.name for path in out.glob("*.tar") if path.name not in _owned(out))
    if others:
        raise InputError(
            f"{out} holds tars that no build has put there ({others[0]}): choose an empty folder as --out"
        )


@contextlib.contextmanager
def untold(stage: str) -> Iterator[Progress]:
    """Tells nobody of a stage."""
    yield no_progress


def build(
    source: Source,
    out: Path,
    options: BuildOptions | None = None,
    *,
    label: Labeller | None = None,
    stages: Stages = untold,
) -> dict[str, object]:
    """Writes a source's samples to the folder `out` and returns the index written there.

    `label` may give classes to samples without one. `stages` shows how far each stage is, in samples.
    Raises InputError where the options make no sense, no picture can be used, or the folder or its disk
    cannot take the shards.
    """
    options = options or BuildOptions()
    options.check()
    prepare(out, overwrite=options.overwrite)
    refuse_other_tars(out)
    work = out / UNFINISHED_NAME
    with alone_in(out, OR_ELSEWHERE), _disk_trouble_told(out):
        owned = _owned(out)
        start_over_where_other(work, stamp_of(source))
        _own(out, owned)
        with stages("reading what is left" if is_begun(work) else "reading") as progress:
            gathered = gather(source, work, workers=options.workers, progress=progress)
        samples = source.samples
        if label is not None:
            with stages("labelling") as progress:
                samples = label(samples, gathered, source.crop, progress)
        curated = _curated(source, samples, gathered, options)
        plans = plan_shards(source.name, samples, curated.kept, options)
        _clear(out, {plan.name for plan in plans})
        with stages("writing") as progress:
            written = list(_write_all(Work(samples, gathered, out), plans, options.workers, progress))
        index = _finish(source, out, gathered, curated, written)
        shutil.rmtree(work, ignore_errors=True)
    return index


def _curated(source: Source, samples: Sequence[Sample], gathered: Gathered, options: BuildOptions) -> Curated:
    curated = curate(
        samples,
        gathered.unreadable,
        gathered.records["fingerprint"],
        dedup=options.dedup,
        no_leak=options.no_leak,
        what=source.unit,
    )
    if not len(curated.kept):
        found = [*source.findings, *curated.findings]
        reasons = "; ".join(f"{each.reason}: {len(each.origins)} {each.unit}" for each in found)
        raise InputError(f"no sample of {source.name} can be used: {reasons or 'the source is empty'}")
    return curated


def plan_shards(
    source_name: str, samples: Sequence[Sample], kept: np.ndarray, options: BuildOptions
) -> list[Plan]:
    """The shards to write, in order; `kept` are the int64 positions of the samples that go into them."""
    split_of = np.array([SPLITS.index(samples[at].split) for at in kept.tolist()], dtype=np.int64)
    plans = []
    for place, split in enumerate(SPLITS):
        members = kept[split_of == place]
        # Raw draws, because numpy promises those of a bit generator to stay the same.
        order = np.argsort(np.random.PCG64([options.seed, place]).random_raw(len(members)), kind="stable")
        first = 0
        for number, part in enumerate(_equal_parts(members[order], options.samples_per_shard)):
            plans.append(Plan(shard_name(source_name, split, number), split, first, part))
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


def _write_all(
    work: Work, plans: list[Plan], workers: int, progress: Progress
) -> Iterator[tuple[Shard, np.ndarray]]:
    done, total = 0, sum(len(plan.positions) for plan in plans)
    for shard, places in spread(write_shard, work, plans, workers):
        yield shard, places
        done += shard.samples
        progress(done, total)


def _finish(
    source: Source,
    out: Path,
    gathered: Gathered,
    curated: Curated,
    written: list[tuple[Shard, np.ndarray]],
) -> dict[str, object]:
    shards = [shard for shard, _ in written]
    places = np.concatenate([rows for _, rows in written])
    kept = gathered.records[curated.kept]
    side = common_side(kept["width"], kept["height"], source.crop)
    origins = [source.samples[at].origin for at in curated.kept.tolist()]
    findings = [*source.findings, *curated.findings, *size_findings(kept, origins, source.crop, side)]
    facts = source.facts | curated.facts | {"pictures_remade_as_png": int(kept["remade"].sum())}
    report = report_of(source.name, facts, shards, places, findings, source.warnings)
    write_file(out / REPORT_NAME, to_text(report).encode())
    return write_index(
        out,
        source=source.name,
        resolution=side,
        channels=int(kept["channels"].max()),
        crop=source.crop,
        shards=shards,
        places=places,
    )


def _owned(out: Path) -> set[str]:
    """The names of the shards that a build before this one has put into the folder, finished or not."""
    with contextlib.suppress(OSError, ValueError):
        return set(json.loads((out / UNFINISHED_NAME / OWNED_NAME).read_bytes()))
    with contextlib.suppress(OSError, InputError):
        shards = parse_index((out / INDEX_NAME).read_bytes(), str(out)).shards
        return {shard.name for shard in shards if SHARD_NAME.fullmatch(shard.name)}
    return set()


def _own(out: Path, names: set[str]) -> None:
    write_file(out / UNFINISHED_NAME / OWNED_NAME, json.dumps(sorted(names)).encode())


def _clear(out: Path, planned: set[str]) -> None:
    """Takes away what an earlier build left there, index first, but not the shards that are planned."""
    owned = _owned(out)
    _own(out, owned | planned)
    for name in (INDEX_NAME, REPORT_NAME, PLACES_NAME, *(owned - planned)):
        (out / name).unlink(missing_ok=True)
    for name in owned | planned:
        (out / f".{name}.partial").unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_trouble_told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "free some space there" if full else "see to that and give the same command again,"
        raise InputError(
            f"cannot write shards to {out} ({error.strerror or error}): {mend} or choose another --out; "
            "without index.json it counts as unfinished"
        ) from error

"""Finds every place where a folder of shards is not what its index says."""

import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fes.errors import InputError
from shards.build.alone import is_written
from shards.build.archive import sha256_of
from shards.build.sizes import common_side
from shards.build.writer import UNFINISHED_NAME
from shards.catalogue import Catalogue, counts_of
from shards.checks.check import Checked, Fault, Part, Terms, check_shard
from shards.checks.staging import STAGING_NAME, has_journal
from shards.checks.walk import LABELS
from shards.documents import read_document
from shards.foreign.indexing import SOURCE as FOREIGN
from shards.index import Folder, ShardIndex
from shards.schema import (
    INDEX_NAME,
    PLACE,
    PLACES_NAME,
    REPORT_NAME,
    SPLITS,
    Crop,
    Progress,
    no_progress,
    shard_name,
)
from shards.workers import spread

RUNNING = "a build, an index or a repair that is running: check again when it has ended"


def verify(folder: Path, *, workers: int = 1, progress: Progress = no_progress) -> list[Fault]:
    """All faults of a folder of shards: first those of the folder and its index, then shard by shard.

    Compares every byte with the index and decodes every picture, a shard in each worker at a time.
    `progress` is called with the numbers of samples looked at and in all.
    Raises InputError where the folder holds no index that can be read.
    """
    folder = Path(folder)
    refuse_half_repaired(folder)
    catalogue = _catalogue_of(folder)
    rows, trouble = read_places(folder, catalogue)
    faults = [*_index_faults(catalogue, rows, trouble), *_left_overs(folder, catalogue)]
    terms, parts = Terms(folder, is_own(catalogue)), parts_of(catalogue, rows)
    done, sizes = 0, []
    for shard, found in zip(catalogue.shards, spread(_checked, terms, parts, workers), strict=True):
        faults += [found] if isinstance(found, Fault) else found.faults
        sizes += [] if isinstance(found, Fault) else [found.sizes]
        done += shard.samples
        progress(done, catalogue.samples)
    if terms.own:
        faults += _statement_faults(catalogue, np.concatenate(sizes)) if sizes else []
    return faults


def _catalogue_of(folder: Path) -> Catalogue:
    try:
        return ShardIndex(str(folder), Folder(folder)).catalogue
    except InputError as error:
        if is_written(folder):
            raise InputError(f"{folder} is changed by {RUNNING}") from error
        if not strays(folder, []) or (folder / UNFINISHED_NAME).exists():
            raise
        way_out = f"`fes-shards verify --repair {folder}` makes the index anew from the shards"
        raise InputError(f"{error}; {way_out}, where they are ours") from error


def refuse_half_repaired(folder: Path) -> None:
    """Raises InputError where a repair was interrupted that can only go on, or is going on."""
    if has_journal(folder):
        if is_written(folder):
            raise InputError(f"{folder} is changed by {RUNNING}")
        raise InputError(
            f"a repair of {folder} was interrupted: `fes-shards verify --repair {folder}` finishes it"
        )


def is_own(catalogue: Catalogue) -> bool:
    """Whether the shards are of our own making, and not indexed where others had put them."""
    return catalogue.source != FOREIGN


def parts_of(catalogue: Catalogue, rows: np.ndarray | None) -> list[Part]:
    """The shards of a data set; `rows` is an array of `PLACE`, or None where they are not to be trusted."""
    parts, firsts, start = [], dict.fromkeys(SPLITS, 0), 0
    for shard in catalogue.shards:
        end = start + shard.samples
        its_own = None if rows is None else rows[start:end]
        parts.append(Part(shard.name, shard.split, firsts[shard.split], its_own, shard.bytes, shard.sha256))
        firsts[shard.split] += shard.samples
        start = end
    return parts


def read_places(folder: Path, catalogue: Catalogue) -> tuple[np.ndarray | None, str]:
    """The rows of index.npy, an array of `PLACE`; or None and why they are not to be trusted."""
    path = folder / PLACES_NAME
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None, "is no file"
        if path.stat().st_size != catalogue.places_bytes or sha256_of(path) != catalogue.places_sha256:
            return None, f"is not the file that {INDEX_NAME} tells of"
        rows = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    except Exception as error:  # numpy meets damage with a dozen kinds of exception
        return None, f"is no array ({error})"
    if rows.dtype != PLACE or rows.shape != (catalogue.samples,):
        return None, f"holds no array of {catalogue.samples} samples"
    if not np.isin(rows["label"], list(LABELS)).all():
        return None, "holds labels that are no class"
    return np.asarray(rows), ""


def _checked(terms: Terms, part: Part) -> Checked | Fault:
    try:
        return check_shard(terms, part)
    except OSError as error:
        return Fault(part.name, None, None, f"cannot be read ({error.strerror})")


def _index_faults(catalogue: Catalogue, rows: np.ndarray | None, trouble: str) -> list[Fault]:
    if rows is None:
        return [Fault(PLACES_NAME, None, None, trouble)]
    faults = []
    counts = counts_of(catalogue.shards, rows)
    stated = {split: told for split, told in catalogue.splits.items() if split in counts or told}
    if counts != stated:
        differing = [name for name in sorted({*counts, *stated}) if counts.get(name) != stated.get(name)]
        trouble = f"its counts are not those of its samples: {', '.join(differing)}"
        faults.append(Fault(INDEX_NAME, None, None, trouble))
    if not crop_fits(catalogue.crop):
        faults.append(Fault(INDEX_NAME, None, None, "its crop is not inside of the picture"))
    return faults + _name_faults(catalogue)


def _name_faults(catalogue: Catalogue) -> list[Fault]:
    """Shards of ours are called as their source, their split and their number say."""
    if not is_own(catalogue):
        return []
    numbers, faults = dict.fromkeys(SPLITS, 0), []
    for shard in catalogue.shards:
        expected = shard_name(catalogue.source, shard.split, numbers[shard.split])
        numbers[shard.split] += 1
        if shard.name != expected:
            faults.append(Fault(INDEX_NAME, None, None, f"names {shard.name!r} where {expected} belongs"))
    return faults


def _left_overs(folder: Path, catalogue: Catalogue) -> list[Fault]:
    """What lies in the folder and should not."""
    faults = []
    for path in strays(folder, [shard.name for shard in catalogue.shards]) if is_own(catalogue) else []:
        trouble = "is not in the index; remove it, or readers of *.tar will use it"
        faults.append(Fault(path.name, None, None, trouble))
    written = is_written(folder)
    for path in left_behind(folder):
        trouble = "was left behind by a program that was stopped; nothing needs it"
        trouble = f"is of {RUNNING}" if written else trouble
        faults.append(Fault(path.name, None, None, trouble, note=True))
    if (folder / REPORT_NAME).exists() and not report_readable(folder):
        faults.append(Fault(REPORT_NAME, None, None, "is damaged; the samples do not need it", note=True))
    return faults


def strays(folder: Path, names: Sequence[str]) -> list[Path]:
    """The tars in a folder that are none of these shards."""
    return sorted(path for path in folder.glob("[!.]*.tar") if path.name not in names)


def left_behind(folder: Path) -> list[Path]:
    """What an interrupted build or repair has left in a folder."""
    folders = [folder / UNFINISHED_NAME, folder / STAGING_NAME]
    return [*sorted(folder.glob(".*.partial")), *(path for path in folders if path.exists())]


def report_readable(folder: Path) -> bool:
    """Whether report.json is a document."""
    try:
        return bool(read_document(folder / REPORT_NAME, ""))
    except (InputError, RecursionError):
        return False


def _statement_faults(catalogue: Catalogue, sizes: np.ndarray) -> list[Fault]:
    """Whether the pictures are of the size and kind that the index states; `sizes` as in `Checked`.

    That cannot be said where some are damaged.
    """
    if len(sizes) != catalogue.samples or not sizes.all():
        return []
    found = {
        "resolution": common_side(sizes[:, 0], sizes[:, 1], catalogue.crop),
        "channels": int(sizes[:, 2].max()),
    }
    stated = {"resolution": catalogue.resolution, "channels": catalogue.channels}
    return [
        Fault(INDEX_NAME, None, None, f"states {name} {stated[name]}, and its pictures have {found[name]}")
        for name in found
        if found[name] != stated[name]
    ]


def crop_fits(crop: Crop | None) -> bool:
    """Whether a crop lies in the picture that it tells the size of."""
    return crop is None or crop.fits

"""Reads the Toronto Face Database: TFD_48x48.mat or TFD_96x96.mat, of any version of MATLAB from 5 on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.schema import NOBODY, Crop, Finding, Picture, Progress, Sample, no_progress
from shards.sources.matlab import FileArray, Stored, damage_told, open_mat, parts, size_of

VARIABLES = ("images", "labs_ex", "labs_id", "folds")
NEEDED = ("images", "labs_ex")
FOLDS = range(1, 6)
SIDES = range(8, 1025)
SPLIT_OF_FOLD = np.array(["train", "train", "valid", "test"])
SPLIT_OF_SWAPPED_FOLD = np.array(["train", "train", "test", "valid"])
EXPECTED = "give TFD_48x48.mat or TFD_96x96.mat of the Toronto Face Database"

UNKNOWN_LABEL = f"labs_ex other than 1..{len(EXPRESSIONS)} and {UNLABELLED}"
UNKNOWN_FOLD = "folds other than 0..3"
BAD_PIXELS = "pixel that is no number, or out of the range of the other pictures"
LEFT_OUT = "labelled row that the fold leaves out (0)"
UNLABELLED_IN_FOLD = "row without a label that the fold puts in train, valid or test"
NO_FOLDS = "row without a split (the file has no variable folds)"
BAD_IDENTITY = "labs_id that is no whole number from -1 on"
NO_IDENTITIES = "row without an identity (the file has no variable labs_id)"
DROPPED, KEPT_IN_TRAIN, KEPT_UNKNOWN = "dropped", "kept in train", "kept without an identity"


@dataclass
class TfdSource:
    """A `Source` of the pictures in the given rows of a .mat file, numbered from 0.

    `pictures`, uint8 [width, height, rows of the file], stay in the file where they are not packed there.
    Else they are unpacked once: forked processes share them, others unpack their own.
    """

    path: Path
    rows: np.ndarray
    samples: list[Sample]
    findings: list[Finding]
    facts: dict[str, int]
    stamp: str
    name: str = "tfd"
    crop: Crop | None = None
    unit: str = "rows"
    warnings: Sequence[str] = ()
    pictures: np.ndarray | FileArray | None = field(default=None, repr=False)

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The pictures of `samples` at these positions, each uint8 [height, width, 1].

        Raises InputError where the file can no longer be read.
        """
        if self.pictures is None:
            with open_mat(self.path, VARIABLES) as file:
                self.pictures, _ = _pictures(file.wanted["images"], self.path, no_progress)
        rows, pictures = self.rows[list(positions)], self.pictures
        if not len(rows):
            return []
        if isinstance(pictures, FileArray):
            with damage_told(self.path):
                pictures = pictures.last(rows.min(), rows.max() + 1)
            rows = rows - rows.min()
        return [*np.ascontiguousarray(pictures.T[rows])[:, :, :, None]]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | ({"pictures": None} if isinstance(self.pictures, np.ndarray) else {})


def read_tfd(path: Path, *, fold: int, swapped: bool = False, progress: Progress = no_progress) -> TfdSource:
    """The pictures of a .mat file with `images` and `labs_ex`, and normally `labs_id` and `folds`:

    images   N x side x side, of whole numbers in 0..255, or of floats in either 0..255 or 0..1
    labs_ex  N x 1, the classes as 1..7 in the order of `EXPRESSIONS`; -1 where there is none
    labs_id  N x 1, who it is; -1 where that is not known
    folds    N x 5, five ways to split, of which `fold` (1 to 5) chooses one: 1, 2 and 3 are train, valid and
             test, or with `swapped` train, test and valid; 0 is the unlabelled part, which goes to train

    Rows with other labels, folds or pixels are dropped. A labelled row with 0 in its fold goes to train with
    its label, an unlabelled one with 1, 2 or 3 where the fold says. All are in the findings, numbered from 1.
    `progress` is called with the parts of the pictures read and in all.
    Raises InputError where the file cannot be read or holds something else, or no row can be used.
    """
    path = Path(path)
    if fold not in FOLDS:
        raise InputError(f"--fold is {FOLDS[0]} to {FOLDS[-1]}, not {fold}")
    with open_mat(path, VARIABLES) as file:
        with damage_told(path):
            status = path.stat()
        _check(file.wanted, file.listed, path)
        table = _Table.of(file.wanted, fold, path)
        pictures, fits = _pictures(file.wanted["images"], path, progress)
    used, findings = table.judge(fits)
    if not used.any():
        reasons = "; ".join(f"{finding.reason}: {len(finding.origins)} rows" for finding in findings)
        raise InputError(f"no row of {path} can be used: {reasons}")
    rows = np.flatnonzero(used)
    return TfdSource(
        path=path,
        rows=rows,
        samples=table.samples(rows, SPLIT_OF_SWAPPED_FOLD if swapped else SPLIT_OF_FOLD),
        findings=findings,
        facts={"rows_read": len(used)},
        stamp=f"{path.name} {status.st_size} {status.st_mtime_ns}",
        pictures=pictures,
    )


def _check(variables: Mapping[str, Stored], listed: str, path: Path) -> None:
    if not all(name in variables for name in NEEDED):
        raise InputError(f"{path} holds {listed}, but not images and labs_ex as numbers: {EXPECTED}")
    shape = variables["images"].shape
    if len(shape) != 3 or shape[0] != shape[1] or shape[0] not in SIDES or not shape[2]:
        raise InputError(f"{path} holds {listed}: images should be N x 48 x 48 or N x 96 x 96; {EXPECTED}")


@dataclass(frozen=True)
class _Table:
    """What the file tells of its rows, float64 [rows] each; None where it has no such variable."""

    labels: np.ndarray
    identities: np.ndarray | None
    folds: np.ndarray | None

    @classmethod
    def of(cls, variables: Mapping[str, Stored], fold: int, path: Path) -> "_Table":
        labels, identities, folds = (_columns(variables, name, path) for name in VARIABLES[1:])
        if folds is not None and len(folds) < fold:
            raise InputError(f"folds of {path} has no column {fold}: choose --fold 1 to {len(folds)}")
        return cls(
            labels[0],
            None if identities is None else identities[0],
            None if folds is None else folds[fold - 1],
        )

    def judge(self, fits: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
        """Which rows can be used, bool [rows], and all that was found; `fits` says it of their pictures."""
        labelled = np.isin(self.labels, range(1, len(EXPRESSIONS) + 1))
        labels_known = labelled | (self.labels == UNLABELLED)
        folds = labelled.astype(np.int64) if self.folds is None else self.folds
        folds_known = np.isin(folds, range(len(SPLIT_OF_FOLD)))
        used = labels_known & folds_known & fits
        identities_known = self.identities is None or _are_identities(self.identities)
        found = [
            (UNKNOWN_LABEL, DROPPED, ~labels_known),
            (UNKNOWN_FOLD, DROPPED, labels_known & ~folds_known),
            (BAD_PIXELS, DROPPED, labels_known & folds_known & ~fits),
            (LEFT_OUT, KEPT_IN_TRAIN, used & labelled & (folds == 0)),
            (UNLABELLED_IN_FOLD, "kept there unlabelled", used & ~labelled & (folds != 0)),
            (NO_FOLDS, KEPT_IN_TRAIN, used & (self.folds is None)),
            (BAD_IDENTITY, KEPT_UNKNOWN, used & np.logical_not(identities_known)),
            (NO_IDENTITIES, KEPT_UNKNOWN, used & (self.identities is None)),
        ]
        findings = [
            Finding(reason, action, (np.flatnonzero(at) + 1).tolist()) for reason, action, at in found
        ]
        return used, [finding for finding in findings if finding.origins]

    def samples(self, rows: np.ndarray, split_of: np.ndarray) -> list[Sample]:
        """The samples that usable rows become; `split_of` names the split of each number of a fold."""
        labels = np.where(self.labels[rows] == UNLABELLED, UNLABELLED, self.labels[rows] - 1)
        folds = np.zeros(len(rows)) if self.folds is None else self.folds[rows]
        told = np.full(len(rows), NOBODY) if self.identities is None else self.identities[rows]
        identities = np.where(_are_identities(told), told, NOBODY)
        return [
            Sample(split, label, row, {"row": row} | ({} if who == NOBODY else {"identity": who}), who)
            for split, label, row, who in zip(
                split_of[folds.astype(np.int64)].tolist(),
                labels.astype(np.int64).tolist(),
                (rows + 1).tolist(),
                identities.astype(np.int64).tolist(),
                strict=True,
            )
        ]


def _are_identities(values: np.ndarray) -> np.ndarray:
    return (values >= NOBODY) & (values < 2**53) & (values == np.floor(values))


def _columns(variables: Mapping[str, Stored], name: str, path: Path) -> np.ndarray | None:
    """A variable with one number for every row, or several, as float64 [columns, rows]."""
    if name not in variables:
        return None
    stored, rows = variables[name], variables["images"].shape[-1]
    shape = stored.shape
    if rows not in shape or len(shape) > 2 or (name != "folds" and math.prod(shape) != rows):
        raise InputError(
            f"{name} of {path} is {size_of(stored)} where images is {size_of(variables['images'])}: "
            f"it should have a row for every picture; {EXPECTED}"
        )
    with damage_told(path):
        values = np.asarray(stored[:], np.float64)
    return values.reshape(-1, rows) if shape[-1] == rows else values.reshape(rows, -1).T


def _pictures(stored: Stored, path: Path, progress: Progress) -> tuple[np.ndarray | FileArray, np.ndarray]:
    """The variable `images` as uint8 [width, height, N], and which of its pictures fit, bool [N]."""
    fits, scale = np.ones(stored.shape[-1], np.bool_), 1
    if stored.dtype != np.uint8:
        fits, scale = _fitting(stored, path)
    elif isinstance(stored, np.ndarray | FileArray):
        return stored, fits
    pixels = np.empty(stored.shape, np.uint8)
    for part in parts(stored):
        values = _read(stored, part, path)
        pixels[part] = values if values.dtype == np.uint8 else np.rint(np.where(fits, values, 0) * scale)
        progress(part.stop, len(pixels))
    return pixels, fits


def _fitting(stored: Stored, path: Path) -> tuple[np.ndarray, int]:
    """Which pictures are in the range of most, bool [N], and what their numbers times it make 0..255."""
    low, high = np.inf, -np.inf
    for part in parts(stored):
        values = _read(stored, part, path)
        low, high = np.minimum(low, values.min(axis=(0, 1))), np.maximum(high, values.max(axis=(0, 1)))
    top = 1 if stored.dtype.kind == "f" and np.mean(high <= 1) > 0.5 else 255
    fits = (low >= 0) & (high <= top)
    if np.mean(fits) <= 0.5:
        raise InputError(
            f"images of {path} holds numbers from {np.fmin.reduce(low):g} to {np.fmax.reduce(high):g}: "
            f"those of a picture lie in 0..255, or in 0..1; {EXPECTED}"
        )
    return fits, 255 // top


def _read(stored: Stored, part: slice, path: Path) -> np.ndarray:
    with damage_told(path):
        return stored[part]

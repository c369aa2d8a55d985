"""Reads CelebA, aligned and cropped, as it is handed around: a zip, folders or parquet files, and lists."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fes.errors import InputError
from fes.expressions import UNLABELLED
from shards.documents import printable
from shards.pictures import PICTURE_SUFFIXES
from shards.schema import NOBODY, Crop, Finding, Picture, Progress, Sample, Unreadable, no_progress
from shards.sources.celeba_lists import USUAL_NAMES, Key, Kind, PictureList, Told, listed_as, read_list
from shards.sources.compressed import BYTE_ORDER_MARK, open_csv
from shards.sources.files_in import FilesIn, files_in, suffix_of_name
from shards.sources.parquet import ParquetFiles, read_told

WIDTH, HEIGHT = 178, 218
FACE = Crop(WIDTH, HEIGHT, left=25, top=57, side=128)
"""128 x 128 around x 89, y 121: what the progressively grown GANs were trained on."""
ALIGNED = "img_align_celeba"
DEPTH = 3
LIST_FOLDERS = ("", "Anno", "Eval")
EXPECTED = f"give {ALIGNED}.zip, the folder of its pictures, or the parquet files of CelebA"

BAD_ROW = "row of a list that cannot be read"
AGAIN = "row of a list for a picture that an earlier row tells of"
ABSENT = "picture in a list that is not there"
NO_LIST = "list that is not there"
PASSED_OVER = "passed over"
WITHOUT: dict[Kind, tuple[str, str]] = {
    "attributes": ("picture without attributes", "kept without"),
    "identities": ("picture without an identity", "kept, as of an unknown person"),
    "partition": ("picture without a split", "kept in train"),
}


@dataclass
class CelebaSource:
    """A `Source` of picture files: `keys` tells where that of each sample lies in `files`."""

    files: FilesIn | ParquetFiles
    keys: list[Key]
    samples: list[Sample]
    findings: list[Finding]
    facts: dict[str, int]
    crop: Crop
    stamp: str
    name: str = "celeba"
    unit: str = "files"
    warnings: Sequence[str] = ()

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The bytes of the files of `samples` at these positions; `Unreadable` where one is gone."""
        return self.files.read([self.keys[position] for position in positions])


def read_celeba(
    path: Path,
    *,
    attributes: Path | None = None,
    identities: Path | None = None,
    partition: Path | None = None,
    centre: int | None = None,
    progress: Progress = no_progress,
) -> CelebaSource:
    """The pictures of CelebA, without labels, for its attributes are no expressions.

    Args:
        path: img_align_celeba.zip; the folder of its pictures, or one around it; or a parquet file as on
            Hugging Face, or a folder of them, which tell of attributes, people and splits themselves.
        attributes: list_attr_celeba.txt or .csv. Where it is not given it is looked for in the zip, then
            beside the pictures and in the folders around them, there also in Anno and Eval.
        identities: identity_CelebA.txt, looked for likewise.
        partition: list_eval_partition.txt or .csv, looked for likewise.
        centre: the side of the central square to read, 1 to 178, in place of `FACE`.
        progress: is called with the files listed and in all.

    Raises:
        InputError: nothing is there or can be read, or there is no picture.
    """
    crop = FACE if centre is None else _central(centre)
    files, pictures = _pictures(Path(path).absolute(), progress)
    if not pictures:
        raise InputError(f"{path} holds no pictures: {EXPECTED}")
    wanted = {"attributes": attributes, "identities": identities, "partition": partition}
    places = {kind: _place_of(kind, given, files) for kind, given in wanted.items()}
    lists = {kind: _read(kind, place, files) for kind, place in places.items() if place is not None}
    told = [_with_lists(picture, lists) for picture in pictures]
    stamps = [files.stamp, *(_stamp(place) for place in places.values() if isinstance(place, Path))]
    return CelebaSource(
        files=files,
        keys=[picture.key for picture in told],
        samples=[_sample(picture) for picture in told],
        findings=_findings(told, lists),
        facts={"picture_files": len(told), "people": len({picture.identity for picture in told} - {None})},
        crop=crop,
        stamp=hashlib.sha256("\n".join(stamps).encode("utf-8", "surrogateescape")).hexdigest(),
    )


def _central(side: int) -> Crop:
    if not 1 <= side <= WIDTH:
        raise InputError(f"--centre is 1 to {WIDTH}, the width of CelebA's pictures, not {side}")
    return Crop(WIDTH, HEIGHT, (WIDTH - side) // 2, (HEIGHT - side) // 2, side)


def _pictures(path: Path, progress: Progress) -> tuple[FilesIn | ParquetFiles, list[Told]]:
    """Where the pictures are, and what is known of each without lists."""
    where = _locate(path)
    if isinstance(where, list):
        return _in_parquet(where, progress)
    files = files_in(where)
    names = [name for name in files.names if suffix_of_name(name) in PICTURE_SUFFIXES]
    short = [name.rpartition("/")[2] for name in names]
    told = short if len({*short}) == len(short) else names
    progress(len(names), len(names))
    return files, [Told(name, printable(known)) for name, known in zip(names, told, strict=True)]


def _in_parquet(paths: list[Path], progress: Progress) -> tuple[ParquetFiles, list[Told]]:
    columns, pictures = [], []
    for number, path in enumerate(paths):
        column, told = read_told(path, number)
        columns.append(column)
        pictures += told
        progress(number + 1, len(paths))
    return ParquetFiles(tuple(paths), tuple(columns), tuple(map(_stamp, paths))), pictures


def _locate(path: Path) -> Path | list[Path]:
    """The folder that holds the pictures, the zip of them, or the parquet files."""
    if path.suffix == ".parquet" and path.is_file():
        return [path]
    if not path.is_dir():
        return path
    folders, zips, parquets = [], [], []
    for folder, names in _walk(path):
        if any(suffix_of_name(name) in PICTURE_SUFFIXES for name in names):
            folders.append(folder)
        zips += [folder / name for name in names if suffix_of_name(name) == "zip"]
        parquets += [folder / name for name in names if suffix_of_name(name) == "parquet"]
    named, packed = (
        [place for place in places if place.name.startswith(ALIGNED)] for places in (folders, zips)
    )
    if path in named or (path in folders and not named):
        return path
    if parquets and not named:
        return [place for place in parquets if place.is_file()]
    places = next(filter(None, (named, packed, folders, zips)), [path])
    if len(places) > 1:
        told = ", ".join(str(place.relative_to(path)) for place in places[:4])
        raise InputError(f"{path} holds pictures in more than one place ({told}): give one of them")
    return places[0]


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folders from `root` on, and the names of their files; hidden ones aside, links followed."""

    def refuse(error: OSError) -> None:
        raise InputError(
            f"cannot read {error.filename} ({error.strerror}): give a folder that you may read"
        ) from error

    for folder, below, names in os.walk(root, onerror=refuse, followlinks=True):
        deep = len(Path(folder).relative_to(root).parts) == DEPTH
        below[:] = [] if deep else sorted(name for name in below if name[0] != "." and name != "__MACOSX")
        yield Path(folder), sorted(name for name in names if name[0] != ".")


def _place_of(kind: Kind, given: Path | None, files: FilesIn | ParquetFiles) -> Path | str | None:
    """The path of a list, or its name in the zip; None where there is none."""
    if given is not None or not isinstance(files, FilesIn):
        return given if given is None else Path(given)
    usual = USUAL_NAMES[kind]
    inside = sorted(name for name in files.names if files.zipped and name.rpartition("/")[2] in usual)
    if inside:
        return inside[-1]
    around = [files.path, *files.path.parents][: DEPTH + 1]
    paths = (folder / inner / name for folder in around for inner in LIST_FOLDERS for name in usual)
    return next(filter(os.path.isfile, paths), None)


def _read(kind: Kind, place: Path | str, files: FilesIn | ParquetFiles) -> PictureList:
    if isinstance(place, Path):
        with open_csv(place, [place.name.partition(".")[0].lower()]) as csv:
            return read_list(kind, csv.name, csv.rows)
    content = files.read([place])[0]
    if isinstance(content, Unreadable):
        raise InputError(f"cannot read {place} in {files.path} ({content.reason}): fetch the zip again")
    lines = content.removeprefix(BYTE_ORDER_MARK).splitlines()
    return read_list(kind, place, (line.split(b",") for line in lines if line.strip()))


def _with_lists(picture: Told, lists: Mapping[Kind, PictureList]) -> Told:
    def known(kind: Kind, otherwise: object) -> object:
        listed = lists[kind].of(picture.name) if kind in lists else None
        return otherwise if listed is None else listed

    return Told(
        picture.key,
        picture.name,
        known("attributes", picture.attributes),
        known("identities", picture.identity),
        known("partition", picture.split),
    )


def _sample(picture: Told) -> Sample:
    details = {"file": picture.name}
    if picture.identity is not None:
        details["identity"] = picture.identity
    if picture.attributes is not None:
        details["attributes"] = [*picture.attributes]
    identity = NOBODY if picture.identity is None else picture.identity
    return Sample(picture.split or "train", UNLABELLED, picture.name, details, identity)


def _findings(told: list[Told], lists: Mapping[Kind, PictureList]) -> list[Finding]:
    listed = {name for content in lists.values() for name in content.values}
    listed.difference_update(*(listed_as(picture.name) for picture in told))
    rows = [(content.bad, content.again) for content in lists.values()]
    findings = [
        Finding(BAD_ROW, PASSED_OVER, [row for bad, _ in rows for row in bad]),
        Finding(AGAIN, PASSED_OVER, [row for _, again in rows for row in again]),
        Finding(ABSENT, PASSED_OVER, sorted(listed), "pictures"),
    ]
    missing: dict[Kind, list[str]] = {
        "attributes": [picture.name for picture in told if picture.attributes is None],
        "identities": [picture.name for picture in told if picture.identity is None],
        "partition": [picture.name for picture in told if picture.split is None],
    }
    for kind, names in missing.items():
        reason, action = WITHOUT[kind]
        if kind not in lists and len(names) == len(told):
            findings.append(Finding(NO_LIST, f"all {action}", [USUAL_NAMES[kind][0]], "lists"))
        else:
            findings.append(Finding(reason, action, names, "pictures"))
    return [finding for finding in findings if finding.origins]


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"

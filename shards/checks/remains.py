"""What can still be told of a damaged data set before its shards are read."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fes.errors import InputError
from shards.build.archive import sha256_of
from shards.build.writer import UNFINISHED_NAME
from shards.catalogue import Catalogue, Shard
from shards.checks.check import Part
from shards.checks.verify import crop_fits, is_own, parts_of, read_places, strays
from shards.foreign.indexing import SOURCE as FOREIGN
from shards.index import Folder, ShardIndex
from shards.schema import INDEX_NAME, PLACES_NAME, SCHEMA, SHARD_NAME, SPLITS, Crop

OUR_SCHEMA = re.compile(r"fes-shards-\d+")
CROPPED = ("celeba", "folder")
"""Sources whose pictures are, or may be, read in part."""
READ = "the samples were found by reading the shards, where a picture counts as whole if it can be decoded"
CENTRAL = "their central square is read now; where that is not right, build the data set again"


@dataclass
class Remains:
    """The shards that are there, with what is to be trusted of an index.

    `found` tells people what is wrong, and `missing` how many samples are in shards that are not there.
    """

    source: str
    crop: Crop | None
    parts: list[Part]
    found: list[str] = field(default_factory=list)
    missing: int = 0


def remains_of(folder: Path) -> Remains:
    """What is left of a data set of our own.

    Raises InputError where the folder holds none, an unfinished one, or an index of what others made.
    """
    try:
        catalogue = ShardIndex(str(folder), Folder(folder)).catalogue
    except InputError as error:
        return _without_index(folder, error)
    if not is_own(catalogue):
        raise _not_ours(folder)
    source = _source_of(catalogue)
    if source is None:
        trouble = f"{folder} holds an {INDEX_NAME} that names shards of several data sets, or none of ours"
        return _without_index(folder, InputError(trouble))
    return _with_index(folder, catalogue, source)


def _with_index(folder: Path, catalogue: Catalogue, source: str) -> Remains:
    rows, trouble = read_places(folder, catalogue)
    remains = Remains(source, catalogue.crop, [])
    if source != catalogue.source:
        remains.found.append(f"{INDEX_NAME} named the source {catalogue.source!r}, the shards {source!r}")
    if not crop_fits(catalogue.crop):
        remains.crop = None
        remains.found.append(f"the crop in {INDEX_NAME} was not inside of the picture: {CENTRAL}")
    if rows is None:
        remains.found.append(f"{PLACES_NAME} {trouble}: {READ}")
    for part, shard in zip(parts_of(catalogue, rows), catalogue.shards, strict=True):
        name = part.name if (folder / part.name).exists() else _other_name(folder, catalogue, shard)
        if name is None:
            remains.missing += shard.samples
            remains.found.append(f"{part.name} is missing: {shard.samples:,} samples are lost")
            continue
        if name != part.name:
            remains.found.append(f"{part.name} was found under the name {name}")
        remains.parts.append(replace(part, name=name, first=None if rows is None else part.first))
    if not remains.parts:
        raise InputError(f"no shard is left in {folder}: copy the data set again, or build it again")
    return remains


def _other_name(folder: Path, catalogue: Catalogue, shard: Shard) -> str | None:
    """The file that holds a shard which is not under its own name, as after a second download."""
    for path in strays(folder, [each.name for each in catalogue.shards]):
        with suppress(OSError):
            if path.stat().st_size == shard.bytes and sha256_of(path) == shard.sha256:
                return path.name
    return None


def _without_index(folder: Path, error: InputError) -> Remains:
    """What the names of the shards tell; where there are none raises the `error` met reading the index."""
    document = _what_is_left(folder / INDEX_NAME)
    schema = str(document.get("schema"))
    if schema != SCHEMA and OUR_SCHEMA.fullmatch(schema):
        raise error  # another version, and no damage
    if document.get("source") == FOREIGN:
        raise _not_ours(folder)
    if not (folder / INDEX_NAME).exists() and (folder / UNFINISHED_NAME).exists():
        raise InputError(
            f"{folder} holds a build that was interrupted: run the same `fes-shards build` again, it goes on "
            "where it was"
        )
    shards = {path.name: SHARD_NAME.fullmatch(path.name) for path in folder.glob("*.tar")}
    shards = {name: match for name, match in sorted(shards.items()) if match}
    sources = sorted({match["source"] for match in shards.values()})
    if not shards:
        raise error
    if len(sources) > 1:
        raise InputError(
            f"{folder} holds shards of several data sets ({', '.join(sources)}) and no index that tells "
            "which belong there: move those that do not to another folder"
        )
    parts = [
        Part(name, split) for split in SPLITS for name, match in shards.items() if match["split"] == split
    ]
    remains = Remains(sources[0], _crop_of(document), parts)
    remains.found.append(f"{INDEX_NAME} was missing or damaged: {READ}")
    if remains.crop is None and document.get("crop", remains.source in CROPPED) not in (None, False):
        remains.found.append(f"which part of the pictures to read is not known any more: {CENTRAL}")
    return remains


def _not_ours(folder: Path) -> InputError:
    return InputError(
        f"{folder} holds an index of shards that others made, which are not changed: `fes-shards index` "
        "makes their index anew, without what is damaged"
    )


def _source_of(catalogue: Catalogue) -> str | None:
    """The source, as the names of all shards tell it; None where they tell no single one."""
    names = [str(shard.name) for shard in catalogue.shards]
    matches = [SHARD_NAME.fullmatch(name) for name in names]
    if not all(matches) or len({*names}) < len(names):
        return None
    sources = {match["source"] for match in matches}
    in_place = all(
        match["split"] == shard.split for match, shard in zip(matches, catalogue.shards, strict=True)
    )
    return sources.pop() if in_place and len(sources) == 1 else None


def _what_is_left(path: Path) -> dict[str, object]:
    """The content of an index.json that is a JSON object at least, else an empty one."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _crop_of(document: dict[str, object]) -> Crop | None:
    try:
        crop = Crop(**document["crop"])
    except (KeyError, TypeError):
        return None
    whole = all(type(value) is int for value in vars(crop).values())
    return crop if whole and crop_fits(crop) else None

"""Finds the samples of a WebDataset tar that others made: where their members lie, and what they show."""

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED, expression_label
from shards.build.archive import sha256_of
from shards.build.fingerprint import fingerprints
from shards.documents import printable
from shards.pictures import LARGEST, PICTURE_SUFFIXES, normalised
from shards.schema import DETAILS, LABEL, NOBODY, PLACE, UNLABELLED_NAME
from shards.tar_members import GAP, NO_END, Member, members_of

NO_ENDING = "member whose name has no ending"
TOO_LARGE = f"member of more than {LARGEST // 2**20} MiB"
NO_PICTURE = "sample without a picture"
SEVERAL = "sample with several pictures, labels or details"
NO_OBJECT = "details that are no JSON object"
UNKNOWN_LABEL = "label that is no class"
NO_LABEL_FIELD = "sample without the field --label-field"
NO_IDENTITY_FIELD = "sample without the field --identity-field"
NO_IDENTITY = "identity that is neither a number nor a text"

PICTURE = "picture"
LEFT_OUT = "left out"
OF_NOBODY = "kept, as of an unknown person"
ACTIONS = {
    GAP: "skipped, what follows was read",
    NO_END: "read to its end",
    SEVERAL: "the first was taken",
    NO_OBJECT: "kept without its details",
    NO_LABEL_FIELD: "kept unlabelled",
    NO_IDENTITY_FIELD: OF_NOBODY,
    NO_IDENTITY: OF_NOBODY,
}
"""What is done about troubles; what is none of them is left out."""

COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
META = re.compile(r"__[^/]*__($|/)")
NUMBER = re.compile(r"[+-]?\d{1,9}(\.0+)?")

Person = int | str | None


@dataclass(frozen=True)
class Meaning:
    """What stands where in the samples.

    `label_field` and `identity_field` name fields of the .json; without a `label_field` the label is the
    .cls. `numbers` are the labels that the numbers 0, 1, ... stand for, None where one is no class.
    """

    label_field: str | None = None
    identity_field: str | None = None
    numbers: tuple[int | None, ...] = tuple(range(len(EXPRESSIONS)))


PER_SAMPLE = ("rows", "people", "keys", "prints", "sizes")


@dataclass
class Tar:
    """What was found in a tar.

    `rows` are of `PLACE`, without the identities, which `people` tell. `keys` are those of the samples,
    `prints` the fingerprints of their pictures, `sizes` their widths and heights. `channels` is the most
    of any picture, `troubles` are reasons and where in the tar they are, and `fields` are those of the
    first details.
    """

    bytes: int
    sha256: str
    rows: list[np.ndarray] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    prints: list[np.ndarray] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    channels: int = 1
    troubles: list[tuple[str, str]] = field(default_factory=list)
    fields: tuple[str, ...] = ()

    def tell(self, reason: str, where: str) -> None:
        """Notes a trouble."""
        self.troubles.append((reason, where))

    def only(self, kept: Sequence[int]) -> "Tar":
        """The same with some of the samples alone, by their places."""
        lists = {name: [getattr(self, name)[at] for at in kept] for name in PER_SAMPLE}
        return replace(self, **lists)

    @property
    def places(self) -> np.ndarray:
        """An array of `PLACE` [samples]; no identity is known."""
        return np.array(self.rows, PLACE)


def index_one(meaning: Meaning, path: Path) -> Tar:
    """Finds the samples of a tar, and decodes the picture of each.

    What is damaged is passed over and told. Raises InputError where the file cannot be read, or is
    compressed, so that nothing in it has a place.
    """
    try:
        with open(path, "rb") as file:
            if file.read(max(map(len, COMPRESSED))).startswith(COMPRESSED):
                raise InputError(
                    f"{path} is compressed, so that nothing in it has a place to read it from: unpack it to "
                    "a plain .tar and index that"
                )
            tar = Tar(os.fstat(file.fileno()).st_size, sha256_of(path))
            for key, members in _samples(file, tar):
                _add(tar, meaning, file, key, members)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): give tars that you may read") from error
    return tar


def _samples(file: BinaryIO, tar: Tar) -> Iterator[tuple[str, dict[str, Member]]]:
    """Keys, and the members of each by what they are: PICTURE, and LABEL and DETAILS where there are any."""
    for key, group in groupby(_named(file, tar), key=lambda named: named[0]):
        members: dict[str, Member] = {}
        several = False
        for _, ending, member in group:
            kind = PICTURE if ending in PICTURE_SUFFIXES else ending
            if kind in (PICTURE, LABEL, DETAILS):
                several |= kind in members
                members.setdefault(kind, member)
        if several:
            tar.tell(SEVERAL, printable(key))
        if PICTURE in members:
            yield key, members
        else:
            tar.tell(NO_PICTURE, printable(key))


def _named(file: BinaryIO, tar: Tar) -> Iterator[tuple[str, str, Member]]:
    """The members that WebDataset takes for parts of samples, with their keys and their last endings."""
    from webdataset.tariterators import base_plus_ext  # takes seconds, for it loads torch

    for member in members_of(file, tar.tell):
        # WebDataset takes d/._a.jpg, which macOS makes, for a sample with the key d/.
        if META.match(member.name) or member.name.rpartition("/")[2].startswith("."):
            continue
        key, endings = base_plus_ext(member.name)
        if key is None:
            tar.tell(NO_ENDING, printable(member.name))
        elif member.size > LARGEST:
            tar.tell(TOO_LARGE, printable(member.name))
        else:
            yield key, endings.rpartition(".")[2].lower(), member


def _add(tar: Tar, meaning: Meaning, file: BinaryIO, key: str, members: dict[str, Member]) -> None:
    """Adds a sample to what was found, or tells why not."""
    picture, contents = members[PICTURE], {kind: _read(file, member) for kind, member in members.items()}
    try:
        pixels = normalised(contents[PICTURE])[1]
    except ValueError as error:
        tar.tell(str(error), printable(picture.name))
        return
    details = _details(tar, members, contents)
    label = _label(tar, meaning, key, details, contents.get(LABEL))
    if label is None:
        tar.tell(UNKNOWN_LABEL, printable(key))
        return
    tar.rows.append(_row(label, members, contents))
    tar.people.append(_person(tar, meaning, key, details))
    tar.keys.append(printable(key))
    tar.prints.append(fingerprints([pixels])[0])
    height, width, channels = pixels.shape
    tar.sizes.append((width, height))
    tar.channels = max(tar.channels, channels)


def _read(file: BinaryIO, member: Member) -> bytes:
    return os.pread(file.fileno(), member.size, member.offset)


def _details(tar: Tar, members: dict[str, Member], contents: dict[str, bytes]) -> dict[str, object]:
    """The object in the .json; empty, and taken out of `contents`, where that holds none."""
    if DETAILS not in contents:
        return {}
    try:
        details = json.loads(contents[DETAILS])
    except (ValueError, RecursionError):
        details = None
    if not isinstance(details, dict):
        tar.tell(NO_OBJECT, printable(members[DETAILS].name))
        del contents[DETAILS]
        return {}
    tar.fields = tar.fields or tuple(details)
    return details


def _row(label: int, members: dict[str, Member], contents: dict[str, bytes]) -> np.ndarray:
    """A row of `PLACE`."""
    row = np.zeros((), PLACE)
    row["label"], row["identity"] = label, NOBODY
    for kind, name in ((PICTURE, "image"), (DETAILS, "details")):
        if kind in contents:
            row[f"{name}_offset"], row[f"{name}_size"] = members[kind].offset, members[kind].size
            row[f"{name}_crc32"] = zlib.crc32(contents[kind])
    return row


def _label(
    tar: Tar, meaning: Meaning, key: str, details: dict[str, object], text: bytes | None
) -> int | None:
    """The label of a sample; None where what stands there is no class. `text` is that of the .cls."""
    if meaning.label_field is None:
        return UNLABELLED if text is None else _meant(text.decode("utf-8", "replace"), meaning.numbers)
    if meaning.label_field not in details:
        tar.tell(NO_LABEL_FIELD, printable(key))
        return UNLABELLED
    value = details[meaning.label_field]
    return UNLABELLED if _is_nothing(value) else _meant(str(value), meaning.numbers)


def _meant(text: str, numbers: tuple[int | None, ...]) -> int | None:
    text = text.strip().lower()
    if not NUMBER.fullmatch(text):
        return UNLABELLED if text == UNLABELLED_NAME else expression_label(text)
    number = int(float(text))
    if number == UNLABELLED:
        return UNLABELLED
    return numbers[number] if 0 <= number < len(numbers) else None


def _person(tar: Tar, meaning: Meaning, key: str, details: dict[str, object]) -> Person:
    """Whom a sample shows, as its details tell."""
    if meaning.identity_field is None:
        return None
    if meaning.identity_field not in details:
        tar.tell(NO_IDENTITY_FIELD, printable(key))
        return None
    value = details[meaning.identity_field]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if _is_nothing(value) or value in ("", NOBODY):
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        tar.tell(NO_IDENTITY, printable(key))
        return None
    return value


def _is_nothing(value: object) -> bool:
    return value is None or value != value  # as NaN is, which tables write where they have nothing

"""Reads FER2013 as folders of picture files: train/happy/Training_10118481.jpg and the like."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fes.errors import InputError
from shards.schema import Finding, Progress, no_progress
from shards.sources.files_in import files_in, suffix_of_name
from shards.sources.folder import FILES, FolderSource, read_folder
from shards.sources.splits import split_named

NAME = "fer2013"
CLASSES = frozenset({"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"})
NUMBERED = re.compile(r"(Training|PublicTest|PrivateTest)_\d+\b")
JPEG = frozenset({"jpg", "jpeg"})

COPIES = "folders of JPEG copies: lossy, the csv has the pixels as they were"
OTHER_SPLIT = "file in the folder of another split than its name tells"
KEPT, BY_NAME = "kept", "kept in the split that its name tells"


def is_fer2013_folder(path: Path) -> bool:
    """Whether there is a folder, or a zip, with files named as FER2013's in folders named as its classes."""
    try:
        names = files_in(path).names
    except InputError:
        return False
    return any(_told_split(name) and PurePosixPath(name).parent.name.lower() in CLASSES for name in names)


def read_fer2013_folder(path: Path, progress: Progress = no_progress) -> FolderSource:
    """FER2013 from split/class/file or class/file, in a folder or a zip.

    The label is that of the class folder's name. The split is what the file's name tells, which begins
    with Training, PublicTest (valid) or PrivateTest (test); where it tells nothing, that of the folder.
    Raises InputError like `read_folder`.
    """
    source = read_folder(path, progress=progress)
    samples = [
        replace(sample, split=_told_split(name) or sample.split)
        for sample, name in zip(source.samples, source.names, strict=True)
    ]
    copies = {str(PurePosixPath(name).parent) for name in source.names if suffix_of_name(name) in JPEG}
    elsewhere = [sample.origin for sample in samples if _contradicts(sample.origin, sample.split)]
    found = (
        Finding(COPIES, KEPT, sorted(copies), "folders"),
        Finding(OTHER_SPLIT, BY_NAME, elsewhere, FILES),
    )
    findings = [*source.findings, *(finding for finding in found if finding.origins)]
    return replace(source, name=NAME, samples=samples, findings=findings)


def _told_split(name: str) -> str | None:
    """The split that a file's name tells."""
    match = NUMBERED.match(PurePosixPath(name).name)
    return split_named(match[1]) if match else None


def _contradicts(name: str, split: str) -> bool:
    """Whether a folder tells another split; that of the test holds both tests."""
    told = {split_named(part) for part in PurePosixPath(name).parent.parts} - {None}
    return bool(told) and split not in told and not (split == "valid" and "test" in told)

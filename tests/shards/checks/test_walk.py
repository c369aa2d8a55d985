import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from shards.checks.walk import (
    details_told,
    header_trouble,
    label_told,
    members_told,
    person_told,
    samples_in,
    walk,
)
from shards.schema import NOBODY
from tests.shards.damage import flip, places_of

SHARD = "drawn-train-000000.tar"  # positions 0 to 5 of train


def test_a_whole_shard_has_the_members_that_its_rows_tell_and_no_holes(drawn_folder: Path) -> None:
    with open(drawn_folder / SHARD, "rb") as file:
        walked = walk(file)
        told = [member for _, _, member in members_told(places_of(drawn_folder)[:6], "train", range(6))]
        assert walked.members == told
        assert walked.holes == []
        assert not any(header_trouble(file, member) for member in told)


def test_the_samples_in_a_shard_are_those_of_its_rows(drawn_folder: Path) -> None:
    rows = places_of(drawn_folder)
    with open(drawn_folder / "drawn-train-000001.tar", "rb") as file:
        found = samples_in(file, walk(file).members)
    assert (found.positions, found.loose) == ([*range(6, 12)], [])
    assert found.people == rows["identity"][6:12].tolist()
    expected = rows[6:12].copy()
    expected["identity"] = NOBODY
    assert np.array_equal(found.rows, expected)


def test_a_walk_goes_on_behind_a_damaged_header(folder: Path) -> None:
    flip(folder / SHARD, 1024)  # the header of the details of the first sample
    with open(folder / SHARD, "rb") as file:
        walked = walk(file)
        found = samples_in(file, walked.members)
    assert walked.holes == [(1024, walked.members[1].offset - 512)]
    assert [member.name for member in found.loose] == ["000000000.cls", "000000000.png"]
    assert found.positions == [1, 2, 3, 4, 5]


def test_bytes_behind_the_end_are_a_hole_and_zeros_are_not(folder: Path) -> None:
    data = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(data + bytes(1024) + b"x")
    with open(folder / SHARD, "rb") as file:
        assert [end for _, end in walk(file).holes] == [len(data) + 1025]
    (folder / SHARD).write_bytes(data + bytes(1024))
    with open(folder / SHARD, "rb") as file:
        assert walk(file).holes == []


@pytest.mark.parametrize(
    ("content", "label"), [(b"6", 6), (b"-1", -1), (b"7", None), (b"06", None), (b"", None)]
)
def test_a_label_is_read_only_as_it_is_written(content: bytes, label: int | None) -> None:
    assert label_told(content) == label


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_details_that_are_no_object_are_told(content: bytes) -> None:
    with pytest.raises(ValueError, match="is no JSON"):
        details_told(content)
    assert person_told(content) is None


@pytest.mark.parametrize(
    ("told", "person"), [("7", 7), ('"Ann"', "Ann"), ("true", None), ("1.5", None), (str(2**63), None)]
)
def test_an_identity_is_a_number_or_a_name(told: str, person: int | str | None) -> None:
    assert person_told(b'{"identity":' + told.encode() + b"}") == person


def test_links_and_folders_are_holes(tmp_path: Path) -> None:
    contents = io.BytesIO()
    with tarfile.open(fileobj=contents, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("000000000.cls")
            member.type = kind
            archive.addfile(member)
    (tmp_path / "x.tar").write_bytes(contents.getvalue())
    with open(tmp_path / "x.tar", "rb") as file:
        walked = walk(file)
    assert walked.members == []
    assert walked.holes == [(0, len(contents.getvalue()))]

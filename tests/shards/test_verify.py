import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import InputError
from shards.index import ShardIndex
from shards.schema import INDEX_NAME
from shards.verify import verify

SHARD = "drawn-train-000002.tar"


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_fresh_build_has_no_fault_and_every_sample_is_looked_at(drawn_folder: Path) -> None:
    told = []
    assert verify(drawn_folder, lambda *counts: told.append(counts)) == []
    assert told[-1] == (63, 63)


@pytest.mark.parametrize("seed", range(60))
def test_any_changed_byte_is_found_in_its_shard(folder: Path, seed: int) -> None:
    size = (folder / SHARD).stat().st_size
    flip(folder / SHARD, random.Random(seed).randrange(size))
    assert {fault.shard for fault in verify(folder)} == {SHARD}


@pytest.mark.parametrize(
    ("member", "trouble"),
    [
        ("000000014.cls", "the label is"),
        ("000000014.json", "not those that were written"),
        ("000000014.png", "not those that were written"),
    ],
)
def test_a_changed_byte_in_a_member_is_named_with_member_and_offset(
    folder: Path, member: str, trouble: str
) -> None:
    split = ShardIndex.load(folder).split("train")
    details = int(split.details_places.offset[14])
    offset = {"cls": details - 1024, "json": details, "png": int(split.image_places.offset[14])}[member[10:]]
    flip(folder / SHARD, offset)
    (fault,) = verify(folder)
    assert (fault.shard, fault.member, fault.offset) == (SHARD, member, offset)
    assert trouble in fault.trouble
    assert str(fault).startswith(f"{SHARD}, {member}, byte {offset}: ")


def test_a_changed_header_is_named_with_its_member_and_offset(folder: Path) -> None:
    offset = int(ShardIndex.load(folder).split("train").image_places.offset[13]) - 512
    flip(folder / SHARD, offset + 100)
    (fault,) = verify(folder)
    assert (fault.member, fault.offset) == ("000000013.png", offset)
    assert "header is damaged" in fault.trouble


def test_all_faults_are_listed_not_only_the_first(folder: Path) -> None:
    places = ShardIndex.load(folder).split("train").image_places
    for position in (12, 14, 20):
        shard = SHARD if position < 17 else "drawn-train-000003.tar"
        flip(folder / shard, int(places.offset[position]) + 60)
    assert [fault.member for fault in verify(folder)] == ["000000012.png", "000000014.png", "000000020.png"]


def test_a_truncated_shard_is_named_once_at_the_first_member_it_lacks(folder: Path) -> None:
    offset = int(ShardIndex.load(folder).split("train").image_places.offset[14])
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[: offset + 10])
    (fault,) = verify(folder)
    assert (fault.member, fault.offset) == ("000000014.png", offset)
    assert f"ends at byte {offset + 10}" in fault.trouble


def test_missing_and_stray_shards_are_named(folder: Path) -> None:
    (folder / SHARD).rename(folder / "drawn-train-000099.tar")
    assert [(fault.shard, fault.trouble[:14]) for fault in verify(folder)] == [
        ("drawn-train-000099.tar", "is not in the "),
        (SHARD, "cannot be read"),
    ]


def change_label(document: dict) -> None:
    labels = document["shards"][0]["label"]
    labels[0] = (labels[0] + 1) % 7


def change_offset(document: dict) -> None:
    document["shards"][0]["image"]["offset"][0] += 512


def change_size(document: dict) -> None:
    document["shards"][0]["details"]["size"][0] -= 1


def change_hash(document: dict) -> None:
    document["shards"][0]["sha256"] = "0" * 64


def change_count(document: dict) -> None:
    document["splits"]["train"]["classes"]["angry"] += 1


def change_resolution(document: dict) -> None:
    document["resolution"] = 96


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (change_label, {INDEX_NAME, "drawn-train-000000.tar"}),
        (change_offset, {"drawn-train-000000.tar"}),
        (change_size, {"drawn-train-000000.tar"}),
        (change_hash, {"drawn-train-000000.tar"}),
        (change_count, {INDEX_NAME}),
    ],
)
def test_an_index_that_does_not_agree_with_its_shards_is_found(
    folder: Path, change: Callable[[dict], None], where: set[str]
) -> None:
    document = json.loads((folder / INDEX_NAME).read_bytes())
    change(document)
    (folder / INDEX_NAME).write_text(json.dumps(document))
    assert {fault.shard for fault in verify(folder)} == where


def test_pictures_of_another_size_than_the_index_says_are_found_each(folder: Path) -> None:
    document = json.loads((folder / INDEX_NAME).read_bytes())
    change_resolution(document)
    (folder / INDEX_NAME).write_text(json.dumps(document))
    faults = verify(folder)
    assert len(faults) == 63
    assert "the picture is uint8 (48, 48, 1), not uint8 (96, 96, 1)" in faults[0].trouble


def test_a_folder_that_holds_no_shards_at_all_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no index\.json"):
        verify(tmp_path)


@pytest.mark.parametrize("offset", [-10_000, 10**9])
def test_an_index_that_points_outside_of_its_shard_is_found(folder: Path, offset: int) -> None:
    document = json.loads((folder / INDEX_NAME).read_bytes())
    document["shards"][0]["details"]["offset"][0] = offset
    (folder / INDEX_NAME).write_text(json.dumps(document))
    assert {fault.shard for fault in verify(folder)} == {"drawn-train-000000.tar"}
    assert np.any(ShardIndex.load(folder).split("train").image(0))

"""An index that does not agree with its shards, or is none, is told; the shards are looked at even so."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import InputError
from shards.catalogue import places_file
from shards.checks.verify import verify
from shards.schema import INDEX_NAME, PLACE, PLACES_NAME
from tests.shards.checks.drawn_shards import FIRST, SAMPLES, SHARD, files_of
from tests.shards.damage import edit_index, edit_places, flip, places_of, put_places


@pytest.mark.parametrize("seed", range(10))
def test_any_changed_byte_of_the_index_array_is_found(folder: Path, seed: int) -> None:
    flip(folder / PLACES_NAME, random.Random(seed).randrange((folder / PLACES_NAME).stat().st_size))
    assert files_of(folder) == {PLACES_NAME}


def change_label(rows: np.ndarray) -> None:
    rows["label"][0] = (rows["label"][0] + 1) % 7


def change_identity(rows: np.ndarray) -> None:
    rows["identity"][0] += 1


def change_offset(rows: np.ndarray) -> None:
    rows["image_offset"][0] += 512


def change_size(rows: np.ndarray) -> None:
    rows["details_size"][0] -= 1


def change_crc(rows: np.ndarray) -> None:
    rows["image_crc32"][0] += 1


def swap_samples(rows: np.ndarray) -> None:
    rows[[0, 1]] = rows[[1, 0]]


@pytest.mark.parametrize(
    "change", [change_label, change_identity, change_offset, change_size, change_crc, swap_samples]
)
def test_an_index_array_that_does_not_agree_with_its_shards_is_found(
    folder: Path, change: Callable[[np.ndarray], None]
) -> None:
    edit_places(folder, change)
    assert FIRST in files_of(folder)


@pytest.mark.parametrize("offset", [-(2**62), -10_000, 0, 10**9, 2**62])
def test_an_index_that_points_outside_of_its_shard_is_found(folder: Path, offset: int) -> None:
    edit_places(folder, lambda rows: rows["details_offset"].__setitem__(0, offset))
    assert files_of(folder) == {FIRST}


def test_a_label_that_is_no_class_is_a_fault_of_the_index(folder: Path) -> None:
    edit_places(folder, lambda rows: rows["label"].__setitem__(0, 7))
    assert "labels that are no class" in str(verify(folder)[0])


def hash_of_shard(document: dict) -> None:
    document["shards"][0]["sha256"] = "0" * 64


def bytes_of_shard(document: dict) -> None:
    document["shards"][0]["bytes"] += 512


def count_of_class(document: dict) -> None:
    document["splits"]["train"]["classes"]["angry"] += 1


def count_of_people(document: dict) -> None:
    document["splits"]["valid"]["identities"] += 1


def resolution(document: dict) -> None:
    document["resolution"] = 96


def channels(document: dict) -> None:
    document["channels"] = 3


def crop(document: dict) -> None:
    document["crop"] = {"width": 48, "height": 48, "left": 1, "top": 0, "side": 48}


def name_of_source(document: dict) -> None:
    document["source"] = "drown"


def samples_of_shard(document: dict) -> None:
    document["shards"][0]["samples"] += 1


def hash_of_places(document: dict) -> None:
    document["places"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (hash_of_shard, FIRST),
        (bytes_of_shard, FIRST),
        (count_of_class, INDEX_NAME),
        (count_of_people, INDEX_NAME),
        (resolution, INDEX_NAME),
        (channels, INDEX_NAME),
        (crop, INDEX_NAME),
        (name_of_source, INDEX_NAME),
        (samples_of_shard, PLACES_NAME),
        (hash_of_places, PLACES_NAME),
    ],
)
def test_an_index_that_states_what_is_not_so_is_found(
    folder: Path, change: Callable[[dict], None], where: str
) -> None:
    edit_index(folder, change)
    assert where in files_of(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: np.concatenate([rows, rows[:1]]),
        lambda rows: rows[:, None],
        lambda rows: rows["label"],
        lambda rows: rows.astype(PLACE.newbyteorder(">")),
    ],
)
def test_an_index_array_of_another_kind_is_told_and_the_shards_are_still_looked_at(
    folder: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    put_places(folder, places_file(change(places_of(folder))))
    assert files_of(folder) == {PLACES_NAME}
    flip(folder / SHARD, 700)
    assert files_of(folder) == {PLACES_NAME, SHARD}


def test_an_index_array_that_would_run_code_is_not_loaded(folder: Path) -> None:
    contents = io.BytesIO()
    np.save(contents, np.array([{}] * SAMPLES, dtype=object), allow_pickle=True)
    put_places(folder, contents.getvalue())
    assert files_of(folder) == {PLACES_NAME}


@pytest.mark.parametrize("contents", [b"", b"\x93NUMPY", b"PK\x03\x04" + bytes(200), b"{}" * 500])
def test_an_index_array_that_is_none_is_told(folder: Path, contents: bytes) -> None:
    put_places(folder, contents)
    assert files_of(folder) == {PLACES_NAME}
    (folder / PLACES_NAME).unlink()
    assert files_of(folder) == {PLACES_NAME}


@pytest.mark.parametrize("contents", [b"", b"[]", b"\xff\xfe", b'{"schema": NaN}', b"[" * 100_000])
def test_a_damaged_index_is_told_in_a_sentence_that_tells_the_way_out(folder: Path, contents: bytes) -> None:
    (folder / INDEX_NAME).write_bytes(contents)
    with pytest.raises(InputError, match="verify --repair"):
        verify(folder)

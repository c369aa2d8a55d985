import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import InputError
from shards.catalogue import Shard, counts_of, parse_index, write_index
from shards.schema import INDEX_NAME, PLACE, PLACES_NAME, Crop

CROP = Crop(178, 218, 25, 57, 128)


@pytest.fixture
def document(drawn_folder: Path) -> dict:
    return json.loads((drawn_folder / INDEX_NAME).read_bytes())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    shards = (
        Shard("a-train-000000.tar", "train", 2, 10240, "0" * 64),
        Shard("b.tar", "test", 1, 9, "1" * 64),
    )
    places = np.zeros(3, PLACE)
    places["label"], places["identity"] = [3, -1, 6], [5, 5, -1]
    write_index(tmp_path, source="a", resolution=128, channels=3, crop=CROP, shards=shards, places=places)
    catalogue = parse_index((tmp_path / INDEX_NAME).read_bytes(), "here")
    assert (catalogue.source, catalogue.resolution, catalogue.channels) == ("a", 128, 3)
    assert (catalogue.crop, catalogue.shards, catalogue.samples) == (CROP, shards, 3)
    assert catalogue.places_bytes == (tmp_path / PLACES_NAME).stat().st_size
    assert np.array_equal(np.load(tmp_path / PLACES_NAME), places)


def test_samples_identities_and_classes_are_counted_by_split() -> None:
    shards = [Shard("0", "train", 3, 0, ""), Shard("1", "train", 1, 0, ""), Shard("2", "test", 2, 0, "")]
    places = np.zeros(6, PLACE)
    places["label"], places["identity"] = [0, 0, 3, -1, 3, 3], [7, 7, 2, -1, -1, -1]
    counts = counts_of(shards, places)
    assert list(counts) == ["train", "test"]
    train = counts["train"]
    assert (train["samples"], train["identities"]) == (4, 2)
    assert {name: count for name, count in train["classes"].items() if count} == {
        "angry": 2,
        "happy": 1,
        "unlabelled": 1,
    }
    assert (counts["test"]["samples"], counts["test"]["identities"]) == (2, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["shards"][0].update(sha256="f" * 64),
        lambda document: document["places"].update(sha256="f" * 64),
        lambda document: document.update(crop=vars(CROP)),
    ],
    ids=["shard", "labels", "crop"],
)
def test_the_fingerprint_changes_with_all_that_training_sees(document: dict, change: Callable) -> None:
    before = parse_index(json.dumps(document).encode(), "here").fingerprint
    change(document)
    assert parse_index(json.dumps(document).encode(), "here").fingerprint != before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "holds a damaged index"),
        (b"\xff\xfe", "holds a damaged index"),
        (b"[" * 100_000, "holds a damaged index"),
        (b"[1]", "holds a damaged index"),
        (b'{"__kind__": "wids-shard-index-v1"}', "of schema None, not 'fes-shards-2'"),
        (b'{"schema": "fes-shards-1"}', "of schema 'fes-shards-1'"),
    ],
    ids=["half", "no text", "deep", "a list", "wids", "older"],
)
def test_an_index_of_another_kind_is_told_in_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^data/set holds .*{sentence.removeprefix('holds ')}"):
        parse_index(content, "data/set")


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("shards"),
        lambda document: document.update(shards=[]),
        lambda document: document["shards"].reverse(),
        lambda document: document["shards"][0].pop("sha256"),
        lambda document: document["shards"][0].update(samples="many"),
        lambda document: document["shards"][0].update(samples=-4),
        lambda document: document["shards"][0].update(samples=True),
        lambda document: document["shards"][0].update(split="training"),
        lambda document: document.update(splits=None),
        lambda document: document.update(crop={"left": 3}),
        lambda document: document.update(crop={**vars(CROP), "side": 0}),
        lambda document: document.update(resolution=float("inf")),
        lambda document: document.update(channels=2),
        lambda document: document.pop("places"),
        lambda document: document["splits"]["train"]["classes"].pop("happy"),
    ],
)
def test_an_index_whose_parts_do_not_fit_is_told_in_a_sentence(document: dict, change: Callable) -> None:
    change(document)
    with pytest.raises(InputError, match=r"holds a damaged index\.json"):
        parse_index(json.dumps(document).encode(), "here")


def test_other_classes_than_those_of_fes_are_refused(document: dict) -> None:
    document["classes"].reverse()
    with pytest.raises(InputError, match="has classes other than angry, disgusted"):
        parse_index(json.dumps(document).encode(), "here")

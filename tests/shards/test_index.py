import json
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards import index as index_module
from shards.faces import render
from shards.index import ShardIndex, Split
from shards.schema import INDEX_NAME


def change_index(folder: Path, change: Callable[[dict], object]) -> None:
    document = json.loads((folder / INDEX_NAME).read_bytes())
    change(document)
    (folder / INDEX_NAME).write_text(json.dumps(document))


def test_an_index_tells_what_the_data_set_is(drawn_folder: Path) -> None:
    index = ShardIndex.load(drawn_folder)
    assert (index.source, index.resolution, index.channels) == ("drawn", 48, 1)
    assert index.classes == EXPRESSIONS
    assert index.splits == ("train", "valid", "test")
    assert index.counts("valid") == {**dict.fromkeys(EXPRESSIONS, 2), "unlabelled": 0}


def test_a_split_knows_its_shards_and_labels(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    assert split.samples == 42
    assert split.shard_starts.dtype == split.labels.dtype == np.int64
    assert split.shard_starts.tolist() == [0, 6, 12, 17, 22, 27, 32, 37, 42]
    assert np.bincount(split.labels).tolist() == [6] * 7


def test_every_picture_is_the_one_its_details_describe(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    for at in range(split.samples):
        details, picture = split.details(at), split.image(at)
        assert EXPRESSIONS[split.labels[at]] == details["expression"]
        person = np.array([details["numbers"]], dtype=np.float32)
        drawn = render(person, split.labels[at : at + 1], 48)[0].transpose(2, 0, 1)
        assert picture.shape == (1, 48, 48)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, drawn)


def test_a_picture_can_be_written_to_and_is_no_shared_memory(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    before = split.image(0).copy()
    split.image(0)[:] = 0
    assert np.array_equal(split.image(0), before)


@pytest.mark.parametrize("position", [-1, 42])
def test_a_position_outside_the_split_is_an_error_of_the_caller(drawn_folder: Path, position: int) -> None:
    with pytest.raises(IndexError, match="has 42 samples"):
        ShardIndex.load(drawn_folder).split("train").image(position)


def sums(split: Split) -> list[int]:
    return [int(split.image(at).sum()) for at in range(split.samples)]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_split_in_use_also_reads_in_other_processes(drawn_folder: Path, start: str) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    here = sums(split)  # opens every file before the processes start
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.map(sums, [split, split]) == [here, here]


def test_a_copy_opens_its_files_itself_and_files_close_with_the_split(drawn_folder: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    split = ShardIndex.load(drawn_folder).split("train")
    sums(split)
    assert open_files() == before + 8
    copy = pickle.loads(pickle.dumps(split))
    assert open_files() == before + 8
    del split
    assert open_files() == before
    assert len(sums(copy)) == 42


def test_no_more_files_stay_open_than_allowed(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "OPEN_SHARDS", 2)
    split = ShardIndex.load(drawn_folder).split("train")
    before = len(os.listdir("/proc/self/fd"))
    assert sums(split) == sums(ShardIndex.load(drawn_folder).split("train"))
    assert len(os.listdir("/proc/self/fd")) == before + 2


def test_the_fingerprint_follows_the_data_and_not_its_place(drawn_folder: Path, folder: Path) -> None:
    fingerprint = ShardIndex.load(drawn_folder).fingerprint
    assert ShardIndex.load(folder).fingerprint == fingerprint
    change_index(folder, lambda document: document["shards"][0].update(sha256="0" * 64))
    assert ShardIndex.load(folder).fingerprint != fingerprint


def test_an_unknown_split_is_told_with_those_that_exist(drawn_folder: Path) -> None:
    with pytest.raises(InputError, match="no split 'training': it has train, valid, test"):
        ShardIndex.load(drawn_folder).split("training")


def test_a_folder_without_finished_shards_is_told_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no folder of shards; `fes-shards build drawn --out .*no`"):
        ShardIndex.load(tmp_path / "no")
    with pytest.raises(InputError, match=r"holds no index\.json.*fes-shards build drawn"):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "cannot read"),
        (b"\xff\xfe", "cannot read"),
        (b"[1]", "holds no JSON object"),
        (b'{"__kind__": "wids-shard-index-v1"}', "is of schema None, not 'fes-shards-1'"),
        (b'{"schema": "fes-shards-9"}', "is of schema 'fes-shards-9'"),
    ],
)
def test_an_index_of_another_kind_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / INDEX_NAME).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("shards"),
        lambda document: document["shards"][0]["label"].pop(),
        lambda document: document["shards"][0]["image"]["offset"].pop(),
        lambda document: document["shards"][0]["details"].pop("crc32"),
        lambda document: document["shards"][0].update(samples="many"),
        lambda document: document.update(splits=None),
    ],
)
def test_an_index_whose_parts_do_not_fit_is_told_in_a_sentence(
    folder: Path, change: Callable[[dict], object]
) -> None:
    change_index(folder, change)
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        ShardIndex.load(folder)


def test_other_classes_than_those_of_fes_are_refused(folder: Path) -> None:
    change_index(folder, lambda document: document["classes"].reverse())
    with pytest.raises(InputError, match="has classes other than angry, disgusted"):
        ShardIndex.load(folder)


def test_a_shard_that_is_cut_short_or_missing_is_told_when_the_index_is_loaded(folder: Path) -> None:
    shard = folder / "drawn-valid-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"drawn-valid-000001\.tar has \d+ bytes and its index says \d+"):
        ShardIndex.load(folder)
    shard.unlink()
    with pytest.raises(InputError, match=r"drawn-valid-000001\.tar cannot be read \(No such file"):
        ShardIndex.load(folder)


def test_a_changed_byte_in_a_picture_or_its_details_is_told_with_shard_member_and_offset(
    folder: Path,
) -> None:
    split = ShardIndex.load(folder).split("train")
    shard = folder / split.shard_names[1]
    data = bytearray(shard.read_bytes())
    for places in (split.image_places, split.details_places):
        data[places.offset[6] + places.size[6] // 2] ^= 1
    shard.write_bytes(data)
    offset = split.image_places.offset[6]
    with pytest.raises(InputError, match=rf"000001\.tar: member 000000006\.png at byte {offset} is not"):
        split.image(6)
    with pytest.raises(InputError, match=r"000001\.tar: member 000000006\.json at byte \d+ is not"):
        split.details(6)
    assert split.image(7).any()

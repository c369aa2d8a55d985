import hashlib
import json
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import DamagedSample, InputError
from fes.expressions import EXPRESSIONS
from shards import index as index_module
from shards.catalogue import places_file
from shards.drawing.faces import render
from shards.index import ShardIndex, Split, spread
from shards.remote.shelf import CachedShards
from shards.schema import INDEX_NAME, PLACE, PLACES_NAME


def change_index(folder: Path, change: Callable[[dict], object]) -> None:
    document = json.loads((folder / INDEX_NAME).read_bytes())
    change(document)
    (folder / INDEX_NAME).write_text(json.dumps(document))


def test_an_index_tells_what_the_data_set_is(drawn_folder: Path) -> None:
    index = ShardIndex.load(drawn_folder)
    assert (index.source, index.resolution, index.channels) == ("drawn", 48, 1)
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
    assert open_files() == before + 8 + 1  # the shards', and that of index.npy
    copy = pickle.loads(pickle.dumps(split))
    assert open_files() == before + 8 + 1
    del split
    assert open_files() == before
    assert len(sums(copy)) == 42


def test_no_more_files_stay_open_than_allowed(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "OPEN_SHARDS", 2)
    split = ShardIndex.load(drawn_folder).split("train")
    every = sums(ShardIndex.load(drawn_folder).split("train"))
    before = len(os.listdir("/proc/self/fd"))
    assert sums(split) == every
    assert len(os.listdir("/proc/self/fd")) == before + 2 + 1


def test_the_fingerprint_follows_the_data_and_not_its_place(drawn_folder: Path, folder: Path) -> None:
    fingerprint = ShardIndex.load(drawn_folder).fingerprint
    assert ShardIndex.load(folder).fingerprint == fingerprint
    change_index(folder, lambda document: document["shards"][0].update(sha256="0" * 64))
    assert ShardIndex.load(folder).fingerprint != fingerprint


def test_an_unknown_split_is_told_with_those_that_exist(drawn_folder: Path) -> None:
    with pytest.raises(InputError, match="no split 'training': it has train, valid, test"):
        ShardIndex.load(drawn_folder).split("training")


HOW = "To make a data set: fes-shards build --help"


def refusal_of(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        ShardIndex.load(folder)
    return str(caught.value)


def test_a_folder_without_finished_shards_is_told_how_to_get_some(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "no") == f"{tmp_path / 'no'} does not exist: check the path. {HOW}"
    assert refusal_of(tmp_path / "no" / "no").endswith(f"no/no does not exist: check the path. {HOW}")
    assert refusal_of(tmp_path) == f"{tmp_path} holds no index.json, so no finished data set. {HOW}"
    (tmp_path / "file").touch()
    told = refusal_of(tmp_path / "file")
    assert told == f"{tmp_path / 'file'} is a file, no folder of shards: check the path. {HOW}"


def test_a_mistyped_folder_is_told_with_data_sets_beside_it_and_in_it_the_nearest_first(
    tmp_path: Path,
) -> None:
    for name in ("drawn", "fer2013", "tfd", "celeba", "f1", "f2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / INDEX_NAME).touch()
    (tmp_path / "fer201").mkdir()  # no data set
    beside = refusal_of(tmp_path / "fer213")
    assert f"does not exist: check the path; {tmp_path} holds fer2013, " in beside
    assert beside.endswith(f" and 1 more. {HOW}")
    inside = "but data sets, of which one is to be named: celeba, drawn, f1, f2, fer2013 and 1 more"
    assert refusal_of(tmp_path) == f"{tmp_path} holds no index.json, so no finished data set, {inside}. {HOW}"


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
    shard = folder / split.shards[1].name
    data = bytearray(shard.read_bytes())
    place = split.places[6]
    for kind in ("image", "details"):
        data[place[f"{kind}_offset"] + place[f"{kind}_size"] // 2] ^= 1
    shard.write_bytes(data)
    offset = place["image_offset"]
    with pytest.raises(InputError, match=rf"000001\.tar: member 000000006\.png at byte {offset} is not"):
        split.image(6)
    with pytest.raises(InputError, match=r"000001\.tar: member 000000006\.json at byte \d+ is not"):
        split.details(6)
    assert split.image(7).any()


def test_pictures_come_in_any_size_and_colour(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    small = split.sized(24, 3)
    assert small.image(5).shape == (3, 24, 24)
    assert np.array_equal(small.image(5)[0], small.image(5)[2])
    assert abs(small.image(5).mean() - split.image(5).mean()) < 3
    assert split.image(5).shape == (1, 48, 48)
    assert small.details(5) == split.details(5)
    assert small.labels.tolist() == split.labels.tolist()


def test_pictures_of_one_person_are_found_by_their_identity(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    assert [split.details(at)["identity"] for at in range(split.samples)] == split.identities.tolist()
    assert np.unique(split.identities, return_counts=True)[1].tolist() == [7] * 6


def test_places_stay_in_their_file_until_they_are_looked_at(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    untouched = len(pickle.dumps(split))
    split.image(0)
    assert len(pickle.dumps(split)) == untouched
    assert not split.labels.flags.owndata
    assert not split.labels.flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        places_file(np.zeros(3, PLACE)),
        places_file(np.zeros((63, 2), np.int64)),
        b"",
        b"not numbers" * 50,
        places_file(np.zeros(63, PLACE))[:-40],
    ],
    ids=["fewer", "other kind", "empty", "garbage", "cut short"],
)
def test_places_that_do_not_fit_the_index_are_told_in_a_sentence(folder: Path, content: bytes) -> None:
    change_index(folder, lambda document: document["places"].update(bytes=len(content)))
    (folder / PLACES_NAME).write_bytes(content)
    with pytest.raises(InputError, match=r"index\.npy is not what index\.json says"):
        ShardIndex.load(folder).split("train").image(0)


@pytest.mark.parametrize(
    ("most", "positions"), [(0, []), (1, [0]), (2, [0, 41]), (3, [0, 20, 41]), (99, list(range(42)))]
)
def test_positions_are_spread_evenly(most: int, positions: list[int]) -> None:
    assert spread(42, most).tolist() == positions


def test_a_file_that_is_read_stays_open_while_others_take_its_place(
    drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "OPEN_SHARDS", 1)
    split = ShardIndex.load(drawn_folder).split("train")
    expected = split.read(0, "image")
    pread, nested = os.pread, [6, 12]

    def meanwhile(descriptor: int, size: int, offset: int) -> bytes:
        while nested:  # as another thread may, before this one reads
            split.image(nested.pop())
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", meanwhile)
    assert split.read(0, "image") == expected


def test_the_file_that_was_used_longest_ago_closes_first(
    drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "OPEN_SHARDS", 2)
    split = ShardIndex.load(drawn_folder).split("train")
    opened, plain = [], split.shelf.open
    monkeypatch.setattr(split.shelf, "open", lambda *shard: opened.append(shard[0][-5]) or plain(*shard))
    split.labels  # noqa: B018 (opens index.npy)
    opened.clear()
    for position in (0, 6, 0, 12, 0):
        split.image(position)
    assert opened == ["0", "1", "2"]


@pytest.mark.parametrize("offset", [-1, 2**62])
def test_a_place_outside_its_shard_is_a_damaged_sample(folder: Path, offset: int) -> None:
    places = np.load(folder / PLACES_NAME)
    places["image_offset"][5] = offset
    (folder / PLACES_NAME).write_bytes(places_file(places))
    split = ShardIndex.load(folder).split("train")
    with pytest.raises(DamagedSample, match="with a damaged header"):
        split.image(5)
    assert split.image(6).any()


def test_a_shard_that_cannot_be_opened_is_no_damaged_sample(folder: Path) -> None:
    split = ShardIndex.load(folder).split("train")
    (folder / split.shards[0].name).unlink()
    with pytest.raises(InputError, match="No such file") as caught:
        split.image(0)
    assert not isinstance(caught.value, DamagedSample)


@pytest.fixture
def fetched(folder: Path, tmp_path: Path) -> tuple[Split, Path]:
    """The training split of a data set behind an address, and the copy of its first shard."""
    cache = tmp_path / "cache"
    shelf = CachedShards(f"file:{folder}", cache, limit_bytes=10**9, attempts=1)
    split = ShardIndex(f"file:{folder}", shelf).split("train")
    split.image(0)
    return split, cache / split.shards[0].sha256


def flip(path: Path, split: Split, position: int) -> None:
    """Changes a bit of a picture where it lies, as a disk may."""
    with path.open("r+b") as file:
        file.seek(int(split.places["image_offset"][position]) + 20)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_a_fetched_shard_that_rots_is_fetched_again(fetched: tuple[Split, Path]) -> None:
    split, copy = fetched
    expected, second = split.image(0), pickle.loads(pickle.dumps(split))
    assert np.array_equal(second.image(0), expected)  # which has the bad copy open, too
    flip(copy, split, 0)
    assert np.array_equal(split.image(0), expected)
    better = copy.stat().st_ino
    assert np.array_equal(second.image(0), expected)
    assert copy.stat().st_ino == better


def test_a_shard_that_is_fetched_no_better_is_told_with_what_can_be_done(
    folder: Path, tmp_path: Path, fetched: tuple[Split, Path]
) -> None:
    places = np.load(folder / PLACES_NAME)
    places["image_crc32"][0] ^= 1
    content = places_file(places)
    (folder / PLACES_NAME).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    change_index(folder, lambda document: document["places"].update(sha256=digest))
    split = ShardIndex(f"file:{folder}", fetched[0].shelf).split("train")
    for _ in range(2):
        with pytest.raises(DamagedSample, match="what lies there is no better") as caught:
            split.image(0)
        assert "verify" not in str(caught.value)


def test_details_may_be_missing(folder: Path) -> None:
    places = np.load(folder / PLACES_NAME)
    places["details_size"] = places["details_crc32"] = 0
    (folder / PLACES_NAME).write_bytes(places_file(places))
    assert ShardIndex.load(folder).split("train").details(0) == {}

"""The cache of decoded pictures: the same pictures, made once, whole or not at all."""

import json
import os
import pickle
import re
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fes.data.decoded import DecodedSplit, decode_to
from fes.errors import InputError
from tests.fes.numbered import Broken, Numbers, Shelved, taken

SHAPE = 1, 48, 48
NUMBER = 2, 1, 1


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_the_cache_holds_the_pictures_of_the_split(drawn_index, tmp_path, workers):
    train, path = drawn_index.split("train"), tmp_path / "new" / "train.uint8"
    decode_to(path, train, SHAPE, workers=workers)
    split = DecodedSplit(train, path, SHAPE)
    room = np.zeros((train.samples, *SHAPE), np.uint8)
    split.images(np.arange(train.samples)[::-1], room)
    for position in range(train.samples):
        assert np.array_equal(split.image(position), train.image(position))
        assert np.array_equal(room[-1 - position], split.image(position))
    assert np.array_equal(split.labels, train.labels)
    assert (split.resolution, split.channels, split.place) == (48, 1, str(path))
    assert names(path.parent) == ["train.uint8"]


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_told_to_the_end(tmp_path, workers):
    told = []
    samples = Numbers([300, 301])
    decode_to(
        tmp_path / "c", samples, NUMBER, workers=workers, progress=lambda done, of: told.append((done, of))
    )
    assert told == [(256, 601), (512, 601), (601, 601)]


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_are_asked_for_ahead_of_their_decoding(tmp_path, workers):
    samples = Shelved([200] * 9, tmp_path / "log")
    decode_to(tmp_path / "cache", samples, NUMBER, workers=workers)
    asked = sorted(tuple(names) for _, names in samples.shelf.told)
    firsts = sorted(at // 200 for at in range(0, 1800, 256))
    assert asked == [tuple(f"faces-{n}.tar" for n in range(at, min(at + 4, 9))) for at in firsts]


def test_the_cache_is_written_once_and_again_where_it_is_cut_short(drawn_index, tmp_path):
    valid, path = drawn_index.split("valid"), tmp_path / "valid.uint8"
    decode_to(path, valid, SHAPE)
    written = path.stat().st_ino
    decode_to(path, valid, SHAPE)
    assert path.stat().st_ino == written
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    decode_to(path, valid, SHAPE)
    assert path.read_bytes() == content


def test_what_a_killed_process_left_is_removed_and_what_others_write_is_not(drawn_index, tmp_path):
    valid, path, host = drawn_index.split("valid"), tmp_path / "valid.uint8", socket.gethostname()
    with subprocess.Popen(["true"]) as ended:
        pass
    kept = [
        f"{path.name}.{host}.{os.getppid()}",
        f"{path.name}.elsewhere.{ended.pid}",
        f"{path.name}.{host}.x",
    ]
    for name in (*kept, f"{path.name}.{host}.{ended.pid}", f"{path.name}.{host}.{10**30}"):
        (tmp_path / name).write_bytes(b"half")
    decode_to(path, valid, SHAPE)
    assert names(tmp_path) == sorted([path.name, *kept])


def test_the_name_of_what_is_being_written_tells_the_machine(tmp_path):
    seen = []
    decode_to(tmp_path / "c", Numbers([9]), NUMBER, progress=lambda *_: seen.extend(names(tmp_path)))
    assert seen == [f"c.{socket.gethostname()}.{os.getpid()}"]


def test_a_mapped_cache_travels_without_its_pixels(drawn_index, tmp_path):
    valid, path = drawn_index.split("valid"), tmp_path / "valid.uint8"
    decode_to(path, valid, SHAPE)
    split = DecodedSplit(valid, path, SHAPE)
    split.image(0)
    sent = pickle.dumps(split)
    assert len(sent) < path.stat().st_size / 4
    assert np.array_equal(pickle.loads(sent).image(5), valid.image(5))


@pytest.mark.parametrize("name", ["file/train.uint8", "x" * 300 + "/train.uint8"])
def test_a_cache_that_cannot_be_written_is_told_in_one_sentence(drawn_index, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the decoded pictures"):
        decode_to(tmp_path / name, drawn_index.split("valid"), SHAPE)


def test_a_disk_without_room_is_told_before_anything_is_read(tmp_path):
    endless = Numbers([10**16], labels=np.empty(0, np.int64))
    with pytest.raises(InputError, match=r"take 20000000\.0 GB and .* has room for"):
        decode_to(tmp_path / "cache", endless, NUMBER)
    assert names(tmp_path) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_sample_ends_the_making_and_leaves_nothing(tmp_path, workers):
    with pytest.raises(InputError, match=r"^shard-3.tar: member 301.png is damaged"):
        decode_to(tmp_path / "cache", Broken([300, 300], [301]), NUMBER, workers=workers)
    assert names(tmp_path) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_samples_that_are_skipped_are_noted_and_the_others_kept(tmp_path, workers):
    bad, path = {0, 1, 299, 599}, tmp_path / "cache"
    samples = Broken([300, 300], bad)
    decode_to(path, samples, NUMBER, workers=workers, on_bad_sample="skip")
    split = DecodedSplit(samples, path, NUMBER)
    good = np.array([position for position in range(600) if position not in bad])
    room = np.zeros((len(good), *NUMBER), np.uint8)
    split.images(good, room)
    assert taken(room) == good.tolist()
    for position in bad:
        sentence = re.escape(f"shard-3.tar: member {position}.png is damaged: build it again")
        with pytest.raises(InputError, match=f"^{sentence}$"):
            split.image(position)
        with pytest.raises(InputError, match=f"^{sentence}$"):
            split.images(np.array([2, position, 3]), np.zeros((3, *NUMBER), np.uint8))


def test_bad_samples_are_tried_again_when_the_cache_is_used_again(tmp_path):
    samples, path = Broken([20, 20], [0, 7, 30]), tmp_path / "cache"
    decode_to(path, samples, NUMBER, on_bad_sample="skip")
    with pytest.raises(InputError, match=r"member 0\.png"):
        decode_to(path, samples, NUMBER)
    samples.bad = {30}
    decode_to(path, samples, NUMBER, on_bad_sample="skip")
    split = DecodedSplit(samples, path, NUMBER)
    assert [taken(split.image(position)[None]) for position in (0, 7)] == [[0], [7]]
    with pytest.raises(InputError, match=r"member 30\.png"):
        split.image(30)
    samples.bad = set()
    decode_to(path, samples, NUMBER)
    assert taken(DecodedSplit(samples, path, NUMBER).image(30)[None]) == [30]
    assert names(tmp_path) == ["cache"]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"x": 1}', b"\xff\xfe", b"{"])
def test_a_damaged_list_of_bad_samples_is_told_in_one_sentence(tmp_path, content):
    samples, path = Broken([20, 20], [7]), tmp_path / "cache"
    decode_to(path, samples, NUMBER, on_bad_sample="skip")
    (listed,) = set(names(tmp_path)) - {"cache"}
    assert json.loads((tmp_path / listed).read_text()).keys() == {"7"}
    (tmp_path / listed).write_bytes(content)
    with pytest.raises(InputError, match=f"{listed} is damaged: remove it"):
        DecodedSplit(samples, path, NUMBER)
    with pytest.raises(InputError, match=f"{listed} is damaged: remove it"):
        decode_to(path, samples, NUMBER)

"""What counts as a sample in a tar of others, and what a damaged tar costs."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.errors import InputError
from shards.foreign import tar as foreign_tar
from shards.foreign.tar import Meaning, index_one
from shards.schema import PLACE


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def pack(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pictures_in(path: Path) -> list[bytes]:
    """The bytes where the index says that pictures lie."""
    places, data = index_one(Meaning(), path).places, path.read_bytes()
    assert places.dtype == PLACE
    return [
        data[place["image_offset"] : int(place["image_offset"]) + int(place["image_size"])]
        for place in places
    ]


def test_the_folder_is_part_of_the_key_and_the_key_ends_at_the_first_dot(tmp_path: Path) -> None:
    members = [("a/1.png", picture(1)), ("a/1.x.cls", b"2"), ("b/1.png", picture(2)), ("b/1.cls", b"3")]
    tar = index_one(Meaning(), pack(tmp_path / "a.tar", [*members, ("b/1.5.png", picture(3))]))
    assert tar.places["label"].tolist() == [2, 3]
    assert tar.troubles == [(foreign_tar.SEVERAL, "b/1")]


def test_what_systems_and_webdataset_keep_for_themselves_is_no_sample(tmp_path: Path) -> None:
    members = [
        ("__meta__", b"?"),
        ("__info__/1.png", picture(1)),
        (".DS_Store", b"?"),
        ("d/._1.png", picture(2)),
        ("d/1.png", picture(3)),
        ("d/._1.cls", b"?"),
        ("d/1.cls", b"6"),
    ]
    path = pack(tmp_path / "a.tar", members)
    tar = index_one(Meaning(), path)
    assert pictures_in(path) == [picture(3)]
    assert (tar.places["label"].tolist(), tar.troubles) == ([6], [])


def test_members_apart_are_not_of_one_sample(tmp_path: Path) -> None:
    members = [("1.png", picture(1)), ("2.png", picture(2)), ("1.cls", b"6"), ("2.cls", b"6")]
    tar = index_one(Meaning(), pack(tmp_path / "a.tar", members))
    assert tar.places["label"].tolist() == [-1, -1]
    assert tar.troubles == [(foreign_tar.NO_PICTURE, "1"), (foreign_tar.NO_PICTURE, "2")]


def test_members_of_other_kinds_are_no_trouble(tmp_path: Path) -> None:
    members = [("1.a.txt", b"?"), ("1.b.txt", b"?"), ("1.npy", b"?"), ("1.png", picture(1)), ("1.txt", b"?")]
    path = pack(tmp_path / "a.tar", members)
    assert pictures_in(path) == [picture(1)]
    assert index_one(Meaning(), path).troubles == []


def test_names_without_an_ending_are_told(tmp_path: Path) -> None:
    tar = index_one(Meaning(), pack(tmp_path / "a.tar", [("README", b"?"), ("1.png", picture(1))]))
    assert tar.troubles == [(foreign_tar.NO_ENDING, "README")]
    assert len(tar.rows) == 1


def test_a_member_too_large_for_memory_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_tar, "LARGEST", 1000)
    path = pack(tmp_path / "a.tar", [("1.png", bytes(1001)), ("2.png", picture(2))])
    assert pictures_in(path) == [picture(2)]
    assert (foreign_tar.TOO_LARGE, "1.png") in index_one(Meaning(), path).troubles


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, lambda data: b"\x28\xb5\x2f\xfd"]
)
def test_a_compressed_tar_is_to_be_unpacked_first(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = pack(tmp_path / "a.tar", [("1.png", picture(1))])
    path.write_bytes(compress(path.read_bytes()))
    with pytest.raises(InputError, match=r"a\.tar is compressed, .* unpack it"):
        index_one(Meaning(), path)


def test_a_tar_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*no\.tar \(No such file"):
        index_one(Meaning(), tmp_path / "no.tar")


def test_a_tar_damaged_anywhere_gives_whole_pictures_and_never_another_error(tmp_path: Path) -> None:
    members = [
        (f"{n:03d}.{ending}", data)
        for n in range(8)
        for ending, data in (("cls", b"3"), ("json", b'{"who": 1}'), ("png", picture(n)))
    ]
    whole, chance = pack(tmp_path / "a.tar", members).read_bytes(), random.Random(0)
    meaning, told = Meaning("who", "who"), 0
    for _ in range(200):
        data = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.2 else whole)
        for _ in range(chance.randrange(1, 30)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / "b.tar"
        path.write_bytes(data)
        tar = index_one(meaning, path)
        told += len(tar.troubles)
        assert len(tar.rows) == len(tar.people) == len(tar.sizes) <= 8
        assert set(tar.sizes) <= {(8, 8)}
    assert told > 200

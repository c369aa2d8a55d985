"""CelebA as it lies on Hugging Face: which columns are read, and what damage to a file costs."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fes.errors import InputError
from shards.sources import celeba, parquet
from shards.sources.celeba import read_celeba
from tests.shards.scarcity import no_more_files
from tests.shards.sources.celeba_layouts import PEOPLE, PICTURES, contents, found, hugging_face, told


def test_rows_without_names_or_bytes_are_told_by_their_number(tmp_path: Path) -> None:
    files = [{"bytes": PICTURES["000001.jpg"], "path": None}, None, {"bytes": None, "path": "a/x.jpg"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {"IMG": pa.array(files, kind), "Celeb-ID": [3, None, -4], "Smiling": [True, None, False]}
    )
    pq.write_table(table, tmp_path / "celeba.parquet")
    source = read_celeba(tmp_path / "celeba.parquet")
    rows = [f"celeba.parquet row {row}" for row in (1, 2)]
    assert told(source) == [
        (rows[0], "train", 3, ["Smiling"]),
        (rows[1], "train", -1, []),
        ("x.jpg", "train", -1, []),
    ]
    assert source.read([0, 1, 2]) == [PICTURES["000001.jpg"], parquet.NO_BYTES, parquet.NO_BYTES]
    assert found(source)[celeba.NO_LIST] == ("all kept in train", ["list_eval_partition.txt"])


def test_pictures_may_stand_in_a_column_of_bytes_with_names_beside(tmp_path: Path) -> None:
    columns = {"image": [*PICTURES.values()], "image_id": [*PICTURES], "celeb_id": [*PEOPLE.values()]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    source = read_celeba(tmp_path)
    assert told(source) == [(name, "train", PEOPLE[name], None) for name in PICTURES]
    assert contents(source) == PICTURES


def test_a_parquet_file_without_pictures_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"], "label": [1]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="no column with the bytes of pictures"):
        read_celeba(tmp_path)


def test_a_parquet_file_that_is_cut_short_is_one_sentence(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    path = tmp_path / "img_align+identity+attr/valid-00000-of-00002.parquet"
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:100],
        whole[: len(whole) // 2],
        b"version https://git-lfs.github.com/spec/v1\n",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"cannot read {path.parent}.*valid-00000".replace("+", r"\+")):
            read_celeba(tmp_path)


def test_damage_in_a_parquet_file_costs_no_more_than_its_group_of_rows(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    path = tmp_path / "img_align+identity+attr/train-00000-of-00002.parquet"
    whole = bytearray(path.read_bytes())
    whole[4:40] = bytes(36)
    path.write_bytes(whole)
    read = contents(read_celeba(tmp_path))
    damaged = dict.fromkeys(("000001.jpg", "000002.jpg"), parquet.DAMAGED)
    assert read == PICTURES | damaged


def test_where_no_parquet_file_can_be_opened_no_picture_is_given_up(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    source = read_celeba(tmp_path)
    told_so = pytest.raises(
        InputError, match=r"cannot read .*\.parquet \(Too many open files\): run the same"
    )
    with no_more_files(), told_so:
        contents(source)
    assert contents(source) == PICTURES
    [path, *_] = tmp_path.rglob("*.parquet")
    with no_more_files(), told_so:
        parquet.read_told(path, 0)


def test_a_missing_library_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [root, *_] = hugging_face(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install pyarrow"):
        read_celeba(root)

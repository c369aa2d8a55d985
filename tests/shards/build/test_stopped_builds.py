"""Builds that are stopped or meet what others built: the bytes are the same in the end, nothing is lost."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.gather import BLOCK
from shards.build.writer import (
    UNFINISHED_NAME,
    BuildOptions,
    Stages,
    build,
)
from shards.index import ShardIndex
from shards.schema import INDEX_NAME, PLACES_NAME, REPORT_NAME, Progress
from tests.shards.build.builds import SPLITS_OF_25, contents, made
from tests.shards.made_up import GONE, MadeUpSource


def test_a_finished_data_set_is_refused_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    made(MadeUpSource(SPLITS_OF_25), tmp_path, samples_per_shard=2)
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="holds a finished data set: pass --overwrite"):
        made(MadeUpSource(SPLITS_OF_25), tmp_path)
    assert contents(tmp_path) == before
    made(MadeUpSource(["train"] * 3, name="other"), tmp_path, overwrite=True)
    left = [INDEX_NAME, PLACES_NAME, "notes.txt", "other-train-000000.tar", REPORT_NAME]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_build_that_is_stopped_while_reading_changes_nothing_and_ends_with_the_same_bytes(
    tmp_path: Path, overwrite: bool
) -> None:
    splits = ["train"] * (BLOCK + 9)
    made(MadeUpSource(splits), tmp_path / "at once")
    out = tmp_path / "out"
    if overwrite:
        made(MadeUpSource(["train"] * 40), out, samples_per_shard=1)
    with pytest.raises(KeyboardInterrupt):
        made(MadeUpSource(splits, stops=(BLOCK + 2,)), out, overwrite=overwrite)
    if overwrite:  # until there is something to put in its place, the old data set stays
        assert ShardIndex.load(out).catalogue.samples == 40
    else:
        with pytest.raises(InputError, match=r"no index\.json, so no finished data set"):
            ShardIndex.load(out)
    log = tmp_path / "log"
    made(MadeUpSource(splits, log=log), out, overwrite=overwrite)
    assert log.read_text().split() == [str(at) for at in range(BLOCK, BLOCK + 9)]
    assert contents(out) == contents(tmp_path / "at once")
    assert not (out / UNFINISHED_NAME).exists()


def test_two_builds_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def build_again(name: str) -> Iterator[Progress]:
        with pytest.raises(InputError, match=r"is writing to .*: wait for it or choose another --out"):
            made(MadeUpSource(["train"] * 9, stamp="other"), tmp_path)
        yield lambda *counts: None

    build(MadeUpSource(["train"] * 5), tmp_path, BuildOptions(workers=1), stages=build_again)
    assert ShardIndex.load(tmp_path).catalogue.samples == 5


def test_a_folder_that_is_removed_under_a_build_is_told_and_no_space_is_asked_for(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def removed(name: str) -> Iterator[Progress]:
        shutil.rmtree(tmp_path / "out")
        yield lambda *counts: None

    with pytest.raises(InputError, match=r"\(No such file or directory\): see to that and give the same"):
        build(MadeUpSource(["train"]), tmp_path / "out", BuildOptions(workers=1), stages=removed)


@pytest.mark.parametrize("overwrite", [False, True])
def test_tars_that_no_build_has_put_there_are_never_touched(tmp_path: Path, overwrite: bool) -> None:
    if overwrite:
        made(MadeUpSource(["train"] * 3), tmp_path)
    (tmp_path / "others-train-000000.tar").write_text("not ours")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"tars that no build has put there \(others-train-000000\.tar\)"):
        made(MadeUpSource(["train"] * 5), tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_a_replacement_without_a_usable_picture_leaves_what_was_there(tmp_path: Path) -> None:
    made(MadeUpSource(["train"] * 3), tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="no sample of madeup can be used"):
        made(MadeUpSource(["train"], {0: GONE}), tmp_path, overwrite=True)
    assert contents(tmp_path) == before


class Stop(Exception):
    pass


def stopped_after(shards: int) -> Stages:
    """Raises `Stop` when so many shards of one sample are written."""

    @contextlib.contextmanager
    def stage(name: str) -> Iterator[Progress]:
        def tell(done: int, total: int) -> None:
            if name == "writing" and done == shards:
                raise Stop

        yield tell

    return stage


@pytest.mark.parametrize("damage", [b"", b"not what it was"])
def test_a_build_that_is_stopped_while_writing_writes_only_what_is_missing_or_damaged(
    tmp_path: Path, damage: bytes
) -> None:
    source, options = MadeUpSource(["train"] * 8), BuildOptions(samples_per_shard=1, workers=1)
    build(source, tmp_path / "at once", options)
    out = tmp_path / "out"
    with pytest.raises(Stop):
        build(source, out, options, stages=stopped_after(3))
    shards = sorted(out.glob("*.tar"))
    assert len(shards) == 3
    shards[1].write_bytes(damage)
    written = [path.stat().st_ino for path in shards]
    build(source, out, options)
    again = [path.stat().st_ino for path in shards]
    assert [a == b for a, b in zip(written, again, strict=True)] == [True, False, True]
    assert contents(out) == contents(tmp_path / "at once")


def test_a_build_that_lost_what_it_had_read_with_the_power_goes_on_by_the_same_command(
    tmp_path: Path,
) -> None:
    source, options = MadeUpSource(["train"] * 8), BuildOptions(samples_per_shard=1, workers=1)
    build(source, tmp_path / "at once", options)
    out = tmp_path / "out"
    with pytest.raises(Stop):
        build(source, out, options, stages=stopped_after(3))
    (pictures,) = out.glob("unfinished/*.pictures")
    pictures.write_bytes(bytes(pictures.stat().st_size))
    build(source, out, options)
    assert contents(out) == contents(tmp_path / "at once")


def test_a_build_of_another_cut_leaves_none_of_the_shards_of_the_one_before_it(tmp_path: Path) -> None:
    source = MadeUpSource(["train"] * 8)
    with pytest.raises(Stop):
        build(source, tmp_path, BuildOptions(samples_per_shard=1, workers=1), stages=stopped_after(5))
    made(source, tmp_path)
    assert [path.name for path in tmp_path.glob("*.tar")] == ["madeup-train-000000.tar"]

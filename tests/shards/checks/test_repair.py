"""Damaged, lost and stray shards are repaired: every whole sample stays, and the rest lies in quarantine."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.writer import UNFINISHED_NAME
from shards.checks.repair import repair
from shards.checks.staging import QUARANTINE_NAME
from shards.checks.verify import verify
from shards.index import ShardIndex
from shards.schema import INDEX_NAME, PLACES_NAME, REPORT_NAME
from tests.shards.checks.drawn_shards import (
    FIRST,
    LAST,
    SAMPLES,
    SHARD,
    contents_of,
    files_in,
    quarantined,
    spoil_picture,
)
from tests.shards.damage import cut, flip, places_of


def test_a_folder_without_faults_is_left_as_it_is(folder: Path) -> None:
    before = files_in(folder)
    repaired = repair(folder)
    assert (repaired.actions, repaired.kept, repaired.dropped) == ((), SAMPLES, 0)
    assert files_in(folder) == before


def test_a_damaged_sample_is_dropped_and_lies_in_quarantine_with_the_reason(
    folder: Path, drawn_folder: Path
) -> None:
    spoil_picture(folder, 14)
    damaged = files_in(folder)[SHARD]
    row = places_of(folder)[14]
    repaired = repair(folder)
    assert (repaired.kept, repaired.dropped) == (SAMPLES - 1, 1)
    assert verify(folder) == []
    expected = contents_of(drawn_folder)
    picture = ShardIndex.load(drawn_folder).split("train").read(14, "image")
    del expected[picture]
    assert contents_of(folder) == expected
    stem = "drawn-train-000002.000000014"
    assert quarantined(folder) == {f"{stem}.cls", f"{stem}.json", f"{stem}.png", "quarantine.json"}
    start, size = int(row["image_offset"]), int(row["image_size"])
    assert (folder / QUARANTINE_NAME / f"{stem}.png").read_bytes() == damaged[start : start + size]
    entries = json.loads((folder / QUARANTINE_NAME / "quarantine.json").read_bytes())["files"]
    entry = next(entry for entry in entries if entry["member"] == "000000014.png")
    assert (entry["shard"], entry["offset"]) == (SHARD, start)
    assert "not those that were written" in entry["reason"]
    assert any("sample 000000014 was dropped" in action for action in repaired.actions)


def test_keys_count_on_without_a_gap_and_shards_before_the_damage_are_not_touched(
    folder: Path, drawn_folder: Path
) -> None:
    spoil_picture(folder, 14)
    repair(folder)
    before, after = files_in(drawn_folder), files_in(folder)
    same = {name for name in before if after.get(name) == before[name]}
    others = {f"drawn-train-{number:06d}.tar" for number in range(2, 8)} | {INDEX_NAME, PLACES_NAME}
    assert same == {*before} - others
    assert b"000000040.png" in after[LAST]
    assert b"000000041" not in after[LAST]


def test_what_the_index_knows_is_mended_and_costs_no_sample(folder: Path, drawn_folder: Path) -> None:
    row = places_of(folder)[14]
    details = int(row["details_offset"])
    flip(folder / SHARD, details - 1024, details - 500, int(row["image_offset"]) - 512)
    assert len(verify(folder)) == 2  # a label, and two headers one behind the other
    repaired = repair(folder)
    assert repaired.dropped == 0
    assert files_in(folder) == files_in(drawn_folder)


def test_a_cut_shard_keeps_its_whole_samples(folder: Path) -> None:
    offset = int(places_of(folder)[14]["image_offset"])
    cut(folder / SHARD, offset + 10)
    repaired = repair(folder)
    assert repaired.dropped == 3
    assert verify(folder) == []
    assert (folder / QUARANTINE_NAME / "drawn-train-000002.000000014.png").stat().st_size == 10


def test_a_cut_shard_keeps_its_whole_samples_without_an_index_too(folder: Path, drawn_folder: Path) -> None:
    offset = int(places_of(folder)[14]["image_offset"])
    cut(folder / SHARD, offset + 10)
    (folder / INDEX_NAME).unlink()
    (folder / PLACES_NAME).unlink()
    repaired = repair(folder)
    assert repaired.kept == SAMPLES - 3
    assert verify(folder) == []
    assert contents_of(folder).items() <= contents_of(drawn_folder).items()
    assert {"drawn-train-000002.000000014.cls", "drawn-train-000002.000000014.json"} < quarantined(folder)


@pytest.mark.parametrize("size", [1, 512, 700])
def test_samples_that_are_only_shifted_are_all_kept(folder: Path, drawn_folder: Path, size: int) -> None:
    offset = int(places_of(folder)[13]["image_offset"])
    data = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(data[:offset] + bytes(size) + data[offset:])
    repaired = repair(folder)
    assert (repaired.dropped, verify(folder)) == (1, [])
    assert contents_of(folder).items() <= contents_of(drawn_folder).items()


def test_a_missing_shard_is_told_and_the_others_are_numbered_anew(folder: Path, drawn_folder: Path) -> None:
    (folder / SHARD).unlink()
    repaired = repair(folder)
    assert (repaired.kept, repaired.dropped) == (SAMPLES - 5, 5)
    assert f"{SHARD} is missing: 5 samples are lost" in repaired.actions
    assert verify(folder) == []
    assert not (folder / LAST).exists()
    assert contents_of(folder).items() <= contents_of(drawn_folder).items()


def test_a_missing_shard_that_lies_there_under_another_name_is_put_back(
    folder: Path, drawn_folder: Path
) -> None:
    (folder / SHARD).rename(folder / "drawn-train-000002 (1).tar")
    repaired = repair(folder)
    assert repaired.dropped == 0
    assert files_in(folder) == files_in(drawn_folder)


def test_a_shard_with_nothing_whole_goes_to_quarantine_as_it_is(folder: Path) -> None:
    garbage = random.Random(0).randbytes(20_000)
    (folder / SHARD).write_bytes(garbage)
    repaired = repair(folder)
    assert repaired.dropped == 5
    assert verify(folder) == []
    assert (folder / QUARANTINE_NAME / SHARD).read_bytes() == garbage


def test_a_split_that_is_lost_as_a_whole_is_not_in_the_index_any_more(folder: Path) -> None:
    (folder / "drawn-test-000000.tar").write_bytes(b"")
    repair(folder)
    assert ShardIndex.load(folder).splits == ("train", "valid")
    assert verify(folder) == []


def test_the_only_sample_of_a_shard_is_not_taken_for_whole_when_it_is_damaged(tmp_path: Path) -> None:
    from shards.build.writer import BuildOptions, build
    from shards.sources.drawn import DrawnOptions, draw

    people = DrawnOptions(train_identities=1, valid_identities=0, test_identities=0)
    build(draw(people), tmp_path / "one", BuildOptions(samples_per_shard=1, workers=1))
    shard = next((tmp_path / "one").glob("*000001.tar"))
    rows = places_of(tmp_path / "one")
    where = next(
        index for index, name in enumerate(sorted((tmp_path / "one").glob("*.tar"))) if name == shard
    )
    flip(shard, int(rows[sum(samples_in(tmp_path / "one")[:where])]["details_offset"]) + 30)
    before = repair(tmp_path / "one")
    assert before.dropped == 1
    assert verify(tmp_path / "one") == []


def samples_in(folder: Path) -> list[int]:
    return [shard["samples"] for shard in json.loads((folder / INDEX_NAME).read_bytes())["shards"]]


def test_strays_and_left_overs_are_put_away_and_told(folder: Path) -> None:
    shutil.copy(folder / SHARD, folder / "copy.tar")
    (folder / ".x.partial").write_bytes(b"?")
    (folder / UNFINISHED_NAME).mkdir()
    (folder / REPORT_NAME).write_text("{")
    repaired = repair(folder)
    assert verify(folder) == []
    assert quarantined(folder) == {"copy.tar", REPORT_NAME, "quarantine.json"}
    assert len(repaired.actions) == 5
    assert repaired.kept == SAMPLES


def test_what_is_put_away_later_does_not_replace_what_was_before(folder: Path) -> None:
    for _ in range(2):
        spoil_picture(folder, 14)
        repair(folder)
    assert {"drawn-train-000002.000000014.png", "drawn-train-000002.000000014.2.png"} < quarantined(folder)
    entries = json.loads((folder / QUARANTINE_NAME / "quarantine.json").read_bytes())["files"]
    assert len(entries) == 6


class Stopped(BaseException):
    """A program that ends in the middle."""


@pytest.mark.parametrize("steps", [4, *range(11, 25)])
def test_wherever_a_repair_is_interrupted_the_next_one_ends_with_the_same(
    folder: Path, drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    shutil.copy(folder / SHARD, folder / "copy.tar")
    (folder / "drawn-train-000004.tar").write_bytes(b"?")
    spoil_picture(folder, 14)
    once = shutil.copytree(folder, tmp_path / "once")
    repair(once)
    done = []

    def replace_until_stopped(*paths: object) -> None:
        if len(done) == steps:
            raise Stopped
        done.append(paths)
        os.rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_until_stopped)
        with pytest.raises(Stopped):
            repair(folder)
    try:
        assert verify(folder) != []  # as it was
        assert contents_of(drawn_folder)
    except InputError as error:
        assert "verify --repair" in str(error)  # noqa: PT017
    repair(folder)
    assert files_in(folder) == files_in(once)


def test_processes_repair_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    spoil_picture(folder, 3, FIRST)
    other = shutil.copytree(folder, tmp_path / "other")
    assert repair(folder, workers=3) == repair(other)
    assert files_in(folder) == files_in(other)


@pytest.mark.parametrize("seed", range(20))
def test_after_any_damage_a_repair_leaves_no_fault_and_only_true_samples(
    folder: Path, drawn_folder: Path, seed: int
) -> None:
    rng = random.Random(seed)
    for name in rng.sample([FIRST, SHARD, LAST, "drawn-valid-000001.tar"], 2):
        data = bytearray((folder / name).read_bytes())
        start = rng.randrange(len(data))
        data[start : start + rng.choice([1, 512, 9000])] = rng.randbytes(rng.choice([0, 1, 512, 3000]))
        (folder / name).write_bytes(data)
    repaired = repair(folder)
    assert verify(folder) == []
    contents = contents_of(folder)
    assert contents.items() <= contents_of(drawn_folder).items()
    assert (len(contents), repaired.dropped) == (repaired.kept, SAMPLES - repaired.kept)
    assert repair(folder).actions == ()

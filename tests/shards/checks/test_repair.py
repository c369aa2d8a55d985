import json
import os
import random
import shutil
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.writer import UNFINISHED_NAME
from shards.checks.repair import repair
from shards.checks.staging import QUARANTINE_NAME, STAGING_NAME
from shards.checks.verify import verify
from shards.foreign.indexing import index_shards
from shards.index import ShardIndex
from shards.schema import INDEX_NAME, PLACES_NAME, REPORT_NAME, no_progress
from tests.shards.damage import cut, edit_index, edit_places, flip, places_of

FIRST = "drawn-train-000000.tar"
SHARD = "drawn-train-000002.tar"  # positions 12 to 16 of train
LAST = "drawn-train-000007.tar"
SAMPLES = 63

Contents = dict[bytes, tuple[str, int, int, bytes]]


def contents_of(folder: Path) -> Contents:
    """Split, label, identity and details of every picture."""
    index, contents = ShardIndex.load(folder), {}
    for name in index.splits:
        split = index.split(name)
        for at in range(split.samples):
            told = (name, int(split.labels[at]), int(split.identities[at]), split.read(at, "details"))
            contents[split.read(at, "image")] = told
    return contents


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def quarantined(folder: Path) -> set[str]:
    return {path.name for path in (folder / QUARANTINE_NAME).iterdir()}


def spoil_picture(folder: Path, position: int, shard: str = SHARD) -> None:
    flip(folder / shard, int(places_of(folder)[position]["image_offset"]) + 60)


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


@pytest.mark.parametrize("lost", [(INDEX_NAME,), (PLACES_NAME,), (INDEX_NAME, PLACES_NAME)])
def test_a_lost_index_is_made_anew_from_the_shards_to_the_byte(
    folder: Path, drawn_folder: Path, lost: tuple[str, ...]
) -> None:
    for name in lost:
        (folder / name).unlink()
    repaired = repair(folder)
    assert (repaired.kept, repaired.dropped) == (SAMPLES, 0)
    assert any(lost[0] in action for action in repaired.actions)
    assert files_in(folder) == files_in(drawn_folder)


@pytest.mark.parametrize("name", [INDEX_NAME, PLACES_NAME])
def test_a_damaged_index_is_made_anew(folder: Path, drawn_folder: Path, name: str) -> None:
    cut(folder / name, (folder / name).stat().st_size // 2)
    repair(folder)
    assert files_in(folder) == files_in(drawn_folder)


def test_an_index_that_states_what_is_not_so_is_made_anew(folder: Path, drawn_folder: Path) -> None:
    edit_index(folder, lambda document: document.update(resolution=17, channels=3, source="drown"))
    edit_places(folder, lambda rows: rows["label"].__setitem__(slice(None), 99))
    repair(folder)
    assert files_in(folder) == files_in(drawn_folder)


def test_a_crop_stays_and_one_that_cannot_be_is_taken_out(folder: Path) -> None:
    fitting = {"width": 48, "height": 48, "left": 4, "top": 8, "side": 40}
    edit_index(folder, lambda document: document.update(crop=fitting))
    repair(folder)
    assert ShardIndex.load(folder).catalogue.crop.top == 8
    assert ShardIndex.load(folder).resolution == 40
    edit_index(folder, lambda document: document["crop"].update(side=400))
    repaired = repair(folder)
    assert repaired.kept == SAMPLES
    assert any("crop" in action for action in repaired.actions)
    assert ShardIndex.load(folder).catalogue.crop is None
    assert verify(folder) == []


@pytest.mark.parametrize("source", ["celeba", "folder"])
def test_a_crop_that_nobody_knows_any_more_is_told(folder: Path, source: str) -> None:
    for path in list(folder.glob("drawn-*.tar")):
        path.rename(folder / path.name.replace("drawn", source))
    (folder / INDEX_NAME).unlink()
    repaired = repair(folder)
    assert any("which part of the pictures to read is not known" in action for action in repaired.actions)
    assert verify(folder) == []


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


def test_whole_shards_of_another_build_are_taken_as_they_are(folder: Path, drawn_folder: Path) -> None:
    edit_places(folder, lambda rows: rows["image_offset"].__iadd__(512))
    repaired = repair(folder)
    assert (repaired.kept, repaired.dropped) == (SAMPLES, 0)
    assert contents_of(folder) == contents_of(drawn_folder)


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


def test_identities_that_the_details_name_are_numbered(folder: Path) -> None:
    from shards.build.writer import build
    from shards.sources.folder import read_folder

    source = folder.parent / "pictures"
    split = ShardIndex.load(folder).split("train")
    for at in range(6):
        path = source / "happy" / f"person{'ABC'[at % 3]}-{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(split.read(at, "image"))
    out = folder.parent / "of-people"
    build(read_folder(source, identity="person(.)"), out)
    before = contents_of(out)
    (out / PLACES_NAME).unlink()
    repair(out)
    assert contents_of(out) == before
    assert verify(out) == []


def test_an_interrupted_build_is_for_build_to_go_on_with(folder: Path) -> None:
    (folder / INDEX_NAME).unlink()
    (folder / UNFINISHED_NAME).mkdir()
    with pytest.raises(InputError, match="run the same `fes-shards build` again"):
        repair(folder)


def test_shards_of_two_data_sets_without_an_index_are_not_mixed(folder: Path) -> None:
    (folder / SHARD).rename(folder / "tfd-train-000002.tar")
    (folder / INDEX_NAME).unlink()
    with pytest.raises(InputError, match="several data sets"):
        repair(folder)


def test_another_version_is_no_damage(folder: Path) -> None:
    edit_index(folder, lambda document: document.update(schema="fes-shards-1"))
    before = files_in(folder)
    with pytest.raises(InputError, match="schema 'fes-shards-1'"):
        repair(folder)
    assert files_in(folder) == before


def test_where_nothing_is_whole_all_is_left_as_it_is(folder: Path) -> None:
    for path in folder.glob("*.tar"):
        path.write_bytes(b"?" * 2000)
    before = files_in(folder)
    with pytest.raises(InputError, match="it was left as it is"):
        repair(folder)
    assert files_in(folder) == before
    for path in folder.glob("*.tar"):
        path.unlink()
    with pytest.raises(InputError, match="no shard is left"):
        repair(folder)


def test_a_folder_without_shards_is_told_in_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="build drawn"):
            repair(folder)


def test_shards_that_others_made_are_not_changed(folder: Path, tmp_path: Path) -> None:
    index_shards([folder], tmp_path / "index", workers=1, progress=no_progress)
    before = files_in(folder)
    with pytest.raises(InputError, match="`fes-shards index`"):
        repair(tmp_path / "index")
    assert files_in(folder) == before


def test_a_shard_that_cannot_be_read_stops_the_repair_before_anything_is_changed(folder: Path) -> None:
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    before = files_in(folder)
    with pytest.raises(InputError, match="copy the folder to another disk"):
        repair(folder)
    assert files_in(folder) == before


def test_a_damaged_journal_is_told(folder: Path) -> None:
    (folder / STAGING_NAME).mkdir()
    (folder / STAGING_NAME / "journal.json").write_text('{"removed": ["../../x"]}')
    (folder / STAGING_NAME / INDEX_NAME).write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        repair(folder)


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

"""Every fault of shards is found and named by file, member and byte, and nothing else is."""

import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.alone import alone_in
from shards.build.writer import UNFINISHED_NAME
from shards.checks.staging import JOURNAL_NAME, STAGING_NAME
from shards.checks.verify import verify
from shards.foreign.indexing import index_shards
from shards.schema import INDEX_NAME, PLACES_NAME, REPORT_NAME, no_progress
from tests.shards.checks.drawn_shards import FIRST, SAMPLES, SHARD, files_of
from tests.shards.damage import cut, flip, places_of


def test_a_fresh_build_has_no_fault_and_every_sample_is_looked_at(drawn_folder: Path) -> None:
    told = []
    assert verify(drawn_folder, progress=lambda *counts: told.append(counts)) == []
    assert told[-1] == (SAMPLES, SAMPLES)


def test_processes_find_the_same_faults_in_the_same_order(folder: Path) -> None:
    for number in range(8):
        flip(folder / f"drawn-train-{number:06d}.tar", 3000, 9000)
    assert len(verify(folder)) >= 8
    assert verify(folder, workers=3) == verify(folder)


@pytest.mark.parametrize("seed", range(40))
def test_any_changed_byte_is_found_in_its_shard(folder: Path, seed: int) -> None:
    size = (folder / SHARD).stat().st_size
    flip(folder / SHARD, random.Random(seed).randrange(size))
    assert files_of(folder) == {SHARD}


@pytest.mark.parametrize(
    ("member", "field", "trouble"),
    [
        ("000000014.cls", None, "the label is"),
        ("000000014.json", "details_offset", "not those that were written"),
        ("000000014.png", "image_offset", "not those that were written"),
    ],
)
def test_a_changed_byte_in_a_member_is_named_with_member_and_offset(
    folder: Path, member: str, field: str | None, trouble: str
) -> None:
    row = places_of(folder)[14]
    offset = int(row[field]) if field else int(row["details_offset"]) - 1024
    flip(folder / SHARD, offset)
    (fault,) = verify(folder)
    assert (fault.file, fault.member, fault.offset) == (SHARD, member, offset)
    assert trouble in fault.trouble
    assert str(fault).startswith(f"{SHARD}, {member}, byte {offset}: ")


def test_a_changed_header_is_named_with_its_member_and_offset(folder: Path) -> None:
    offset = int(places_of(folder)[13]["image_offset"]) - 512
    flip(folder / SHARD, offset + 100)
    (fault,) = verify(folder)
    assert (fault.member, fault.offset) == ("000000013.png", offset)
    assert "header is damaged" in fault.trouble


def test_all_faults_are_listed_not_only_the_first(folder: Path) -> None:
    rows = places_of(folder)
    for position in (12, 14, 20):
        shard = SHARD if position < 17 else "drawn-train-000003.tar"
        flip(folder / shard, int(rows["image_offset"][position]) + 60)
    assert [fault.member for fault in verify(folder)] == ["000000012.png", "000000014.png", "000000020.png"]


def test_headers_lost_in_a_row_are_one_fault_that_tells_how_far_it_goes(folder: Path) -> None:
    data = bytearray((folder / SHARD).read_bytes())
    data[512:10240] = bytes(9728)
    (folder / SHARD).write_bytes(data)
    assert [(fault.member, fault.trouble) for fault in verify(folder)] == [
        ("000000012.cls", "the label is b'\\x00', not 4"),
        ("000000012.json", "the header is damaged, and all up to 000000014.json"),
    ]


def test_a_truncated_shard_is_named_once_at_the_first_member_it_lacks(folder: Path) -> None:
    offset = int(places_of(folder)[14]["image_offset"])
    cut(folder / SHARD, offset + 10)
    (fault,) = verify(folder)
    assert (fault.member, fault.offset) == ("000000014.png", offset)
    assert f"ends at byte {offset + 10}" in fault.trouble


def test_missing_and_stray_shards_are_named(folder: Path) -> None:
    (folder / SHARD).rename(folder / "drawn-train-000099.tar")
    assert [(fault.file, fault.trouble[:14]) for fault in verify(folder)] == [
        ("drawn-train-000099.tar", "is not in the "),
        (SHARD, "cannot be read"),
    ]


def test_a_shard_that_is_no_file_is_named_and_nobody_waits_for_it(folder: Path) -> None:
    (folder / SHARD).unlink()
    os.mkfifo(folder / SHARD)
    (fault,) = verify(folder)
    assert str(fault) == f"{SHARD}: cannot be read (it is no file)"


def test_what_a_stopped_program_left_behind_is_only_noted(folder: Path) -> None:
    (folder / UNFINISHED_NAME).mkdir()
    (folder / f".{SHARD}.partial").write_bytes(b"?")
    (folder / REPORT_NAME).write_text("{")
    faults = verify(folder)
    assert {fault.file for fault in faults} == {UNFINISHED_NAME, f".{SHARD}.partial", REPORT_NAME}
    assert all(fault.note and str(fault).startswith("note: ") for fault in faults)
    assert sum("was left behind by a program that was stopped" in str(fault) for fault in faults) == 2


def test_what_a_running_program_works_with_is_not_called_left_behind(folder: Path) -> None:
    (folder / UNFINISHED_NAME).mkdir()
    with alone_in(folder):
        (fault,) = verify(folder)
        assert fault.note
        assert str(fault).startswith(
            f"note: {UNFINISHED_NAME}: is of a build, an index or a repair that is run"
        )
        (folder / INDEX_NAME).unlink()
        with pytest.raises(InputError, match=r"is changed by a build, .* that is running: check again when"):
            verify(folder)
    with pytest.raises(InputError, match="holds no index"):
        verify(folder)


def test_a_repair_that_is_running_is_told_from_one_that_was_interrupted(folder: Path) -> None:
    (folder / STAGING_NAME).mkdir()
    (folder / STAGING_NAME / JOURNAL_NAME).write_text("{}")
    with alone_in(folder), pytest.raises(InputError, match=r"is changed by .* that is running"):
        verify(folder)
    with pytest.raises(InputError, match=r"a repair of .* was interrupted: "):
        verify(folder)


def test_a_folder_that_holds_no_shards_at_all_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no index\.json"):
        verify(tmp_path)


@pytest.mark.parametrize("seed", range(25))
def test_no_damage_is_met_with_anything_but_faults_or_a_sentence(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    for name in rng.sample([INDEX_NAME, PLACES_NAME, FIRST, SHARD], 2):
        data = bytearray((folder / name).read_bytes())
        start = rng.randrange(len(data))
        data[start : start + rng.choice([1, 100, 9000])] = rng.randbytes(rng.choice([0, 1, 512, 3000]))
        (folder / name).write_bytes(data)
    try:
        found = verify(folder)
    except InputError:
        return
    assert all(str(fault) for fault in found)
    assert found


def retarred(path: Path, change: Callable[[tarfile.TarInfo], None]) -> None:
    """Writes a shard anew with other headers."""
    contents = io.BytesIO()
    with (
        tarfile.open(path) as old,
        tarfile.open(fileobj=contents, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in old.getmembers():
            data = old.extractfile(member)
            change(member)
            new.addfile(member, data)
    path.write_bytes(contents.getvalue())


def owned(member: tarfile.TarInfo) -> None:
    member.uname, member.uid = "ann", 1000


def dated(member: tarfile.TarInfo) -> None:
    member.mtime = 1_700_000_000


@pytest.mark.parametrize(("change", "trouble"), [(owned, "names the owners 'ann' (1000)"), (dated, "a time")])
def test_a_header_with_an_owner_or_a_time_is_a_fault_however_right_the_index_is(
    folder: Path, change: Callable[[tarfile.TarInfo], None], trouble: str
) -> None:
    retarred(folder / SHARD, change)
    (folder / PLACES_NAME).unlink()  # then the shard is held to the format alone
    told = [str(fault) for fault in verify(folder) if fault.file == SHARD]
    assert len(told) == 15
    assert all(trouble in line for line in told)


@pytest.mark.parametrize("name", ["._000000012.png", "/etc/passwd", "../x.json", "a.b.c", ".DS_Store", "x"])
def test_members_that_no_shard_of_ours_has_are_faults(folder: Path, name: str) -> None:
    with tarfile.open(folder / SHARD, "a") as archive:
        archive.addfile(tarfile.TarInfo(name))
    (fault,) = verify(folder)
    assert fault.file == SHARD
    assert fault.member == name
    assert "none that a shard of ours has" in fault.trouble


def test_without_an_index_to_trust_keys_must_still_count(folder: Path) -> None:
    (folder / PLACES_NAME).unlink()
    shutil.copy(folder / "drawn-train-000003.tar", folder / SHARD)
    (fault,) = [fault for fault in verify(folder) if fault.file == SHARD]
    assert "keys do not count from 000000012 on" in fault.trouble


def test_a_copied_shard_under_the_name_of_another_is_found(folder: Path) -> None:
    shutil.copy(folder / "drawn-train-000003.tar", folder / SHARD)
    assert files_of(folder) == {SHARD}


@pytest.fixture
def foreign(drawn_folder: Path, tmp_path: Path) -> Path:
    """An index of shards as others make them: other names and keys, a folder, no labels, no details."""
    (tmp_path / "tars").mkdir()
    with (
        tarfile.open(drawn_folder / SHARD) as ours,
        tarfile.open(tmp_path / "tars" / "faces-train-000000.tar", "w") as theirs,
    ):
        for member in ours.getmembers():
            if member.name.endswith(".png"):
                data = ours.extractfile(member)
                member.name = f"some/Face_{member.name[:-4]}.left.png"
                member.uname = "ann"
                theirs.addfile(member, data)
    index_shards([tmp_path / "tars"], tmp_path / "index", workers=1, progress=no_progress)
    return tmp_path / "index"


def test_shards_that_others_made_have_no_fault_however_they_are_made(foreign: Path) -> None:
    assert verify(foreign) == []


def test_damage_to_shards_that_others_made_is_named(foreign: Path) -> None:
    (name,) = {shard["name"] for shard in json.loads((foreign / INDEX_NAME).read_bytes())["shards"]}
    row = places_of(foreign)[1]
    flip(foreign / name, int(row["image_offset"]) + 60)
    (fault,) = verify(foreign)
    assert (fault.file, fault.offset) == (name, row["image_offset"])
    assert fault.member.startswith("some/Face_")
    flip(foreign / name, int(row["image_offset"]) - 512)
    assert "no header of a member" in str(verify(foreign)[0])
    cut(foreign / name, int(row["image_offset"]))
    assert files_of(foreign) == {name}
    (foreign / PLACES_NAME).unlink()
    assert files_of(foreign) == {PLACES_NAME, name}

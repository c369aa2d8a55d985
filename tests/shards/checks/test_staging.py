import json
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.checks.quarantine import Quarantine
from shards.checks.staging import (
    QUARANTINE_NAME,
    STAGING_NAME,
    Changes,
    carry_out,
    decide,
    has_journal,
    staging,
)
from shards.schema import INDEX_NAME
from shards.tar_members import Member


def test_nothing_is_left_of_changes_that_were_not_decided_on(tmp_path: Path) -> None:
    with staging(tmp_path) as staged:
        (staged / "new").write_text("?")
        assert list(tmp_path.iterdir()) == [staged]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is as it was"), staging(tmp_path):
        raise OSError(28, "No space left on device")


def test_all_is_put_in_its_place_once_and_only_once(tmp_path: Path) -> None:
    for name in ("a.tar", "gone.tar", INDEX_NAME):
        (tmp_path / name).write_text(f"old {name}")
    with staging(tmp_path) as staged:
        for name in ("a.tar", INDEX_NAME, f"{QUARANTINE_NAME}/member"):
            (staged / name).write_text(f"new {name}")
        changes = Changes(
            actions=["told"],
            quarantined={"a.tar": "a.2.tar"},
            staged=[INDEX_NAME, "a.tar"],
            staged_quarantine=["member"],
            removed=["gone.tar"],
        )
        decide(tmp_path, changes)
    assert has_journal(tmp_path)
    assert (tmp_path / "a.tar").read_text() == "old a.tar"
    assert carry_out(tmp_path) == changes
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", INDEX_NAME, QUARANTINE_NAME}
    assert (tmp_path / "a.tar").read_text() == "new a.tar"
    assert (tmp_path / QUARANTINE_NAME / "a.2.tar").read_text() == "old a.tar"
    assert (tmp_path / QUARANTINE_NAME / "member").read_text() == f"new {QUARANTINE_NAME}/member"


def test_changes_that_were_made_but_for_clearing_up_are_not_made_again(tmp_path: Path) -> None:
    (tmp_path / INDEX_NAME).write_text("new")
    (tmp_path / "a.tar").write_text("new")
    (tmp_path / STAGING_NAME).mkdir()
    decide(tmp_path, Changes(staged=["a.tar", INDEX_NAME], removed=["a.tar"]))
    carry_out(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", INDEX_NAME}
    assert (tmp_path / INDEX_NAME).read_text() == "new"


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", ""])
def test_a_journal_cannot_reach_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    (folder / STAGING_NAME).mkdir(parents=True)
    (folder / STAGING_NAME / INDEX_NAME).write_text("{}")
    (tmp_path / "x").write_text("?")
    decide(folder, Changes(removed=[name]))
    with pytest.raises(InputError, match="is damaged"):
        carry_out(folder)
    assert (tmp_path / "x").exists()
    assert folder.exists()


def test_hostile_names_of_members_are_not_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "staged" / QUARANTINE_NAME).mkdir(parents=True)
    (tmp_path / "shard").write_bytes(b"0123456789")
    quarantine = Quarantine(tmp_path, tmp_path / "staged")
    with open(tmp_path / "shard", "rb") as file:
        quarantine.take(file, "s.tar", Member("../../x", 2, 3), "why")
        quarantine.take(file, "s.tar", Member("000000000.png", 8, 9), "cut")
        quarantine.take(file, "s.tar", Member("000000000.cls", 20, 1), "nothing is left of it")
    assert quarantine.list() == ["quarantine.json", "s.000000000.png", "s.from-2.bytes"]
    assert (tmp_path / "staged" / QUARANTINE_NAME / "s.from-2.bytes").read_bytes() == b"234"
    listed = json.loads((tmp_path / "staged" / QUARANTINE_NAME / "quarantine.json").read_bytes())["files"]
    assert [entry["member"] for entry in listed] == ["../../x", "000000000.png"]

"""What a repair refuses in a sentence, and leaves as it is."""

from pathlib import Path

import pytest

from fes.errors import InputError
from shards.build.alone import alone_in
from shards.build.writer import UNFINISHED_NAME
from shards.checks.repair import repair
from shards.checks.staging import STAGING_NAME
from shards.foreign.indexing import index_shards
from shards.schema import INDEX_NAME, no_progress
from tests.shards.checks.drawn_shards import SHARD, files_in
from tests.shards.damage import edit_index


def test_an_interrupted_build_is_for_build_to_go_on_with(folder: Path) -> None:
    (folder / INDEX_NAME).unlink()
    (folder / UNFINISHED_NAME).mkdir()
    with pytest.raises(InputError, match="run the same `fes-shards build` again"):
        repair(folder)


def test_a_build_that_is_running_is_left_to_itself(folder: Path) -> None:
    (folder / UNFINISHED_NAME).mkdir()
    before = files_in(folder)
    with (
        alone_in(folder),
        pytest.raises(InputError, match="another fes-shards is writing to"),
    ):
        repair(folder)
    assert (folder / UNFINISHED_NAME).exists()
    assert files_in(folder) == before
    removed, *_ = repair(folder).actions
    assert removed == f"{UNFINISHED_NAME}, which an interrupted program had left, was removed"


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
        with pytest.raises(InputError, match="fes-shards build --help"):
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

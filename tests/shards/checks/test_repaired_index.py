"""An index that is lost, damaged or untrue is made anew from the shards."""

from pathlib import Path

import pytest

from shards.checks.repair import repair
from shards.checks.verify import verify
from shards.index import ShardIndex
from shards.schema import INDEX_NAME, PLACES_NAME
from tests.shards.checks.drawn_shards import SAMPLES, contents_of, files_in
from tests.shards.damage import cut, edit_index, edit_places


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


def test_whole_shards_of_another_build_are_taken_as_they_are(folder: Path, drawn_folder: Path) -> None:
    edit_places(folder, lambda rows: rows["image_offset"].__iadd__(512))
    repaired = repair(folder)
    assert (repaired.kept, repaired.dropped) == (SAMPLES, 0)
    assert contents_of(folder) == contents_of(drawn_folder)


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

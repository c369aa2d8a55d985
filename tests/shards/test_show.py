import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards import cli
from shards.index import ShardIndex
from shards.schema import PLACES_NAME, REPORT_NAME
from shards.show import GAP, SMALLEST_TILE, contact_sheet, print_summary, save_contact_sheet, summary
from tests.shards.damage import edit_index, edit_places, flip, places_of

STEP = SMALLEST_TILE + GAP
COPIES = {
    "reason": "exact copies [of] a picture",
    "action": "kept",
    "unit": "groups",
    "count": 3,
    "origins": [["a.png", "b.png"], [4, 5, 6], [7, 8]],
}


def shown(folder: Path, report: dict[str, object] | None, origins: int = 0) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(summary(ShardIndex.load(folder), report, origins))
    return capture.get()


def test_the_summary_tells_counts_shards_findings_and_warnings(drawn_folder: Path) -> None:
    finding = {"reason": "pixel count", "action": "dropped", "unit": "rows", "count": 1234, "origins": []}
    text = shown(drawn_folder, {"findings": [finding], "warnings": ["train has no sample of class 'sad'"]})
    for told in ("drawn: 48x48 grey", "surprised", "42", "5 to 6", "pixel count", "dropped", "1,234 rows"):
        assert told in text
    assert "warning: train has no sample of class 'sad'" in text
    assert "unlabelled" not in text
    assert text.splitlines()[1] == "of every picture its central square is read"


def test_the_people_of_every_split_are_told(drawn_folder: Path) -> None:
    line = next(line for line in shown(drawn_folder, {}).splitlines() if "people known" in line)
    assert [word for word in line.split() if word.isdigit()] == ["6", "2", "1"]


def test_a_crop_is_told(folder: Path) -> None:
    crop = {"width": 178, "height": 218, "left": 25, "top": 57, "side": 128}
    edit_index(folder, lambda document: document.update(crop=crop))
    assert "of a picture of 178x218 the square 128x128 from (25, 57) on is read" in shown(folder, {})


def test_a_source_without_findings_is_told_to_be_clean(drawn_folder: Path) -> None:
    report = json.loads((drawn_folder / REPORT_NAME).read_bytes())
    assert "nothing was rejected" in shown(drawn_folder, report)


def test_a_data_set_without_a_report_is_not_told_to_be_clean(folder: Path) -> None:
    text = shown(folder, None)
    assert "nothing was rejected" not in text
    assert f"there is no {REPORT_NAME}" in text


def test_so_many_origins_of_each_finding_are_named_as_asked_for(drawn_folder: Path) -> None:
    report = {"findings": [COPIES], "origins_note": "origins are rows"}
    assert "a.png" not in shown(drawn_folder, report)
    text = shown(drawn_folder, report, origins=2)
    assert "exact copies [of] a picture:\n  a.png = b.png\n  4 = 5 = 6\n  and 1 more\n" in text
    assert "origins are rows" in text


@pytest.mark.parametrize(
    "report",
    [
        {"findings": 7, "warnings": "x"},
        {"findings": [1, None, {"reason": None, "count": "many", "origins": {}}]},
        {"findings": [{}], "warnings": [None], "origins_note": 3},
    ],
)
def test_a_report_that_is_not_as_it_should_be_stops_nobody(
    drawn_folder: Path, report: dict[str, object]
) -> None:
    assert "surprised" in shown(drawn_folder, report, origins=3)


def test_the_summary_is_printed_with_a_sentence_a_line_however_narrow(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "train has no sample of class 'sad': " + "training cannot learn to draw it, " * 5
    (folder / REPORT_NAME).write_text(json.dumps({"warnings": [warning]}))
    assert print_summary(folder).splits == ("train", "valid", "test")
    assert f"warning: {warning}" in capsys.readouterr().out.splitlines()


def test_a_damaged_report_is_told_in_a_sentence(folder: Path) -> None:
    (folder / REPORT_NAME).write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*report\.json"):
        print_summary(folder)
    (folder / REPORT_NAME).unlink()
    print_summary(folder)


def tile(sheet: np.ndarray, column: int, row: int, rows: int) -> np.ndarray:
    top = sheet.shape[0] - (STEP * rows - GAP) + row * STEP
    return sheet[top : top + SMALLEST_TILE, column * STEP : column * STEP + SMALLEST_TILE]


def test_the_contact_sheet_has_a_named_column_per_class(drawn_folder: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(drawn_folder)
    save_contact_sheet(index, tmp_path / "grid.png")
    sheet = np.array(Image.open(tmp_path / "grid.png"))
    assert sheet.shape[1] == 7 * STEP - GAP
    train = index.split("train").sized(SMALLEST_TILE, 1)
    happy = np.flatnonzero(train.labels == 3)
    assert np.array_equal(tile(sheet, 3, 1, 8), train.image(int(happy[1]))[0])
    assert (sheet[-2 * STEP :] == 255).all()  # there are six people
    names = sheet[: sheet.shape[0] - 8 * STEP + GAP]
    written = [(names[:, column * STEP : column * STEP + STEP] < 255).sum() for column in range(7)]
    assert min(written) > 20
    assert len({*written}) > 3


def test_the_contact_sheet_shows_samples_from_all_over_the_split(drawn_folder: Path) -> None:
    split = ShardIndex.load(drawn_folder).split("train")
    sheet = np.array(contact_sheet(split, rows=2))
    sad = np.flatnonzero(split.labels == 4).tolist()
    tiles = split.sized(SMALLEST_TILE, 1)
    assert np.array_equal(tile(sheet, 4, 0, 2), tiles.image(sad[0])[0])
    assert np.array_equal(tile(sheet, 4, 1, 2), tiles.image(sad[-1])[0])


def test_another_split_and_another_height_can_be_asked_for(drawn_folder: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(drawn_folder)
    save_contact_sheet(index, tmp_path / "grid.png", split="test", rows=1)
    sheet = np.array(Image.open(tmp_path / "grid.png"))
    test = index.split("test").sized(SMALLEST_TILE, 1)
    angry = int(np.flatnonzero(test.labels == 0)[0])
    assert np.array_equal(tile(sheet, 0, 0, 1), test.image(angry)[0])
    for split, rows, told in (
        ("tset", 1, "no split 'tset'"),
        ("test", 0, "--rows"),
        ("test", 10**6, "--rows"),
    ):
        with pytest.raises(InputError, match=told):
            save_contact_sheet(index, tmp_path / "other.png", split=split, rows=rows)
    assert not (tmp_path / "other.png").exists()


def test_unlabelled_samples_have_a_column_of_their_own_and_missing_classes_stay_white(folder: Path) -> None:
    edit_places(folder, lambda rows: rows["label"].__setitem__(rows["label"] == 2, -1))
    sheet = np.array(contact_sheet(ShardIndex.load(folder).split("train"), rows=3))
    assert sheet.shape[1] == (len(EXPRESSIONS) + 1) * STEP - GAP
    assert (tile(sheet, 2, 0, 3) == 255).all()
    assert not (tile(sheet, 7, 0, 3) == 255).all()


@pytest.mark.parametrize(("resolution", "side"), [(8, 64), (100, 100), (500, 128)])
def test_tiles_are_neither_tiny_nor_huge(folder: Path, resolution: int, side: int) -> None:
    edit_index(folder, lambda document: document.update(resolution=resolution, channels=3))
    sheet = contact_sheet(ShardIndex.load(folder).split("test"), rows=1)
    assert sheet.mode == "RGB"
    assert sheet.width == 7 * (side + GAP) - GAP


def test_a_damaged_picture_on_the_sheet_is_told_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    flip(folder / "drawn-train-000000.tar", int(places_of(folder)[0]["image_offset"]) + 60)
    with pytest.raises(InputError, match="member 000000000"):
        save_contact_sheet(ShardIndex.load(folder), tmp_path / "grid.png")


def test_a_contact_sheet_that_cannot_be_written_is_told_in_a_sentence(
    drawn_folder: Path, tmp_path: Path
) -> None:
    for name in ("grid.nothing", "no/grid.png"):
        with pytest.raises(InputError, match="cannot write"):
            save_contact_sheet(ShardIndex.load(drawn_folder), tmp_path / name)


def test_where_no_contact_sheet_could_be_is_told_before_anything_is_shown(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name, told in (
        ("grid.nothing", "names no format: let it end in .png"),
        ("file/grid.png", "its folder"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["show", str(drawn_folder), "--grid", str(tmp_path / name)])
        out, err = capsys.readouterr()
        assert (out, told in err) == ("", True)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["show", str(drawn_folder), "--grid", str(tmp_path / "new" / "grid.png"), "--rows", "1"])
    assert (tmp_path / "new" / "grid.png").exists()


def test_a_folder_that_lost_its_index_array_is_told_in_a_sentence(folder: Path) -> None:
    shutil.rmtree(folder / "quarantine", ignore_errors=True)
    (folder / PLACES_NAME).unlink()
    with pytest.raises(InputError, match=r"index\.npy"):
        print_summary(folder)

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fes.errors import InputError
from shards.index import ShardIndex
from shards.schema import REPORT_NAME
from shards.show import Meter, save_contact_sheet, summary


def shown(folder: Path, **report: object) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(summary(ShardIndex.load(folder), report))
    return capture.get()


def test_the_summary_tells_counts_shards_findings_and_warnings(drawn_folder: Path) -> None:
    finding = {"reason": "pixel count", "action": "dropped", "unit": "rows", "count": 1234, "rows": []}
    text = shown(drawn_folder, findings=[finding], warnings=["train has no sample of class 'sad'"])
    for told in ("drawn: 48x48 grey", "surprised", "42", "5 to 6", "pixel count", "dropped", "1,234 rows"):
        assert told in text
    assert "warning: train has no sample of class 'sad'" in text
    assert "unlabelled" not in text


def test_a_source_without_findings_is_told_to_be_clean(drawn_folder: Path) -> None:
    report = json.loads((drawn_folder / REPORT_NAME).read_bytes())
    assert "nothing was rejected" in shown(drawn_folder, **report)


def test_the_contact_sheet_has_a_column_per_class(drawn_folder: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(drawn_folder)
    save_contact_sheet(index, tmp_path / "grid.png")
    sheet = np.array(Image.open(tmp_path / "grid.png"))
    assert sheet.shape == (8 * 48, 7 * 48)
    train = index.split("train")
    happy = np.flatnonzero(train.labels == 3)
    assert np.array_equal(sheet[48:96, 3 * 48 : 4 * 48], train.image(int(happy[1]))[0])
    assert (sheet[6 * 48 :] == 255).all()  # there are six people


def test_a_contact_sheet_that_cannot_be_written_is_told_in_a_sentence(
    drawn_folder: Path, tmp_path: Path
) -> None:
    for name in ("grid.nothing", "no/grid.png"):
        with pytest.raises(InputError, match="cannot write"):
            save_contact_sheet(ShardIndex.load(drawn_folder), tmp_path / name)


def test_the_meter_prints_a_line_per_quarter_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Meter("reading", "rows") as meter:
        for done in range(101):
            meter(done, 100)
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "25 %",
        "50 %",
        "75 %",
        "100 %",
    ]

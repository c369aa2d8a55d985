"""The square that is read of pictures framed alike, and what becomes of those that do not hold it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.errors import InputError
from shards.build.writer import build
from shards.index import ShardIndex
from shards.schema import REPORT_NAME, Crop
from shards.sources import folder
from shards.sources.folder import read_folder
from shards.turning import ORIENTATION
from tests.shards.sources.folders import REAL_FOLDER, fill, found, told


def draw(path: Path, width: int, height: int, turned: int = 1) -> np.ndarray:
    """A picture of noise, with an EXIF mark that it is `turned`; returns what its file holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 256, size=(height, width), dtype=np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def test_of_pictures_framed_alike_the_square_is_read_and_the_files_are_kept(tmp_path: Path) -> None:
    pixels = draw(tmp_path / "faces/sad/1.png", 60, 50)
    source = read_folder(tmp_path / "faces", square=(20, 8, 30))
    assert source.crop == Crop(60, 50, left=20, top=8, side=30)
    build(source, tmp_path / "out")
    split = ShardIndex.load(tmp_path / "out").split("train")
    assert split.read(0, "image") == (tmp_path / "faces/sad/1.png").read_bytes()
    assert np.array_equal(split.image(0)[0], pixels[8:38, 20:50])


def test_a_picture_that_does_not_hold_the_square_is_dropped_and_named_in_the_report(tmp_path: Path) -> None:
    for name, size in {
        "sad/1": (60, 50),
        "sad/2": (60, 50),
        "happy/low": (60, 37),
        "sad/narrow": (49, 50),
    }.items():
        draw(tmp_path / f"faces/{name}.png", *size)
    source = read_folder(tmp_path / "faces", square=(20, 8, 30))
    assert list(told(source)) == ["sad/1.png", "sad/2.png"]
    build(source, tmp_path / "out")
    findings = json.loads((tmp_path / "out" / REPORT_NAME).read_bytes())["findings"]
    assert {
        "reason": "picture that does not hold the square of --crop",
        "action": "dropped",
        "unit": "files",
        "count": 2,
        "origins": ["happy/low.png", "sad/narrow.png"],
    } in findings


def test_the_square_is_that_of_the_size_that_most_pictures_have(tmp_path: Path) -> None:
    for name, size in {"1": (120, 100), "2": (60, 50), "3": (60, 50), "4": (10, 10), "5": (9, 10)}.items():
        draw(tmp_path / f"sad/{name}.png", *size)
    assert read_folder(tmp_path, square=(20, 8, 30)).crop == Crop(60, 50, 20, 8, 30)


def test_the_square_is_counted_in_the_picture_as_it_is_upright(tmp_path: Path) -> None:
    draw(tmp_path / "sad/1.jpg", 50, 60, turned=6)
    assert read_folder(tmp_path, square=(30, 0, 30)).crop == Crop(60, 50, 30, 0, 30)
    with pytest.raises(InputError, match="which is 60 pixels wide and 50 high"):
        read_folder(tmp_path, square=(0, 30, 30))


def test_what_is_no_picture_is_told_as_such_with_a_square_too(tmp_path: Path) -> None:
    draw(tmp_path / "faces/sad/1.png", 60, 50)
    fill(tmp_path / "faces", ["sad/2.png"])
    build(read_folder(tmp_path / "faces", square=(20, 8, 30)), tmp_path / "out")
    findings = json.loads((tmp_path / "out" / REPORT_NAME).read_bytes())["findings"]
    reasons = {finding["reason"]: finding["origins"] for finding in findings}
    assert reasons == {"no readable picture (of no known kind)": ["sad/2.png"]}
    (tmp_path / "faces/sad/1.png").unlink()
    with pytest.raises(InputError, match=r"no readable picture \(of no known kind\): 1 files"):
        build(read_folder(tmp_path / "faces", square=(20, 8, 30)), tmp_path / "out2")


def test_a_square_that_no_picture_holds_is_told_in_a_sentence(tmp_path: Path) -> None:
    draw(tmp_path / "sad/1.png", 60, 50)
    sentence = (
        r"30 pixels from 20, 40 on lies in no picture of .*, such as sad/1.png, which is 60 pixels wide"
    )
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path, square=(20, 40, 30))


@pytest.mark.skipif(not REAL_FOLDER.exists(), reason=f"there are no photographs at {REAL_FOLDER}")
def test_photographs_framed_alike_all_hold_one_square_and_may_all_be_for_the_test() -> None:
    source = read_folder(REAL_FOLDER, identity=r"(\d+)", test_share=1, square=(144, 158, 224))
    assert source.crop == Crop(512, 512, 144, 158, 224)
    assert Counter(sample.split for sample in source.samples) == {"test": 120}
    assert found(source) == {folder.NOT_A_PICTURE: ["info.csv"]}

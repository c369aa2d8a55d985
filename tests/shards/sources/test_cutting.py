"""Faces that are cut out of photographs, of people of docs/people.png."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.cli import main
from shards.index import ShardIndex
from shards.sources.cutting import FACELESS, FaceSource
from shards.sources.folder import read_folder
from tests.photographs import people, photograph

PLACE = 210, 130, 150


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photograph with a face, one without, a face that was cut out, and a file that is no picture."""
    happy = tmp_path / "pictures/happy"
    happy.mkdir(parents=True)
    left, top, side = PLACE
    me = photograph((500, 400), (people()[0], (left, top), side), (people()[1], (20, 20), 90), mode="RGB")
    Image.fromarray(me).save(happy / "1.png")
    Image.fromarray(photograph((500, 400), mode="RGB")).save(happy / "2.png")
    people()[2].save(happy / "3.png")
    (happy / "4.png").write_text("no picture")
    return tmp_path / "pictures"


def test_the_largest_face_of_a_photograph_is_taken_in_all_its_pixels(folder: Path) -> None:
    source = FaceSource(**vars(read_folder(folder)))
    face, faceless, cut_out, damaged = source.read(range(4))
    with Image.open(folder / "happy/1.png") as image:
        photographed = np.asarray(image)
    side = len(face)
    assert side == pytest.approx(PLACE[2], abs=20)
    assert any(
        np.array_equal(face, photographed[top : top + side, left : left + side])
        for top in range(PLACE[1] - 30, PLACE[1] + 30)
        for left in range(PLACE[0] - 30, PLACE[0] + 30)
    )
    assert faceless is FACELESS
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(cut_out))), np.asarray(people()[2]))
    assert damaged == b"no picture"


def test_an_interrupted_build_of_whole_photographs_does_not_go_on_with_faces(folder: Path) -> None:
    whole = read_folder(folder)
    assert FaceSource(**vars(whole)).stamp != whole.stamp


def test_found_faces_are_built_and_photographs_without_one_reported(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["build", "folder", "--source", str(folder), "--out", str(out), "--crop", "found"])
    assert ended.value.code == 0
    train = ShardIndex.load(out).split("train")
    origins = {train.details(at)["file"]: train.image(at) for at in range(train.samples)}
    assert {*origins} == {"happy/1.png", "happy/3.png"}
    findings = json.loads((out / "report.json").read_text())["findings"]
    told = {each["reason"]: (each["action"], each["origins"]) for each in findings}
    assert told["picture in which no face was found"] == ("dropped", ["happy/2.png"])

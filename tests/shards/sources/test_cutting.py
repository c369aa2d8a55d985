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
from shards.workers import spread
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
    people()[0].save(happy / "3.png")
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
    assert face.base is None, "it keeps the whole photograph in memory"
    assert faceless is FACELESS
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(cut_out))), np.asarray(people()[0]))
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
    assert told["picture in which --crop found finds no face"] == ("dropped", ["happy/2.png"])


def read_one(source: FaceSource, position: int) -> np.ndarray:
    return source.read([position])[0]


def test_processes_find_what_one_finds_though_this_one_has_looked_for_faces_itself(tmp_path: Path) -> None:
    """What OpenCV keeps of a process does not hold up those that fork from it."""
    happy = tmp_path / "pictures/happy"
    happy.mkdir(parents=True)
    for number, person in enumerate(people()):
        Image.fromarray(photograph((500, 400), (person, (210, 130), 150))[:, :, 0]).save(
            happy / f"{number}.png"
        )
    source = FaceSource(**vars(read_folder(tmp_path / "pictures")))
    faces = source.read(range(9))
    for own, found in zip(faces, spread(read_one, source, range(9), workers=2), strict=True):
        assert np.array_equal(own, found)


def test_where_no_picture_shows_a_face_one_sentence_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1", "3", "4"):
        (folder / f"happy/{name}.png").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["build", "folder", "--source", str(folder), "--out", str(tmp_path / "out"), "--crop", "found"])
    assert ended.value.code == 2
    assert "can be used: picture in which --crop found finds no face: 1 files" in capsys.readouterr().err

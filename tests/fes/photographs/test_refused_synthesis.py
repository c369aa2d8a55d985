"""What `fes synthesize` and `fes export` refuse, in one sentence, with nothing written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.cli import main
from fes.judge import new_judge, save_judge
from tests.fes.sentences import sentence
from tests.photographs import people, photograph


def synthesize(snapshot: Path, image: Path, out: Path, *more: object) -> list[str]:
    return ["synthesize", str(image), "--weights", str(snapshot), "--out", str(out), *map(str, more)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--to", "hapy"], "--to hapy is no expression; did you mean 'happy'?"),
        (["--to", "smile"], "--to smile is no expression; did you mean 'happy'?"),
        (["--source", "foo", "--to", "sad"], "--source foo is no expression; choose from angry,"),
        (
            ["--source", "xyz", "--strength", "0.5"],
            "--source xyz is no expression; choose from angry, disgusted, afraid, happy,",
        ),
        (
            ["--source", "sad", "--judge", "judge"],
            "--source and --judge would tell where --strength counts from, which at 1 does not matter: add",
        ),
        (["--strength", "1.5"], "--strength is 1.5: it must be from 0 to 1"),
        (["--strength", "nan"], "--strength is nan: it must be from 0 to 1"),
        (["--strip"], "--strip shows one expression by degrees: name it by --to"),
        (
            ["--strip", "--to", "sad", "--strength", "0.5"],
            "--strip draws all strengths: leave out --strength",
        ),
        (["--crop", "1,2"], "--crop 1,2 is no square: give it as LEFT,TOP,SIDE"),
        (["--crop", "1,2,x"], "--crop 1,2,x is no square"),
        (["--crop", "1,2,48"], "the square of 48 pixels from 1, 2 on does not lie in"),
        (["--image", "face.png"], "--image is no flag: write what it stands for without it"),
    ],
)
def test_an_option_that_makes_no_sense_is_told_in_one_sentence(
    snapshot_file, face_png, tmp_path, capsys, options, told
):
    line = sentence(capsys, *synthesize(snapshot_file, face_png, tmp_path / "a.png", *options))
    assert line.startswith(f"fes: {told}")
    assert list(tmp_path.iterdir()) == []


def test_a_judge_of_another_shape_is_told_in_one_sentence(snapshot_file, face_png, tmp_path, capsys):
    save_judge(tmp_path / "judge", new_judge("plain", 64, 3, 0))
    asked = synthesize(snapshot_file, face_png, tmp_path / "a.png", "--strength", "0", "--judge")
    told = sentence(capsys, *asked, tmp_path / "judge")
    assert "the judge reads pictures of 64 px and 3 channels" in told
    assert told.endswith("makes a judge for them; or tell by --source what the picture shows")


def test_pictures_that_cannot_be_read_are_told_in_one_sentence(snapshot_file, tmp_path, capsys):
    (tmp_path / "note.png").write_text("a note")
    out = tmp_path / "a.png"
    assert "no picture at" in sentence(capsys, *synthesize(snapshot_file, tmp_path / "none.png", out))
    for name, why in (
        (tmp_path / "note.png", "is no picture that fes reads (JPEG, PNG, "),
        (tmp_path, "is a folder: name a picture in it"),
    ):
        told = sentence(capsys, *synthesize(snapshot_file, name, out))
        assert told.startswith(f"fes: {name} {why}")
    told = sentence(capsys, *synthesize(snapshot_file, "https://example.org/me.jpg", out))
    assert told.startswith("fes: https://example.org/me.jpg is an address: fetch the picture first")
    assert not out.exists()


def test_weights_that_are_none_are_told_in_one_sentence(face_png, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert "no snapshot and no run" in sentence(capsys, *synthesize(tmp_path / "none", face_png, out))
    assert "is not a snapshot" in sentence(capsys, *synthesize(face_png, face_png, out))
    assert "holds no snapshot" in sentence(capsys, *synthesize(tmp_path, face_png, out))
    assert "no snapshot and no run" in sentence(
        capsys, "export", "--weights", tmp_path / "none", "--out", tmp_path / "a.safetensors"
    )


def test_a_place_that_cannot_be_written_is_told_in_one_sentence(snapshot_file, face_png, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out, told in (
        (tmp_path / "file" / "a.png", f"cannot write to the folder {tmp_path / 'file'}"),
        ("/proc/a.png", "cannot write to the folder /proc"),
        (tmp_path / "a.xyz", f"--out {tmp_path / 'a.xyz'} names no format: let it end in .png, .jpg"),
        (tmp_path, f"--out {tmp_path} is a folder: name a file in it"),
        (face_png, f"--out {face_png} is the picture itself: name another file"),
    ):
        assert told in sentence(capsys, *synthesize(snapshot_file, face_png, out))
    assert "--weights names no snapshot" in sentence(
        capsys, "export", "--out", face_png.parent / "a.safetensors", "--weights"
    )
    assert sentence(capsys, "export", "--weights", snapshot_file, "--out", "a.pt").endswith(
        "--out a.pt: let it end in .safetensors"
    )
    assert "--out is empty: name a file" in sentence(capsys, *synthesize(snapshot_file, face_png, ""))
    export = ["export", "--weights", snapshot_file, "--out", tmp_path / "file" / "a.safetensors"]
    assert "cannot write to the folder" in sentence(capsys, *export)


def test_a_picture_is_not_written_over_by_another_of_its_names(snapshot_file, face_png, tmp_path, capsys):
    me, other = tmp_path / "me.png", tmp_path / "linked.png"
    me.write_bytes(face_png.read_bytes())
    other.symlink_to(me)
    assert f"--out {other} is the picture itself" in sentence(capsys, *synthesize(snapshot_file, me, other))
    assert me.read_bytes() == face_png.read_bytes()


def test_a_name_that_is_too_long_is_told_in_one_sentence(snapshot_file, face_png, tmp_path, capsys):
    long, out = tmp_path / ("a" * 300 + ".png"), tmp_path / "a.png"
    assert "the name is too long; choose one of less than 220 bytes" in sentence(
        capsys, *synthesize(snapshot_file, face_png, long)
    )
    assert "cannot be read: File name too long" in sentence(capsys, *synthesize(snapshot_file, long, out))
    assert "no snapshot and no run" in sentence(capsys, *synthesize(long, face_png, out))


def test_where_there_is_no_picture_no_folder_is_left(snapshot_file, tmp_path, capsys):
    asked = synthesize(snapshot_file, tmp_path / "none.png", tmp_path / "new" / "a.png")
    assert "no picture at" in sentence(capsys, *asked)
    assert list(tmp_path.iterdir()) == []


def test_a_face_that_memory_has_no_room_for_is_told_in_one_sentence(tmp_path):
    Image.new("RGB", (3000, 3000), "teal").save(tmp_path / "me.png")
    tight = """
import resource, sys
from pathlib import Path
from fes.cli import main
main(["synthesize", sys.argv[1], "--crop", "0,0,99", "--out", sys.argv[1] + ".png"])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3000 * 3000 * 40, -1))
main(["synthesize", sys.argv[1], "--crop", "middle", "--to", "sad", "--out", sys.argv[1] + ".png"])
"""
    run = subprocess.run([sys.executable, "-c", tight, tmp_path / "me.png"], capture_output=True, text=True)
    told = f"a face of 3,000 pixels in {tmp_path / 'me.png'} takes more memory than there is: make the"
    assert (run.returncode, told in run.stderr) == (2, True), run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("side", [23, 24])
def test_a_face_of_so_few_pixels_that_most_would_be_made_up_is_refused(face_png, tmp_path, capsys, side):
    asked, out = ["synthesize", str(face_png), "--crop", f"0,0,{side}"], tmp_path / "new" / "a.png"
    if side == 24:
        main([*asked, "--out", str(out)])
        assert out.exists()
    else:
        told = sentence(capsys, *asked, "--out", out)
        assert told.startswith(f"fes: the square 0,0,23 of {face_png} is 23 px a side: take a larger picture")
        assert list(tmp_path.iterdir()) == []


def test_a_photograph_without_a_face_or_on_its_side_is_refused_and_nothing_written(tmp_path, capsys):
    wall = photograph((500, 400), mode="RGB")
    upright = photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB")
    for shown, told in ((wall, "no face was found in {}: turn the"), (np.rot90(upright), "{} shows a clear")):
        Image.fromarray(shown).save(tmp_path / "me.png")
        asked = ["synthesize", tmp_path / "me.png", "--out", tmp_path / "new" / "a.png"]
        assert sentence(capsys, *asked).startswith(f"fes: {told.format(tmp_path / 'me.png')}")
        assert [each.name for each in tmp_path.iterdir()] == ["me.png"]


def test_two_pictures_are_refused_in_one_sentence(face_png, tmp_path, capsys):
    told = sentence(capsys, "synthesize", face_png, tmp_path / "two.jpg", "--to", "sad")
    assert told == f"fes: one image at a time: leave out {tmp_path / 'two.jpg'}"


def test_networks_that_draw_every_pixel_are_told_to_leave_photographs(
    snapshot_file, face_png, tmp_path, capsys
):
    asked = synthesize(snapshot_file, face_png, tmp_path / "a.png", "--detail", "photograph")
    told = sentence(capsys, *asked)
    assert "--detail photograph needs networks that bend a source" in told
    assert f"those of {snapshot_file} draw every pixel" in told

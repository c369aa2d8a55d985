"""`fes synthesize` and `fes export`, by command line."""

import dataclasses
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fes import shipped
from fes.cli import main
from fes.config import Config
from fes.ema import Ema
from fes.expressions import EXPRESSIONS
from fes.judge import Judge, load_judge, new_judge, save_judge
from fes.networks import Networks
from fes.photograph import Photograph
from fes.snapshot import load_snapshot, save_snapshot
from fes.synthesizer import Synthesizer
from tests.fes.sentences import sentence
from tests.photographs import people, photograph


def synthesize(snapshot: Path, image: Path, out: Path, *more: object) -> list[str]:
    return ["synthesize", str(image), "--weights", str(snapshot), "--out", str(out), *map(str, more)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def judge_file(drawn_judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    save_judge(path, drawn_judge)
    return path


def test_the_face_in_a_photograph_is_drawn_as_if_its_square_was_told(snapshot_file, tmp_path, capsys):
    me = tmp_path / "me.jpg"
    Image.fromarray(photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB")).save(me)
    main(synthesize(snapshot_file, me, tmp_path / "found.png"))
    told = capsys.readouterr().out
    square = re.search(r"the face at (\d+,\d+,\d+) of \S+me\.jpg as 48 px", told)[1]
    main(synthesize(snapshot_file, me, tmp_path / "told.png", "--crop", square))
    assert f"the square {square} of" in capsys.readouterr().out
    assert np.array_equal(pixels(tmp_path / "found.png"), pixels(tmp_path / "told.png"))


def test_a_sheet_of_all_expressions(snapshot_file, face_png, tmp_path, capsys):
    out = tmp_path / "new" / "sheet.png"
    main(synthesize(snapshot_file, face_png, out))
    with Image.open(out) as image:
        assert image.size == (8 * (144 + 4) - 4, 18 + 144)
    told = capsys.readouterr().out
    assert told == f"wrote {out} (weights of 0 kimg): the central square of {face_png} as 48 px, grey\n"


def test_a_file_that_is_replaced_is_told_and_of_the_weights_that_come_with_fes_no_length(
    face_png, tmp_path, capsys
):
    out = tmp_path / "sheet.png"
    for replaced in ("", " in place of the one before"):
        main(["synthesize", str(face_png), "--out", str(out)])
        told = f"wrote {out}{replaced}: the central square of {face_png} as 48 px, grey\n"
        assert capsys.readouterr().out == told


@pytest.mark.parametrize("name", ["happy", "HAPPINESS"])
def test_one_expression_from_the_folder_of_a_run(snapshot_file, face_png, tmp_path, name):
    out = tmp_path / "happy.png"
    main(synthesize(snapshot_file.parent, face_png, out, "--to", name))
    synthesizer = Synthesizer.load(snapshot_file)
    assert np.array_equal(pixels(out), synthesizer.one(synthesizer.see(Photograph.read(face_png)), 3)[0])


def test_a_photograph_of_another_size_and_in_colour(snapshot_file, tmp_path):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "photo.jpg")
    main(synthesize(snapshot_file, tmp_path / "photo.jpg", tmp_path / "out.png", "--crop", "middle"))
    assert (tmp_path / "out.png").exists()


def test_a_face_in_a_larger_picture_is_drawn_as_if_it_were_alone(snapshot_file, face_png, tmp_path):
    photo = Image.new("L", (200, 100), 255)
    photo.paste(Image.open(face_png), (120, 30))
    photo.save(tmp_path / "photo.png")
    main(synthesize(snapshot_file, face_png, tmp_path / "a.png"))
    main(synthesize(snapshot_file, tmp_path / "photo.png", tmp_path / "b.png", "--crop", "120,30,48"))
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_an_expression_at_a_strength_counted_from_what_is_told(snapshot_file, face_png, tmp_path):
    out, own = tmp_path / "a.png", torch.eye(7)[EXPRESSIONS.index("sad")]
    synthesizer = Synthesizer.load(snapshot_file)
    picture = synthesizer.see(Photograph.read(face_png))
    main(synthesize(snapshot_file, face_png, out, "--to", "happy", "--strength", 0.5, "--source", "sadness"))
    assert np.array_equal(pixels(out), synthesizer.one(picture, 3, own, 0.5)[0])
    main(synthesize(snapshot_file, face_png, out, "--strength", 0.25, "--source", "sad"))
    assert np.array_equal(pixels(out), np.asarray(synthesizer.sheet(picture, own, 0.25)))
    main(synthesize(snapshot_file, face_png, out, "--to", "happy", "--strip", "--source", "sad"))
    assert np.array_equal(pixels(out), np.asarray(synthesizer.strip(picture, 3, own)))


def test_an_expression_at_a_strength_counted_from_what_the_judge_reads(
    snapshot_file, face_png, judge_file, tmp_path, capsys
):
    out = tmp_path / "a.png"
    main(synthesize(snapshot_file, face_png, out, "--to", "sad", "--strength", 0.5, "--judge", judge_file))
    synthesizer = Synthesizer.load(snapshot_file)
    picture = synthesizer.see(Photograph.read(face_png))
    own = load_judge(judge_file).probabilities(torch.from_numpy(picture)[None])[0]
    assert np.array_equal(pixels(out), synthesizer.one(picture, 4, own, 0.5)[0])
    read = f"the judge reads {face_png} as {EXPRESSIONS[own.argmax()]} ({own.max():.2f})"
    assert capsys.readouterr().out.startswith(read)


def test_the_classes_of_which_the_judge_reads_a_tenth_at_least_are_told_the_greatest_first(
    snapshot_file, face_png, tmp_path, capsys
):
    judge, shares = new_judge("plain", 48, 1, 0), [0.03, 0.25, 0.01, 0.4, 0.13, 0.11, 0.07]
    with torch.no_grad():
        judge.classify.weight.zero_()
        judge.classify.bias.copy_(torch.tensor(shares).log())
    save_judge(tmp_path / "judge", judge)
    asked = synthesize(snapshot_file, face_png, tmp_path / "a.png", "--strength", 0.5)
    main([*asked, "--judge", str(tmp_path / "judge")])
    read = "happy (0.40), disgusted (0.25), sad (0.13), surprised (0.11); --source tells it otherwise"
    assert capsys.readouterr().out.splitlines()[0] == f"the judge reads {face_png} as {read}"


def test_what_comes_with_fes_is_used_where_nothing_is_named(
    snapshot_file, face_png, judge_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    asked, out = ["synthesize", face_png, "--out", tmp_path / "a.png"], tmp_path / "a.png"
    assert "name one by --weights" in sentence(capsys, *asked)
    main(["export", "--weights", str(snapshot_file), "--out", str(tmp_path / "synthesizer.safetensors")])
    size = (tmp_path / "synthesizer.safetensors").stat().st_size
    assert capsys.readouterr().out == f"wrote {tmp_path / 'synthesizer.safetensors'} ({size / 1e6:.1f} MB)\n"
    main([*map(str, asked)])
    synthesizer = Synthesizer(load_snapshot(tmp_path / "synthesizer.safetensors"))
    picture = synthesizer.see(Photograph.read(face_png))
    assert np.array_equal(pixels(out), np.asarray(synthesizer.sheet(picture)))
    assert "name one by --judge" in sentence(capsys, *asked, "--to", "sad", "--strip")
    (tmp_path / "judge.safetensors").write_bytes(judge_file.read_bytes())
    main([*map(str, asked), "--to", "sad", "--strip"])
    assert pixels(out).shape == (18 + 144, 6 * (144 + 4) - 4)


def test_several_snapshots_are_exported_as_their_mean(snapshot_file, drawn_folder, tiny_model, tmp_path):
    other, mean = tmp_path / "snapshot-1.safetensors", tmp_path / "mean.safetensors"
    config = Config(str(drawn_folder), tmp_path, model=tiny_model)
    save_snapshot(other, Ema(Networks(tiny_model, seed=1), 20.0), config, 0.0, {"source": "drawn"})
    main(["export", "--weights", str(snapshot_file), str(other), "--out", str(mean)])
    found, first, second = (load_file(path) for path in (mean, snapshot_file, other))
    assert found.keys() == first.keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for name, value in found.items():
        torch.testing.assert_close(value.float(), (first[name] + second[name]) / 2, rtol=1e-3, atol=1e-6)


def test_a_word_to_whoever_uses_it_is_kept_in_what_is_exported(snapshot_file, tmp_path):
    out = tmp_path / "mine.safetensors"
    main(["export", "--weights", str(snapshot_file), "--out", str(out), "--note", "of 27 November"])
    assert load_snapshot(out).metadata["note"] == "of 27 November"


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


def test_a_photograph_keeps_its_pixels_but_for_the_face_that_is_changed(tmp_path, capsys):
    me, out = tmp_path / "me.png", tmp_path / "happy.png"
    wall = photograph((500, 400), (people()[0], (210, 130), 150), mode="RGB").copy()
    wall[..., 2] //= 2  # no grey photograph
    Image.fromarray(wall).save(me)
    main(["synthesize", str(me), "--to", "happy", "--out", str(out)])
    told = capsys.readouterr().out
    left, top, side = map(int, re.search(r"face at (\d+),(\d+),(\d+) of .* in its own pixels", told).groups())
    changed = pixels(out).astype(int)
    assert changed.shape == wall.shape
    inside = np.zeros(wall.shape[:2], bool)
    inside[top : top + side, left : left + side] = True
    assert np.array_equal(changed[~inside], wall[~inside])
    assert np.abs(changed - wall)[inside].max() > 20
    assert np.array_equal(changed[top], wall[top])  # at the border of its square nothing changes yet


def test_a_sheet_of_a_photograph_is_in_its_colours_and_as_the_network_draws_where_asked(tmp_path, capsys):
    me, out = tmp_path / "me.png", tmp_path / "sheet.png"
    Image.fromarray(photograph((500, 400), (people()[1], (80, 50), 300), mode="RGB")).save(me)
    main(["synthesize", str(me), "--out", str(out)])
    with Image.open(out) as sheet:
        assert (sheet.mode, sheet.height) == ("RGB", 18 + 256)
    main(["synthesize", str(me), "--out", str(out), "--detail", "network"])
    assert " as 48 px, grey" in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert (sheet.mode, sheet.height) == ("L", 18 + 144)


def test_a_small_picture_is_drawn_by_the_network_unless_its_own_pixels_are_asked_for(
    face_png, tmp_path, capsys
):
    for more, told in (((), "as 48 px, grey"), (("--detail", "photograph"), "in its own pixels")):
        main(["synthesize", str(face_png), "--out", str(tmp_path / "sheet.png"), *more])
        assert told in capsys.readouterr().out


@pytest.mark.parametrize(("side", "told"), [(95, "as 48 px, grey"), (96, "in its own pixels")])
def test_a_picture_is_a_photograph_from_96_pixels_on(face_png, tmp_path, capsys, side, told):
    with Image.open(face_png) as face:
        face.resize((120, side)).save(tmp_path / "me.png")
    main(["synthesize", str(tmp_path / "me.png"), "--out", str(tmp_path / "sheet.png")])
    assert told in capsys.readouterr().out


def test_of_a_small_face_in_a_photograph_all_of_the_photograph_is_written(face_png, tmp_path, capsys):
    photo, out = Image.new("RGB", (200, 150), "teal"), tmp_path / "happy.png"
    with Image.open(face_png) as face:
        photo.paste(face.resize((30, 30)), (120, 30))
    photo.save(tmp_path / "me.png")
    main(["synthesize", str(tmp_path / "me.png"), "--to", "happy", "--crop", "120,30,30", "--out", str(out)])
    assert "the square 120,30,30 of" in capsys.readouterr().out
    changed = pixels(out)
    assert changed.shape == (150, 200, 3)
    difference = np.abs(changed.astype(int) - np.asarray(photo))
    assert difference[30:60, 120:150].max() > 10
    difference[30:60, 120:150] = 0
    assert difference.max() == 0


def test_an_expression_of_a_photograph_by_degrees_from_the_one_that_is_told(tmp_path):
    me, own = tmp_path / "me.png", torch.eye(7)[EXPRESSIONS.index("sad")]
    Image.fromarray(photograph((500, 400), (people()[1], (80, 50), 300), mode="RGB")).save(me)
    asked = ["synthesize", str(me), "--to", "happy", "--source", "sad", "--crop", "80,50,300", "--out"]
    shot = Photograph.read(me).around((80, 50, 300))
    synthesizer = Synthesizer.load(shipped.shipped_retoucher())
    picture = synthesizer.see(shot)
    main([*asked, str(tmp_path / "strip.png"), "--strip"])
    expected = synthesizer.strip(picture, 3, own, shot.fine(256))
    assert np.array_equal(pixels(tmp_path / "strip.png"), np.asarray(expected))
    main([*asked, str(tmp_path / "half.png"), "--strength", "0.5"])
    expected = shot.changed(synthesizer.one(picture, 3, own, 0.5, shot.place()))
    assert np.array_equal(pixels(tmp_path / "half.png"), np.asarray(expected))


def test_a_name_that_is_too_long_is_told_in_one_sentence(snapshot_file, face_png, tmp_path, capsys):
    long, out = tmp_path / ("a" * 300 + ".png"), tmp_path / "a.png"
    assert "File name too long" in sentence(capsys, *synthesize(snapshot_file, face_png, long))
    assert "cannot be read: File name too long" in sentence(capsys, *synthesize(snapshot_file, long, out))
    assert "no snapshot and no run" in sentence(capsys, *synthesize(long, face_png, out))


def test_where_there_is_no_picture_no_folder_is_left(snapshot_file, tmp_path, capsys):
    asked = synthesize(snapshot_file, tmp_path / "none.png", tmp_path / "new" / "a.png")
    assert "no picture at" in sentence(capsys, *asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [(), ("--to", "happy"), ("--to", "happy", "--strip", "--source", "sad")])
def test_what_is_made_of_a_photograph_has_its_colour_profile(tmp_path, more):
    profile = bytes(16) + b"RGB " + bytes(108)
    me = Image.fromarray(photograph((500, 400), (people()[1], (80, 50), 300), mode="RGB"))
    me.save(tmp_path / "me.jpg", icc_profile=profile)
    main(["synthesize", str(tmp_path / "me.jpg"), "--out", str(tmp_path / "out.jpg"), *more])
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["icc_profile"] == profile
        assert (0x0131 in image.getexif()) == (more == ("--to", "happy"))


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


def test_weights_that_draw_over_most_of_a_photograph_are_told_to_blur_it(face_png, tmp_path, capsys):
    asked = ["synthesize", str(face_png), "--detail", "photograph", "--out", str(tmp_path / "a.png")]
    for weights, much in ((shipped.shipped_synthesizer(), True), (shipped.shipped_retoucher(), False)):
        main([*asked, "--weights", str(weights)])
        told = capsys.readouterr().out
        assert "in its own pixels" in told
        assert ("of it is drawn over, in 48 px, which blurs a photograph: --detail network" in told) == much


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


def test_of_a_face_of_one_pixel_nothing_else_changes(face_png):
    shot = Photograph.read(face_png).around((0, 0, 1))
    synthesizer = Synthesizer.load(shipped.shipped_retoucher())
    changed = shot.changed(synthesizer.one(synthesizer.see(shot), 3, fine=shot.place()))
    assert np.array_equal(np.asarray(changed)[1:], pixels(face_png)[1:])


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


@pytest.mark.parametrize(("cover", "much"), [(0.29, False), (0.31, True)])
def test_it_is_told_from_three_tenths_on_that_are_drawn_over(
    drawn_folder, tiny_model, face_png, tmp_path, capsys, cover, much
):
    config = Config(str(drawn_folder), tmp_path, model=dataclasses.replace(tiny_model, skip="mask"))
    networks, share = Networks(config.model, seed=0), (cover - 0.02) / 0.98
    with torch.no_grad():
        networks.generator.to_image.weight.zero_()
        networks.generator.to_image.bias[-1] = math.log(share / (1 - share))  # of the mask
    save_snapshot(tmp_path / "snapshot-1.safetensors", Ema(networks, 20.0), config, 0.0, {})
    asked = synthesize(tmp_path / "snapshot-1.safetensors", face_png, tmp_path / "a.png")
    main([*asked, "--detail", "photograph"])
    assert (f"over all expressions {cover} of it is drawn over" in capsys.readouterr().out) == much


def test_a_face_of_one_pixel_stays_a_pixel(face_png, tmp_path):
    asked = ["synthesize", str(face_png), "--crop", "0,0,1", "--detail", "photograph", "--to", "happy"]
    main([*asked, "--out", str(tmp_path / "a.png")])
    assert np.array_equal(pixels(tmp_path / "a.png")[1:], pixels(face_png)[1:])


def test_networks_that_draw_every_pixel_are_told_to_leave_photographs(
    snapshot_file, face_png, tmp_path, capsys
):
    asked = synthesize(snapshot_file, face_png, tmp_path / "a.png", "--detail", "photograph")
    told = sentence(capsys, *asked)
    assert "--detail photograph needs networks that bend a source" in told
    assert f"those of {snapshot_file} draw every pixel" in told

"""`fes synthesize` on photographs, which are changed in their own pixels."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fes.cli import main
from fes.config import Config
from fes.expressions import EXPRESSIONS
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.photographs.photograph import Photograph
from fes.photographs.synthesizer import Synthesizer
from fes.saved import shipped
from fes.saved.snapshot import save_snapshot
from tests.photographs import people, photograph


def synthesize(snapshot: Path, image: Path, out: Path, *more: object) -> list[str]:
    return ["synthesize", str(image), "--weights", str(snapshot), "--out", str(out), *map(str, more)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


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


@pytest.mark.parametrize("more", [(), ("--to", "happy"), ("--to", "happy", "--strip", "--source", "sad")])
def test_what_is_made_of_a_photograph_has_its_colour_profile(tmp_path, more):
    profile = bytes(16) + b"RGB " + bytes(108)
    me = Image.fromarray(photograph((500, 400), (people()[1], (80, 50), 300), mode="RGB"))
    me.save(tmp_path / "me.jpg", icc_profile=profile)
    main(["synthesize", str(tmp_path / "me.jpg"), "--out", str(tmp_path / "out.jpg"), *more])
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["icc_profile"] == profile
        assert (0x0131 in image.getexif()) == (more == ("--to", "happy"))


def test_weights_that_draw_over_most_of_a_photograph_are_told_to_blur_it(face_png, tmp_path, capsys):
    asked = ["synthesize", str(face_png), "--detail", "photograph", "--out", str(tmp_path / "a.png")]
    for weights, much in ((shipped.shipped_synthesizer(), True), (shipped.shipped_retoucher(), False)):
        main([*asked, "--weights", str(weights)])
        told = capsys.readouterr().out
        assert "in its own pixels" in told
        assert ("of it is drawn over, in 48 px, which blurs a photograph: --detail network" in told) == much


def test_of_a_face_of_one_pixel_nothing_else_changes(face_png):
    shot = Photograph.read(face_png).around((0, 0, 1))
    synthesizer = Synthesizer.load(shipped.shipped_retoucher())
    changed = shot.changed(synthesizer.one(synthesizer.see(shot), 3, fine=shot.place()))
    assert np.array_equal(np.asarray(changed)[1:], pixels(face_png)[1:])


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

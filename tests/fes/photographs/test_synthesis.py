"""`fes synthesize` and `fes export`, by command line."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fes.cli import main
from fes.config import Config
from fes.expressions import EXPRESSIONS
from fes.judge import Judge, load_judge, new_judge, save_judge
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.photographs.photograph import Photograph
from fes.photographs.synthesizer import Synthesizer
from fes.saved import shipped
from fes.saved.snapshot import load_snapshot, save_snapshot
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


def test_an_export_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    snapshot_file, drawn_judge, tmp_path, capsys
):
    own, other, guide, text, out = (
        tmp_path / f"{name}.safetensors" for name in ("own", "other", "guide", "text", "out")
    )
    for of_a_run in (own, other):
        shutil.copy(snapshot_file, of_a_run)
    save_judge(guide, drawn_judge)
    text.write_text("words")
    places = {own: "which is exported"}
    places |= dict.fromkeys((other, guide, text), "which is there and was not exported")
    for place, told in places.items():
        before = place.read_bytes()
        assert sentence(capsys, "export", "--weights", own, "--out", place).endswith(
            f"{told}: name another file"
        )
        assert place.read_bytes() == before
    for _ in range(2):
        main(["export", "--weights", str(own), "--out", str(out)])
    assert load_snapshot(out).kimg == load_snapshot(own).kimg


def test_several_snapshots_are_exported_as_their_mean(snapshot_file, drawn_folder, tiny_model, tmp_path):
    other, mean = tmp_path / "snapshot-1.safetensors", tmp_path / "mean.safetensors"
    config = Config(str(drawn_folder), tmp_path, model=tiny_model)
    networks = Networks(tiny_model, seed=0)  # those of the first, which have grown
    with torch.no_grad():
        for weight in networks.parameters():
            weight *= 1.5
    save_snapshot(other, Ema(networks, 20.0), config, 0.0, {"source": "drawn"})
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

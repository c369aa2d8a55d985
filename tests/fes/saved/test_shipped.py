"""The weights that come with fes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from fes.cli import main
from fes.errors import InputError
from fes.files import sha256_of
from fes.judge import load_judge
from fes.photographs.photograph import Photograph
from fes.photographs.synthesizer import Synthesizer
from fes.saved import shipped
from fes.saved.shipped import shipped_judge, shipped_retoucher, shipped_synthesizer
from fes.saved.snapshot import load_snapshot
from tests.photographs import people


def test_the_files_beside_the_code_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    every = shipped_synthesizer, shipped_retoucher, shipped_judge
    for name, where in zip(("synthesizer", "retoucher", "judge"), every, strict=True):
        path = tmp_path / f"{name}.safetensors"
        path.touch()
        assert where() == path


def test_an_installation_without_them_is_told_with_the_flag_that_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    with pytest.raises(
        InputError, match=r"installed without its own synthesizer \(.*\): name one by --weights"
    ):
        shipped_synthesizer()
    with pytest.raises(InputError, match=r"installed without its own judge \(.*\): name one by --judge"):
        shipped_judge()


def test_fes_comes_with_a_synthesiser_and_a_judge_of_the_same_faces_and_a_card():
    synthesizer, judge = load_snapshot(shipped_synthesizer()), load_judge(shipped_judge())
    judge.check_shape(synthesizer.model.resolution, synthesizer.model.channels)
    assert judge.facts.accuracy > 0.62
    assert synthesizer.metadata["guide"] not in ("", sha256_of(shipped_judge()))  # who taught does not grade
    for path in (shipped_synthesizer(), shipped_judge()):
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (not a dict)
        assert "F32" not in kinds
        assert "F16" in kinds
    assert sum(path.stat().st_size for path in (shipped_synthesizer(), shipped_judge())) < 12e6
    card = (shipped_judge().parent / "README.md").read_text()
    for heading in ("## The synthesiser", "## How good they are", "## Limits", "## What they are for"):
        assert heading in card


def test_fes_comes_with_a_retoucher_that_moves_photographs_and_hardly_paints():
    retoucher = Synthesizer.load(shipped_retoucher())
    assert retoucher.retouches
    assert shipped_retoucher().stat().st_size < 2e6
    assert "## The retoucher" in (shipped_retoucher().parent / "README.md").read_text()
    for person in people():
        face = retoucher.see(Photograph(Path("me.png"), np.asarray(person)[..., None]))
        assert retoucher.cover(face) < 0.06
        drawn = np.stack([retoucher.one(face, label) for label in range(7)]).astype(int)
        assert np.abs(drawn - face).mean((1, 2, 3)).max() > 3


def test_a_face_is_drawn_by_the_weights_that_come_with_fes_where_none_are_named(face_png, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    main(["synthesize", str(face_png), "--out", str(out)])
    assert "wrote" in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert sheet.width > 7 * sheet.height / 2
    strip = tmp_path / "strip.png"
    main(["synthesize", str(face_png), "--to", "happy", "--strip", "--out", str(strip)])
    assert "the judge reads" in capsys.readouterr().out
    assert strip.is_file()

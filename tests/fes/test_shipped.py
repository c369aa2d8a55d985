"""The weights that come with fes."""

import pytest

from fes import shipped
from fes.errors import InputError
from fes.shipped import shipped_judge, shipped_synthesizer


def test_the_files_beside_the_code_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    for name, where in (("synthesizer", shipped_synthesizer), ("judge", shipped_judge)):
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

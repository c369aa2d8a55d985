"""What is doubtful of a run is told before it begins; of guides and judges
`tests/fes/learning/test_guide.py` tells as well."""

import dataclasses

import pytest

from fes.train import main
from tests.fes.runs import run, sentence, written

pytestmark = pytest.mark.usefixtures("one_core")


def test_a_run_that_cannot_be_kept_where_it_is_asked_for_is_told_also_by_a_dry_run(
    tiny_config, tmp_path, capsys
):
    (tmp_path / "file").touch()
    for place in ("file", "file/run"):
        config = dataclasses.replace(tiny_config, run=tmp_path / place)
        for more in ((), ("--dry-run",)):
            with pytest.raises(SystemExit, match="2"):
                main(["--config", written(config, tmp_path), *more])
            told = f"--run {config.run} cannot be a folder: {tmp_path / 'file'} is a file; name another"
            assert sentence(capsys) == f"train.py: {told}"


def test_a_run_among_other_things_is_warned_of_but_neither_one_that_goes_on_nor_one_beside_its_guide(
    tiny_config, tmp_path, capsys
):
    tiny_config.run.mkdir(parents=True)
    for name in ("guide.safetensors", "run.log", ".hidden"):
        (tiny_config.run / name).touch()
    told = f"warning: {tiny_config.run} holds no run, but other things (a, b, c and 1 more): take a folder"
    assert run(tiny_config, "--dry-run") == 0
    assert "holds no run" not in capsys.readouterr().out
    for name in "abcd":
        (tiny_config.run / name).touch()
    for more, count in (("--dry-run", 1), ("--clock.total-kimg=0.024", 1), ("--dry-run", 0)):
        assert run(tiny_config, more) == 0
        assert capsys.readouterr().out.count(told) == count


def test_how_a_guide_pulls_is_noted_where_none_does_as_where_a_recipes_is_left_out(tiny_config, capsys):
    loss = dataclasses.replace(tiny_config.loss, guide_margin=0.0, guide_clear=0.1)
    closing = dataclasses.replace(tiny_config.stages.closing, guide_clear=0.2)
    stages = dataclasses.replace(tiny_config.stages, closing=closing)
    told = "note: no guide pulls in this run, so nothing comes of loss.guide_margin, loss.guide_clear, "
    for config, count in ((dataclasses.replace(tiny_config, loss=loss, stages=stages), 1), (tiny_config, 0)):
        assert run(config, "--dry-run") == 0
        assert capsys.readouterr().out.count(f"{told}stages.closing.guide_clear\n") == count

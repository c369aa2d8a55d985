"""The command line of training: what it refuses in a sentence, and what a dry run shows."""

import dataclasses
import re

import pytest
import torch

from fes.judge import save_judge
from fes.learning.objectives import CriticObjective
from fes.saved.state import list_states
from fes.train import main
from tests.fes.runs import run, sentence, written
from tests.fes.states import parts_of, save

pytestmark = pytest.mark.usefixtures("one_core")


def test_an_unknown_flag_ends_with_code_2_and_offers_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", "d", "--run", "r", "--bach", "3"])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert "--batch" in shown.out + shown.err


def test_a_wrong_yaml_file_is_told_in_one_sentence(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("bach: 3")
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "run.yaml"), "--data", "d", "--run", "r"])
    assert ended.value.code == 2
    assert sentence(capsys).endswith("run.yaml: unknown key 'bach'; did you mean 'batch'?")


def test_a_value_out_of_range_is_told_by_its_flag(drawn_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(drawn_folder), "--run", str(tmp_path / "run"), "--loss.penalty-weight", "-1"])
    assert ended.value.code == 2
    assert "--loss.penalty-weight is -1" in sentence(capsys)


def test_memory_that_runs_out_is_told_with_what_would_fit_until_it_does(tiny_config, monkeypatch, capsys):
    forward, room = CriticObjective.forward, 2

    def scarce(objective, batch, noise):
        if type(batch.image) is torch.Tensor and len(batch.label) > room:  # what an estimate takes has none
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(objective, batch, noise)

    monkeypatch.setattr(CriticObjective, "forward", scarce)
    asked = []
    for at_once, less in ((8, 4), (4, 2)):
        assert run(tiny_config, *asked) == 2
        assert f"no room for {at_once} pictures at once: by estimate it has for {less}" in sentence(capsys)
        asked = ["--micro-batch", str(less)]
    assert run(tiny_config, *asked) == 0
    room = 0
    capsys.readouterr()
    again = dataclasses.replace(tiny_config, run=tiny_config.run.with_name("again"))
    assert run(again, "--micro-batch", "1") == 2
    assert "no room for 1 picture at once: take smaller networks" in sentence(capsys)


def test_memory_that_runs_out_outside_of_a_pass_is_told_as_well(tiny_config, monkeypatch, capsys):
    """Adam makes its numbers in its first step, when activations are gone and little else is left."""

    def scarce(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.Adam, "step", scarce)
    assert run(tiny_config) == 2
    assert "no room for 8 pictures at once: by estimate it has for 4" in sentence(capsys)


def test_missing_data_are_told_in_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(tmp_path / "nowhere"), "--run", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "nowhere does not exist: check the path. To make a data set: " in sentence(capsys)


def test_dry_run_shows_the_plan_and_writes_nothing(tiny_config, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--config", written(tiny_config, tmp_path), "--dry-run"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "latent_dim: 8" in shown
    for network in ("encoder", "generator", "latent_critic", "image_critic", "all"):
        assert re.search(rf"^{network} +[\d,]+ parameters$", shown, re.MULTILINE)
    assert "pictures per process and batch 8" in shown
    assert "train: 168 samples in 8 shards" in shown
    assert re.search(
        r"^GPU memory of a process, its context aside: about 0.(08|09|1\d) GiB with 8 pictures at once",
        shown,
        re.MULTILINE,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--seed", "1"], "but the config is another: seed was 0 and is 1"),
        (["--data", "{unlabelled}"], "which saw other data than --data {unlabelled}"),
        (["--run", "{new}", "--start.encoder", "{new}"], "--start.encoder is {new}: neither a .safetensors"),
        (
            ["--evaluation.judge", "{judge}", "--evaluation.data", "{new}"],
            "{new} does not exist: check the path",
        ),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    more, told, tiny_config, drawn_mixture, drawn_judge, unlabelled_folder, tmp_path, capsys
):
    judge = tmp_path / "judge.safetensors"
    save_judge(judge, drawn_judge)
    save(tiny_config, parts_of(tiny_config.model, seed=1), fingerprint=drawn_mixture.fingerprint)
    words = ["--config", written(tiny_config, tmp_path), "--dry-run"]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    assert f"\ngoes on from {list_states(tiny_config.run)[0]}\n" in capsys.readouterr().out
    places = {"new": tmp_path / "new", "unlabelled": unlabelled_folder, "judge": judge}
    with pytest.raises(SystemExit, match="2"):
        main([*words, *(word.format(**places) for word in more)])
    assert told.format(**places) in sentence(capsys)


def test_what_is_asked_for_and_does_nothing_is_told(drawn_folder, tmp_path, capsys):
    words = ["--data", str(drawn_folder), "--run", str(tmp_path / "run"), "--dry-run"]
    for more, count in (((), 0), (("--replay",), 1)):
        with pytest.raises(SystemExit, match="0"):
            main([*words, *more])
        assert capsys.readouterr().out.count("--replay has no effect (it is for one GPU") == count


def test_a_shape_that_the_data_have_not_is_shown_with_what_it_costs(drawn_folder, tmp_path, capsys):
    arguments = ["--data", str(drawn_folder), "--run", str(tmp_path / "run"), "--dry-run"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--model.resolution", "64", "--model.channels", "3"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "resolution: 64" in shown
    assert f"warning: pictures of {drawn_folder} have 48 px and are enlarged to 64" in shown
    assert f"warning: pictures of {drawn_folder} are grey" in shown


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("{0}:0", "the weight 0: it must be a positive number"),
        ("{0},{0}:2", "the same data twice"),
        ("{0},", "must name a data set before and after each comma"),
        ("{0},{0}-2:0.3", "-2 does not exist: check the path; "),
    ],
)
def test_data_that_cannot_be_mixed_are_one_sentence(data, told, drawn_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", data.format(drawn_folder), "--run", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert told in sentence(capsys)
    assert not (tmp_path / "run").exists()

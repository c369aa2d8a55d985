"""Runs of rising resolution: their settings, and the same bits at the end however they are interrupted."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fes import train
from fes.config import Config, StartConfig
from fes.config.levels import chain, has_levels, split
from fes.config.tree import to_tree
from fes.errors import InputError
from fes.judge import new_judge, save_judge
from fes.learning.stages import share_of_new_blocks
from fes.model.edges import edge_among
from fes.saved.growth import read_other
from fes.saved.snapshot import find_snapshot, load_snapshot
from fes.saved.state import list_states
from fes.training.arguments import parse, parse_levels
from fes.training.recorder import Recorder
from tests.fes.launching import run_ranks

LOW, HIGH = 0.048, 0.144
FADED = 0.072
"""The kimg of each level, and of the fade: two cycles, six, and three."""


def file_of(config: Config, folder: Path, low: float = LOW, high: float | None = HIGH) -> Path:
    """Settings of two levels, or of the first alone, as a yaml file."""
    tree = to_tree(config)
    del tree["model"]["resolution"], tree["init_from"]
    tree["model"]["skip"] = "mask"
    tree["levels"] = [
        {"model": {"resolution": 48}, "clock": {"total_kimg": low}},
        {"model": {"resolution": 96}, "clock": {"total_kimg": high}, "grow_kimg": FADED},
    ][: 1 if high is None else 2]
    path = folder / "levels.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def run(file: Path, *flags: str) -> int:
    with pytest.raises(SystemExit) as ended:
        train.main(["--config", str(file), *flags])
    return ended.value.code


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """The networks, the average and the newest snapshot of a level."""
    state = list_states(run)[-1]
    files = state / "networks.safetensors", state / "average.safetensors", max(run.glob("snapshot-*"))
    return {f"{path.stem[:8]}/{name}": value for path in files for name, value in load_file(path).items()}


@pytest.fixture(scope="module")
def climbed(drawn_folder, tiny_model, tmp_path_factory) -> Config:
    """A finished run of two levels, in one go."""
    folder = tmp_path_factory.mktemp("climbed")
    config = Config(
        data=str(drawn_folder),
        run=folder / "run",
        batch=8,
        critic_steps=2,
        grid_faces=2,
        shuffle_window=64,
        model=tiny_model,
    )
    config = dataclasses.replace(
        config,
        stream=dataclasses.replace(config.stream, workers=0),
        clock=dataclasses.replace(config.clock, tick_kimg=0.024, snapshot_kimg=0.024, state_kimg=0.048),
    )
    assert run(file_of(config, folder)) == 0
    return config


def test_levels_are_runs_of_their_own_that_begin_with_the_one_before(tiny_config, tmp_path):
    asked = parse_levels(["--config", str(file_of(tiny_config, tmp_path)), "--loss.image-weight", "0.5"])
    low, high = (each.config for each in asked)
    assert (low.model.resolution, high.model.resolution) == (48, 96)
    assert (low.run, high.run) == (tiny_config.run / "48", tiny_config.run / "96")
    assert (low.init_from, high.init_from) == (None, low.run)
    assert (low.clock.total_kimg, high.clock.total_kimg) == (LOW, HIGH)
    assert low.clock.tick_kimg == high.clock.tick_kimg == tiny_config.clock.tick_kimg
    assert low.model.skip == high.model.skip == "mask"
    assert low.loss.image_weight == high.loss.image_weight == 0.5  # flags win, at each level
    assert parse(["--config", str(file_of(tiny_config, tmp_path))]).config.model.resolution == 96
    one = parse_levels(["--data", "d", "--run", "r"])
    assert [each.config.run for each in one] == [Path("r")]


def test_the_first_level_may_begin_with_another_run(tiny_config, tmp_path):
    words = ["--config", str(file_of(tiny_config, tmp_path)), "--init-from", "other"]
    assert [each.config.init_from for each in parse_levels(words)] == [Path("other"), tiny_config.run / "48"]


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([], r"levels is \[\]: it must be a list"),
        ("48", "levels is '48': it must be a list"),
        ([{"clock": {"total_kimg": 3}}], "level 1 is .* it must have a model with its resolution"),
        ([{"model": {"resolution": 48}, "run": "x"}], "level 1 has its own run: give it for all levels"),
        ([{"model": {"resolution": 48}, "init_from": "x"}], "level 1 has its own init_from: give it for all"),
    ],
)
def test_levels_that_are_none_are_one_sentence(levels, told):
    tree = {"batch": 8, "levels": levels}
    assert has_levels(tree)
    with pytest.raises(InputError, match=f"^grow.yaml: {told}"):
        split(tree, "grow.yaml")


def test_each_level_begins_with_the_one_before_and_has_the_guide_of_all(tiny_config):
    sizes = [dataclasses.replace(tiny_config.model, resolution=each) for each in (48, 96, 192)]
    start = StartConfig(encoder=Path("encoder"), guide=Path("guide"))
    levels = chain([dataclasses.replace(tiny_config, model=each, start=start) for each in sizes], "grow.yaml")
    runs = [tiny_config.run / each for each in ("48", "96", "192")]
    assert [each.run for each in levels] == runs
    assert [each.init_from for each in levels] == [None, *runs[:2]]
    assert [each.start for each in levels] == [start, *[StartConfig(guide=Path("guide"))] * 2]


def test_what_a_level_says_stands_in_place_of_what_is_no_section():
    level = {"model": {"resolution": 48}, "clock": {"total_kimg": 3}}
    assert split({"batch": 8, "clock": 7, "levels": [level]}, "grow.yaml") == [{"batch": 8, **level}]


def test_resolutions_have_to_rise(tiny_config):
    same = [tiny_config, tiny_config]
    with pytest.raises(
        InputError, match=r"^grow\.yaml: the levels have the resolutions 48, 48: each must be"
    ):
        chain(same, "grow.yaml")
    file = [dataclasses.replace(tiny_config, model=dataclasses.replace(tiny_config.model, resolution=None))]
    with pytest.raises(InputError, match="the resolutions None"):
        chain(file, "grow.yaml")


def test_an_unknown_key_of_a_level_is_an_error_with_the_level_and_the_nearest(tiny_config, tmp_path, capsys):
    path = file_of(tiny_config, tmp_path)
    tree = yaml.safe_load(path.read_text())
    tree["levels"][1]["clock"]["total_kimgs"] = 3
    path.write_text(yaml.safe_dump(tree))
    assert run(path) == 2
    told = f"{path}: level 2: clock: unknown key 'total_kimgs'; did you mean 'total_kimg'?"
    assert told in capsys.readouterr().err


def test_a_fade_that_is_given_for_all_levels_is_no_error_although_the_first_begins_with_no_networks(
    tiny_config, tmp_path
):
    path = file_of(tiny_config, tmp_path)
    asked = parse_levels(["--config", str(path), "--grow-kimg", "4"])
    assert [(each.config.grow_kimg, each.config.init_from is None) for each in asked] == [
        (4, True),
        (4, False),
    ]


def test_new_blocks_fade_in_with_the_clock_a_cycle_at_a_time(tiny_config):
    config = dataclasses.replace(tiny_config, grow_kimg=FADED)
    shares = [share_of_new_blocks(config, step) for step in range(15)]
    assert shares == pytest.approx([0.0] * 3 + [1 / 3] * 3 + [2 / 3] * 3 + [1.0] * 6)


def test_a_run_of_levels_leaves_one_run_each_and_snapshots_that_can_be_used_at_any_time(climbed):
    low, high = climbed.run / "48", climbed.run / "96"
    assert [len(list(each.glob("snapshot-*"))) for each in (low, high)] == [2, 6]
    listed = (high / "init_from.txt").read_text().splitlines()
    assert listed[0] == str(low)
    assert listed[-1].endswith(" new, 0 left out")
    for path in sorted(high.glob("snapshot-*")):
        found = load_snapshot(path)
        fading = float(path.stem.partition("-")[2]) < FADED
        assert (edge_among(load_file(path)) == 48) is fading
        assert found.model.resolution == 96
        share = found.metadata["kimg"] / FADED
        assert found.metadata["faded"] == pytest.approx(share if fading else 0.0)
        code = found.encoder(torch.zeros(1, 1, 96, 96))
        assert found.generator(code, torch.tensor([3])).shape == (1, 1, 96, 96)
        assert found.generator.edges.share == pytest.approx(share if fading else 0.0)
    assert len(list((high / "grids").iterdir())) == 6


def test_the_folder_of_all_levels_stands_for_the_highest(climbed):
    assert find_snapshot(climbed.run) == max((climbed.run / "96").glob("snapshot-*"))
    other = read_other(climbed.run)
    assert other.model.resolution == 96
    assert any(name.startswith("image_critic.") for name in other.tensors)


def test_new_blocks_and_edges_learn_while_they_fade_in(climbed):
    high = climbed.run / "96"
    first, second = (load_file(path) for path in sorted(high.glob("snapshot-*"))[:2])
    for name in first:
        if "embedding" not in name:
            assert not torch.equal(first[name], second[name]), name


def test_levels_interrupted_anywhere_end_with_the_same_bits(climbed, tmp_path, capsys):
    again = dataclasses.replace(climbed, run=tmp_path / "run")
    # Within the first level, within a cycle of the fade, at a state of it, at its end, and after it.
    for low, high in ((LOW / 2, None), (LOW, 0.032), (LOW, 0.048), (LOW, FADED), (LOW, 0.08), (LOW, HIGH)):
        assert run(file_of(again, tmp_path, low, high)) == 0
    for level in ("48", "96"):
        expected, found = tensors(climbed.run / level), tensors(again.run / level)
        assert expected.keys() == found.keys()
        assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    assert capsys.readouterr().out.count("begins with the networks of") == 1


def test_a_signal_in_the_first_level_ends_the_command_there(climbed, tmp_path, monkeypatch, capsys):
    again = dataclasses.replace(climbed, run=tmp_path / "run")
    tick = Recorder.tick

    def interrupted(self: Recorder, step: int, measurements: dict[str, float]) -> None:
        tick(self, step, measurements)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "tick", interrupted)
        assert run(file_of(again, tmp_path)) == 128 + signal.SIGTERM
    assert "stopped at 0.032 kimg and saved; the same command goes on" in capsys.readouterr().out
    assert not (again.run / "96").exists()
    assert run(file_of(again, tmp_path, LOW, 0.024)) == 0
    assert (again.run / "96").exists()


def test_a_finished_run_of_levels_changes_nothing_and_looks_at_its_last_alone(climbed, capsys):
    before = {path: path.stat().st_mtime_ns for path in climbed.run.rglob("s*/*")}
    assert run(file_of(climbed, climbed.run.parent)) == 0
    shown = capsys.readouterr().out
    assert f"goes on from {climbed.run / '96'}" in shown
    assert str(climbed.run / "48") not in shown
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_dry_run_lists_what_becomes_of_each_tensor(climbed, tmp_path, capsys):
    words = ["--init-from", str(climbed.run / "48"), "--run", str(tmp_path / "new"), "--dry-run"]
    sizes = {"resolution": 96, "skip": "mask", "latent_dim": 8, "max_features": 32, "min_features": 8}
    sizes |= {"latent_critic_features": 16}
    for name, value in sizes.items():
        words += [f"--model.{name.replace('_', '-')}", str(value)]
    with pytest.raises(SystemExit) as ended:
        train.main(["--data", climbed.data, *words])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "copied    encoder.features.edges.48.weight" in shown
    assert " new, 0 left out" in shown
    assert not (tmp_path / "new").exists()


def test_what_a_later_level_cannot_use_is_told_before_the_first_is_trained(tiny_config, tmp_path, capsys):
    save_judge(tmp_path / "judge.safetensors", new_judge("plain", 48, 1, seed=0))
    words = "--evaluation.judge", str(tmp_path / "judge.safetensors"), "--run", str(tmp_path / "run")
    for more in ((), ("--dry-run",)):
        assert run(file_of(tiny_config, tmp_path), *words, *more) == 2
        told = capsys.readouterr().err
        assert told.startswith("train.py: the judge reads pictures of 48 px and 1 channel, and the weights")
        assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            {"resolution": 128},
            "has networks for 48 px, which do not double to --model.resolution 128: take 96",
        ),
        (
            {"skip": "warp"},
            "has networks of another make, which cannot be bridged: give --model.skip mask",
        ),
        ({"min_features": 16}, "which cannot be bridged: give --model.min-features 8, as it has"),
    ],
)
def test_a_level_that_cannot_begin_with_the_one_before_is_told_before_that_is_trained(
    tiny_config, tmp_path, capsys, model, told
):
    path = file_of(tiny_config, tmp_path)
    tree = yaml.safe_load(path.read_text())
    tree["levels"][1]["model"] |= model
    path.write_text(yaml.safe_dump(tree))
    for more in ((), ("--dry-run",)):
        assert run(path, *more) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"train.py: the level before, {tiny_config.run / '48'}")
        assert told in line
    assert not tiny_config.run.exists()


def test_single_networks_are_what_the_first_level_begins_with(tiny_config, tmp_path):
    words = ["--config", str(file_of(tiny_config, tmp_path)), "--start.encoder", "other"]
    assert [each.config.start.encoder for each in parse_levels(words)] == [Path("other"), None]


def test_a_dry_run_of_levels_tells_of_those_that_are_not_there_yet(climbed, tmp_path, capsys):
    assert run(file_of(climbed, tmp_path), "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown.count(f"goes on from {climbed.run}/") == shown.count("goes on from") == 2
    again = dataclasses.replace(climbed, run=tmp_path / "run")
    assert run(file_of(again, tmp_path), "--dry-run") == 0
    shown = capsys.readouterr().out
    assert f"begins with the networks of {again.run / '48'}" in shown
    assert "copied    encoder.features.edges.48.weight" in shown
    assert not again.run.exists()


def test_a_run_to_begin_with_that_is_not_there_is_one_sentence(climbed, tmp_path, capsys):
    for more in ([], ["--dry-run"]):
        words = ["--data", climbed.data, "--run", str(tmp_path / "new"), "--init-from", str(tmp_path / "x")]
        with pytest.raises(SystemExit) as ended:
            train.main([*words, *more])
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"train.py: no snapshot and no run at {tmp_path / 'x'}\n"


def test_networks_of_another_make_end_with_code_2_before_anything_is_written(climbed, tmp_path, capsys):
    words = [
        "--init-from",
        str(climbed.run / "48"),
        "--run",
        str(tmp_path / "new"),
        "--model.resolution",
        "96",
    ]
    with pytest.raises(SystemExit) as ended:
        train.main(["--data", climbed.data, *words])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be bridged: give --model.skip mask --model.latent-dim 8" in line
    assert not (tmp_path / "new").exists()


def test_all_networks_and_one_of_them_cannot_both_be_given(tiny_config, tmp_path):
    words = ["--data", "d", "--run", "r", "--init-from", "a", "--start.encoder", "b"]
    with pytest.raises(InputError, match=r"--init-from gives all networks: leave out --start\.encoder"):
        parse(words)


def test_ranks_grow_together(climbed, tmp_path):
    """Weights are compared to the bit at each snapshot; at the end they are near those of one process."""
    pair = dataclasses.replace(climbed, run=tmp_path / "pair")
    words = ["--config", str(file_of(pair, tmp_path))]
    run_ranks(2, tmp_path, train.main, words)
    for level in ("48", "96"):
        expected, found = tensors(climbed.run / level), tensors(pair.run / level)
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            assert (found[name] - value).abs().mean() < 1e-3, name

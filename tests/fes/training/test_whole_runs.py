"""Whole runs: what they leave, and that those which were interrupted end with the same bits."""

import dataclasses
import json

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fes.config import ClockConfig, Config, StreamConfig
from fes.model.networks import Networks
from fes.saved.snapshot import load_snapshot
from shards.build.writer import BuildOptions, build
from shards.sources.drawn import DrawnOptions, draw
from tests.fes.runs import run, sentence, tensors, with_total

pytestmark = pytest.mark.usefixtures("one_core")


# ---- whole runs


@pytest.fixture(scope="module")
def finished(drawn_folder, tiny_model, tmp_path_factory) -> Config:
    """A run from beginning to end, of 24 steps."""
    clock = ClockConfig(total_kimg=0.192, tick_kimg=0.048, snapshot_kimg=0.096, state_kimg=0.096)
    config = Config(
        data=str(drawn_folder),
        run=tmp_path_factory.mktemp("finished") / "run",
        batch=8,
        critic_steps=2,
        grid_faces=2,
        shuffle_window=64,
        model=tiny_model,
        stream=StreamConfig(workers=0),
        clock=clock,
    )
    assert run(config) == 0
    return config


def test_a_run_leaves_snapshots_grids_states_stats_and_curves(finished):
    names = sorted(path.name for path in finished.run.iterdir())
    assert names == [
        ".holder",
        "grids",
        "snapshot-000000.096.safetensors",
        "snapshot-000000.192.safetensors",
        "state-000000.096",
        "state-000000.192",
        "stats.jsonl",
        "tensorboard",
    ]
    grids = sorted((finished.run / "grids").iterdir())
    assert [path.name for path in grids] == ["grid-000000.096.png", "grid-000000.192.png"]
    with Image.open(grids[0]) as grid:
        assert grid.size == (8 * 52 - 4, 2 * 52 - 4)  # two faces and their seven expressions
    lines = [json.loads(line) for line in (finished.run / "stats.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [0.048, 0.096, 0.144, 0.192]
    assert all("critic/loss" in line and "autoencoder/loss" in line for line in lines)


def test_curves_and_grids_are_in_tensorboard(finished):
    board = EventAccumulator(str(finished.run / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("autoencoder/reconstruction_l1")] == [48, 96, 144, 192]
    assert [event.step for event in board.Images("grid")] == [96, 192]


def test_a_snapshot_of_a_run_is_the_average_of_its_state(finished):
    snapshot = load_snapshot(finished.run)
    assert snapshot.kimg == 0.192
    assert snapshot.metadata["data"]["train"]["happy"] == 24
    found = tensors(finished.run)
    for name, value in found.items():
        if name.startswith("average/"):
            assert torch.equal(value, found[name.replace("average/", "snapshot/")])


def test_training_moved_every_weight_that_matters(finished):
    found = tensors(finished.run)
    start = Networks(finished.model, finished.seed).state_dict()
    unmoved = [name for name, value in start.items() if torch.equal(value, found[f"networks/{name}"])]
    # Without a weight for expressions there is no head to be read from.
    unmoved = [name for name in unmoved if not name.startswith("image_critic.head.")]
    # A constant added to all scores changes neither a gap nor a slope.
    assert unmoved == ["latent_critic.layers.4.bias", "image_critic.to_score.bias"]


def test_the_same_command_again_on_a_finished_run_changes_nothing(finished, capsys):
    before = {path: path.read_bytes() for path in finished.run.glob("s*/*")} | {
        path: path.read_bytes() for path in finished.run.glob("s*") if path.is_file()
    }
    assert run(finished) == 0
    assert {path: path.read_bytes() for path in before} == before
    shown = capsys.readouterr().out
    assert f"goes on from {finished.run / 'state-000000.192'}" in shown
    assert "finished at 0.192 kimg" in shown


def test_a_run_interrupted_twice_ends_with_the_same_bits(finished, tmp_path):
    again = dataclasses.replace(finished, run=tmp_path / "run", stream=StreamConfig(workers=1))
    for total_kimg in (0.104, 0.136, 0.192):  # 13 and 17 steps: within a cycle of 3
        assert run(with_total(again, total_kimg)) == 0
    expected, found = tensors(finished.run), tensors(again.run)
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


def test_a_run_through_the_decoded_cache_ends_with_the_same_bits(finished, tmp_path):
    stream = StreamConfig(workers=0, cache=tmp_path / "cache")
    assert run(dataclasses.replace(finished, run=tmp_path / "run", stream=stream)) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    expected, found = tensors(finished.run), tensors(tmp_path / "run")
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


def test_stats_of_steps_taken_again_are_not_told_twice(finished, tmp_path):
    config = with_total(dataclasses.replace(finished, run=tmp_path / "run"), 0.096)
    assert run(config) == 0
    with (config.run / "stats.jsonl").open("a") as stats:  # as a killed run leaves it
        stats.write('{"kimg": 0.144, "critic/loss": 1.0}\n{"kimg": 0.1')
    assert run(with_total(config, 0.192)) == 0
    kimg = [json.loads(line)["kimg"] for line in (config.run / "stats.jsonl").read_text().splitlines()]
    assert kimg == [0.048, 0.096, 0.144, 0.192]


def test_another_config_for_a_begun_run_is_refused_in_one_sentence(finished, capsys):
    assert run(finished, "--optimiser.critic-rate", "1e-3") == 2
    assert f"optimiser.critic_rate was {finished.optimiser.critic_rate} and is 0.001" in sentence(capsys)


def test_a_run_folder_that_cannot_be_written_is_one_sentence(tiny_config, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(tiny_config, "--run", str(tmp_path / "file" / "run")) == 2
    assert "cannot be a folder" in sentence(capsys)


def test_classes_without_samples_are_warned_of(tiny_config, tmp_path, capsys):
    source = draw(DrawnOptions(train_identities=4, valid_identities=1, test_identities=0))
    source.samples = [
        dataclasses.replace(sample, label=-1) if sample.label == 2 else sample for sample in source.samples
    ]
    build(source, tmp_path / "fearless", BuildOptions(workers=1))
    config = with_total(dataclasses.replace(tiny_config, data=str(tmp_path / "fearless")), 0.024)
    assert run(config) == 0
    shown = capsys.readouterr().out
    assert "warning: " in shown
    assert "no training sample of afraid: " in shown


# ---- several data sets


def test_a_run_on_labelled_grey_and_unlabelled_colour_pictures(
    tiny_config, unlabelled_folder, tmp_path, capsys
):
    data = f"{tiny_config.data}:0.75,{unlabelled_folder}:0.25"
    config = dataclasses.replace(tiny_config, data=data)
    assert run(config) == 0
    assert "warning" not in capsys.readouterr().out
    about = load_snapshot(config.run).metadata["data"]
    assert [each["weight"] for each in about["sets"]] == [0.75, 0.25]
    assert (about["train"]["happy"], about["train"]["unlabelled"]) == (24, 28)
    found = tensors(config.run)
    start = Networks(config.model, config.seed).state_dict()
    for name in ("image_critic.class_weight.weight", "generator.norm.affine.weight"):
        moved = (start[name] != found[f"networks/{name}"]).any(dim=1)
        assert moved[-1], name  # the row of the unlabelled
    # The same data with other weights are other data.
    assert run(dataclasses.replace(config, data=f"{tiny_config.data},{unlabelled_folder}")) == 2
    assert "which saw other data than" in sentence(capsys)


def test_a_mixture_interrupted_and_through_the_decoded_cache_ends_with_the_same_bits(
    tiny_config, unlabelled_folder, tmp_path
):
    data = f"{tiny_config.data}:2,{unlabelled_folder}"
    config = with_total(dataclasses.replace(tiny_config, data=data), 0.096)
    assert run(config) == 0
    stream = StreamConfig(workers=1, cache=tmp_path / "cache")
    again = dataclasses.replace(config, run=tmp_path / "again" / "run", stream=stream)
    for total_kimg in (0.04, 0.096):
        assert run(with_total(again, total_kimg)) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2
    expected, found = tensors(config.run), tensors(again.run)
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []

"""The command line of training, and whole runs: what they leave, how they stop and how they go on."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fes.config import ClockConfig, Config, StreamConfig
from fes.networks import Networks
from fes.objectives import CriticObjective
from fes.snapshot import load_snapshot
from fes.state import list_states
from fes.train import main
from fes.tree import to_tree
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.schema import IMAGES
from shards.sources.drawn import DrawnOptions, draw

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("one_core")


def written(config: Config, folder: Path) -> str:
    """A config as a yaml file."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(to_tree(config)))
    return str(path)


def run(config: Config, *flags: str) -> int:
    """Trains in this process as the command line does; the exit code."""
    config.run.parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(SystemExit) as ended:
        main(["--config", written(config, config.run.parent), *flags])
    return ended.value.code


def sentence(capsys) -> str:
    """What stderr holds, if it is one line that names the program."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train.py: ")
    return lines[0]


def with_total(config: Config, total_kimg: float, **others: object) -> Config:
    clock = dataclasses.replace(config.clock, total_kimg=total_kimg)
    return dataclasses.replace(config, clock=clock, **others)


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a run's newest state, and of its newest snapshot."""
    state = list_states(run)[-1]
    found = {}
    for path in (state / "networks.safetensors", state / "average.safetensors", max(run.glob("snapshot-*"))):
        found |= {f"{path.stem.split('-')[0]}/{name}": value for name, value in load_file(path).items()}
    kept = torch.load(state / "players.pt", weights_only=True)
    for player, saved in ((name, kept[name]) for name in ("critics", "autoencoder")):
        for place, entry in saved["optimiser"]["state"].items():
            found |= {f"{player}/{place}/{name}": value for name, value in entry.items()}
    return found


# ---- the command line


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


def test_missing_data_are_told_in_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(tmp_path / "nowhere"), "--run", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "nowhere is no folder of shards" in sentence(capsys)


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
        ("{0},{0}-2:0.3", "-2 is no folder of shards"),
    ],
)
def test_data_that_cannot_be_mixed_are_one_sentence(data, told, drawn_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", data.format(drawn_folder), "--run", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert told in sentence(capsys)
    assert not (tmp_path / "run").exists()


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
    assert "cannot write to the folder" in sentence(capsys)


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


# ---- damaged samples


@pytest.fixture
def damaged(drawn_folder, tmp_path) -> Path:
    """A copy of the data whose first training picture is not what was written."""
    folder = tmp_path / "damaged"
    shutil.copytree(drawn_folder, folder)
    split = ShardIndex.load(folder).split("train")
    with (folder / split.shards[0].name).open("r+b") as shard:
        shard.seek(int(split.places[0]["image_offset"]))
        shard.write(b"damage")
    return folder


def test_a_damaged_picture_ends_the_run_with_its_name(tiny_config, damaged, capsys):
    assert run(dataclasses.replace(tiny_config, data=str(damaged))) == 2
    assert re.search(rf"train-000000.tar: member 000000000\.({'|'.join(IMAGES)}) ", sentence(capsys))


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_damaged_picture_may_be_skipped_and_counted(tiny_config, damaged, tmp_path, capsys, cache):
    stream = StreamConfig(workers=0, on_bad_sample="skip", cache=cache and tmp_path / cache)
    config = dataclasses.replace(tiny_config, data=str(damaged), stream=stream)
    assert run(config) == 0
    assert "  skipped 1" in capsys.readouterr().out
    lines = [json.loads(line) for line in (config.run / "stats.jsonl").read_text().splitlines()]
    assert lines[-1]["data/skipped"] >= 1


def test_more_skipped_samples_than_allowed_end_the_run_and_lose_nothing(tiny_config, damaged, capsys):
    stream = StreamConfig(workers=0, on_bad_sample="skip", most_bad_samples=0)
    config = dataclasses.replace(tiny_config, data=str(damaged), stream=stream)
    assert run(config) == 2
    told = sentence(capsys)
    assert "--stream.most-bad-samples 0" in told
    assert "member 000000000." in told
    assert len(list_states(config.run)) >= 1
    assert run(config, "--stream.most-bad-samples", "100") == 0
    assert f"goes on from {list_states(config.run)[0].parent}" in capsys.readouterr().out


# ---- signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_saves_a_state_and_says_how_to_go_on(tiny_config, tmp_path, capsys, number, code):
    config = with_total(tiny_config, 1000.0, stream=StreamConfig(workers=1))
    script = str(REPOSITORY / "fes" / "train.py")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        [sys.executable, script, "--config", written(config, tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    ) as process:
        begun = [process.stdout.readline() for _ in range(3)]  # "begins ...", on what, and the first tick
        assert "images/s" in begun[-1]
        os.killpg(process.pid, number)  # as a terminal or a scheduler does: to the readers as well
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert "and saved; the same command goes on from there" in out
    (last, *_) = reversed(list_states(config.run))
    step = json.loads((last / "state.json").read_text())["step"]
    assert run(with_total(config, (step + 1) * config.batch / 1000)) == 0
    assert f"goes on from {last}" in capsys.readouterr().out

"""A guide in a run: which files can be one, what a run with it keeps, and that it teaches."""

import copy
import dataclasses
import json
import math
import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from fes import draws
from fes.cli import main as judge_main
from fes.config import ClockConfig, Config, EvaluationConfig, GanStage, LossConfig, StagesConfig, StartConfig
from fes.errors import InputError
from fes.files import sha256_of
from fes.judge import Facts, Judge, JudgeConfig, load_judge, new_judge, save_judge
from fes.learning.guide import Guide, guide_for
from fes.model.networks import Code, Networks
from fes.saved.snapshot import load_snapshot
from fes.saved.state import list_states
from tests.fes.runs import run, sentence, tensors, with_total

pytestmark = pytest.mark.usefixtures("one_core")

MOST = 0.4
"""Most noise on what the guide of these tests sees."""


@pytest.fixture
def file(drawn_judge, tmp_path) -> Path:
    """A guide's file, as 'fes judge train --noise 0.4' writes it."""
    return written(drawn_judge, tmp_path / "guide.safetensors")


def written(judge: Judge, path: Path, noise: float = MOST, accuracy: float = 1.0) -> Path:
    judge = copy.deepcopy(judge)
    confusion = tuple(map(tuple, torch.eye(7, dtype=torch.int64).tolist()))
    judge.facts = Facts(accuracy, confusion, "data", dataclasses.asdict(JudgeConfig(noise=noise)))
    save_judge(path, judge)
    return path


def with_guide(config: Config, file: Path | None, **others: object) -> Config:
    start, loss = StartConfig(guide=file), LossConfig(guide_weight=0.5)
    return dataclasses.replace(config, **{"start": start, "loss": loss, **others})


def test_it_comes_from_its_file_with_the_noise_that_it_was_trained_with(tiny_config, file, tmp_path):
    found = guide_for(with_guide(tiny_config, file), torch.device("cpu"))
    assert (found.noise, found.sha256) == (MOST, sha256_of(file))
    x, by = torch.linspace(-1, 1, 3 * 48 * 48).reshape(3, 1, 48, 48), draws.noise(0, 3, 3, 8).guide
    assert torch.equal(found(x, by), Guide(load_judge(file), MOST)(x, by))
    save_judge(tmp_path / "old", new_judge("plain", 48, 1, seed=0))  # one that tells nothing of its training
    assert guide_for(with_guide(tiny_config, tmp_path / "old"), torch.device("cpu")).noise == 0.0
    assert guide_for(tiny_config, torch.device("cpu")) is None


def test_it_may_read_smaller_pictures_than_are_drawn_if_whole_blocks_make_them(tiny_config, file):
    for resolution in (96, 192):
        model = dataclasses.replace(tiny_config.model, resolution=resolution)
        assert (
            guide_for(with_guide(tiny_config, file, model=model), torch.device("cpu")).judge.resolution == 48
        )


@pytest.mark.parametrize(
    ("kind", "made_for", "told"),
    [
        ("plain", (64, 1), "reads pictures of 64 px and 1 channel, "),
        ("plain", (96, 1), "reads pictures of 96 px and 1 channel, "),
        ("residual", (48, 3), "reads pictures of 48 px and 3 channels, "),
    ],
)
def test_a_guide_of_other_pictures_is_refused_with_the_way_to_make_one(
    tiny_config, tmp_path, kind, made_for, told
):
    path = written(new_judge(kind, *made_for, seed=0), tmp_path / "other")
    with pytest.raises(InputError) as caught:
        guide_for(with_guide(tiny_config, path), torch.device("cpu"))
    assert str(caught.value) == (
        f"--start.guide {path} {told}and the run draws 48 px and 1 channel: 'fes judge train "
        f"--data {tiny_config.data} --out {tmp_path}/other-48x1.safetensors --half --seed 100 --noise 0.5 "
        "--kimg 400 --resolution 48 --channels 1' makes one"
    )


def test_a_guide_that_is_missing_is_there_once_the_command_that_is_told_was_given(
    tiny_config, tmp_path, capsys
):
    config = with_guide(tiny_config, tmp_path / "a guide.safetensors")
    with pytest.raises(InputError) as caught:
        guide_for(config, torch.device("cpu"))
    told = re.fullmatch(r"--start\.guide: there is no .*: '(fes judge train .*)' makes it", str(caught.value))
    program, *words = shlex.split(told[1].replace("--kimg 400", "--kimg 0.064"))
    assert program == "fes"
    judge_main(words)
    assert guide_for(config, torch.device("cpu")).noise == 0.5
    piped = dataclasses.replace(config, data="pipe:curl ...", start=StartConfig(guide=tmp_path / "none"))
    with pytest.raises(InputError, match="fes judge train --data DATA --out "):
        guide_for(piped, torch.device("cpu"))


def test_readers_that_hardly_read_faces_are_warned_of_once_before_a_run_begins(
    tiny_config, drawn_judge, tmp_path, capsys
):
    guide = written(drawn_judge, tmp_path / "guide", accuracy=0.25)
    judge = written(new_judge("plain", 48, 1, seed=1), tmp_path / "judge", accuracy=0.375)
    other = written(new_judge("plain", 48, 1, seed=2), tmp_path / "other", accuracy=0.5)
    grading = EvaluationConfig(judge, other)
    config = with_total(with_guide(tiny_config, guide, evaluation=grading), 0.024)
    for more in (["--dry-run"], []):
        assert run(config, *more) == 0
        assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: the")] == [
            f"warning: the guide {guide} reads 0.25 of real faces rightly: faces learn little from it; train "
            "one for longer (--kimg)",
            f"warning: the judge {judge} reads 0.38 of real faces rightly: figures by it say little; train "
            "one for longer (--kimg)",
        ]


@pytest.mark.parametrize("grader", ["judge", "second_judge"])
def test_who_grades_must_not_have_taught_also_under_another_name(tiny_config, file, tmp_path, grader):
    other = written(new_judge("plain", 48, 1, seed=1), tmp_path / "other")
    copied = tmp_path / "copied"
    copied.write_bytes(file.read_bytes())
    honest = {"judge": other, "second_judge": other}
    config = with_guide(tiny_config, file, evaluation=EvaluationConfig(**honest))
    assert guide_for(config, torch.device("cpu")).sha256 == sha256_of(file)
    for same in (file, copied):
        evaluation = EvaluationConfig(**honest | {grader: same})
        with pytest.raises(InputError) as caught:
            guide_for(dataclasses.replace(config, evaluation=evaluation), torch.device("cpu"))
        assert str(caught.value) == (
            f"{same} is the guide that the faces were trained with, and cannot grade them: train a judge "
            "with another --seed"
        )


def test_a_run_with_a_guide_that_cannot_be_used_ends_in_one_sentence_before_anything_begins(
    tiny_config, file, snapshot_file, tmp_path, capsys
):
    grading = EvaluationConfig(file)
    for config, told in (
        (with_guide(tiny_config, tmp_path / "none"), "--kimg 400 --resolution 48 --channels 1' makes it"),
        (with_guide(tiny_config, snapshot_file), "a safetensors file, but not a judge"),
        (with_guide(tiny_config, file, evaluation=grading), "is the guide that the faces were trained with"),
        (with_guide(tiny_config, None), "--loss.guide-weight and --start.guide belong together"),
    ):
        assert run(config) == 2
        assert told in sentence(capsys)
    assert not tiny_config.run.exists()


# ---- whole runs


def stats(config: Config) -> list[dict[str, float]]:
    """The measurements of a run, by tick."""
    return [json.loads(line) for line in (config.run / "stats.jsonl").read_text().splitlines()]


def test_a_run_with_a_guide_goes_on_with_the_same_alone_and_ends_with_the_bits_of_one_that_did_not_stop(
    tiny_config, file, tmp_path, capsys
):
    stages = StagesConfig(gan=GanStage(0.024, guide_weight=1.0))
    config = with_total(with_guide(tiny_config, file, stages=stages), 0.096)
    assert run(config) == 0
    again = dataclasses.replace(config, run=tmp_path / "again" / "run")
    assert run(with_total(again, 0.04)) == 0  # within a cycle
    (state,) = list_states(again.run)
    kept = torch.load(state / "players.pt", weights_only=True)
    assert kept["guide"] == {"sha256": sha256_of(file)}
    capsys.readouterr()

    whole = file.read_bytes()
    written(new_judge("plain", 48, 1, seed=9), file)
    before = {path: path.read_bytes() for path in state.iterdir()}
    assert run(again) == 2
    assert sentence(capsys) == (
        "train.py: --start.guide holds another guide than the one that the run began with: take the same "
        "file, or another --run folder"
    )
    assert {path: path.read_bytes() for path in state.iterdir()} == before

    file.write_bytes(whole)
    assert run(again) == 0
    expected, found = tensors(config.run), tensors(again.run)
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    told = [line["autoencoder/guide"] for line in stats(config)]
    assert len(told) == 2
    assert all(map(math.isfinite, told))


def test_a_guide_at_another_place_is_another_run_and_so_is_none(tiny_config, file, tmp_path, capsys):
    config = with_total(with_guide(tiny_config, file), 0.024)
    assert run(config) == 0
    capsys.readouterr()
    moved = tmp_path / "moved"
    moved.write_bytes(file.read_bytes())
    assert run(config, "--start.guide", str(moved)) == 2
    assert f"start.guide was {file} and is {moved}" in sentence(capsys)
    bare = dataclasses.replace(config, start=StartConfig(), loss=LossConfig())
    assert run(bare, "--allow-change", "loss.guide-weight") == 2
    assert f"start.guide was {file} and is None" in sentence(capsys)


def test_the_weight_of_a_guide_may_change_on_purpose(tiny_config, file, capsys):
    config = with_total(with_guide(tiny_config, file), 0.024)
    assert run(config) == 0
    changed = with_total(with_guide(tiny_config, file, loss=LossConfig(guide_weight=2.0)), 0.048)
    assert run(changed, "--allow-change", "loss.guide-weight") == 0
    assert "from here on: loss.guide_weight was 0.5 and is 2.0" in capsys.readouterr().out


def test_a_guide_alone_teaches_faces_to_be_read_as_asked(tiny_config, drawn_judge, tmp_path):
    """In a stage where nothing else pulls."""
    file = written(drawn_judge, tmp_path / "guide.safetensors", noise=0.1)
    kimg = 24 * 2 * 16 / 1000  # so many updates, with one of the critics before each
    alone = GanStage(kimg, image_weight=0.0, guide_weight=1.0, autoencoder_rate=1e-2)
    clock = ClockConfig(total_kimg=kimg, tick_kimg=kimg / 6, snapshot_kimg=kimg, state_kimg=kimg)
    start = StartConfig(guide=file)
    config = dataclasses.replace(
        tiny_config, batch=16, critic_steps=1, start=start, stages=StagesConfig(gan=alone), clock=clock
    )
    assert run(config) == 0
    first, *_, last = stats(config)
    assert last["autoencoder/guide"] < 0.6 * first["autoencoder/guide"]
    assert last["autoencoder/guide_accuracy"] > first["autoencoder/guide_accuracy"] + 0.3
    assert last["autoencoder/loss"] == last["autoencoder/guide"]
    trained, untrained = load_snapshot(config.run).generator, Networks(config.model, config.seed).generator
    assert surprise(load_judge(file), trained) < 0.6 * surprise(load_judge(file), untrained)


@torch.no_grad()
def surprise(judge: Judge, generator: nn.Module) -> float:
    """How improbable a judge finds the asked expressions of 70 faces, in nats."""
    code, asked = Code(draws.noise(1, 0, 70, 8).z_prior), torch.arange(7).repeat(10)
    return functional.cross_entropy(judge(generator(code, asked)), asked).item()


def test_it_looks_through_less_noise_where_that_is_asked_for(tiny_config, file):
    asked = with_guide(tiny_config, file)
    trained = guide_for(asked, torch.device("cpu")).noise
    assert trained > 0.25
    for noise in (0.25, 0.0):
        less = dataclasses.replace(asked, loss=dataclasses.replace(asked.loss, guide_noise=noise))
        assert guide_for(less, torch.device("cpu")).noise == noise

"""Measuring while training: what is logged, which snapshot is kept as the best, and what stays untouched."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fes.config import Config, EvaluationConfig
from fes.config.tree import to_tree
from fes.data.mixture import Mixture
from fes.errors import InputError
from fes.evaluation.best import best_score, save_best
from fes.evaluation.in_loop import InLoop, evaluation_for
from fes.judge import Judge, new_judge, save_judge
from fes.saved.snapshot import load_snapshot
from fes.train import main
from shards.index import ShardIndex
from tests.fes.evaluation.generators import SOURCE, Copy, Truth

pytestmark = pytest.mark.usefixtures("one_core")


@pytest.fixture(scope="module")
def judge_file(drawn_judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    save_judge(path, drawn_judge)
    return path


def with_judge(config: Config, judge: Path | None, **others: object) -> Config:
    return dataclasses.replace(config, evaluation=EvaluationConfig(judge, faces=4, **others))


def train(config: Config, total_kimg: float) -> int:
    """Trains in this process as the command line does; the exit code."""
    config = dataclasses.replace(config, clock=dataclasses.replace(config.clock, total_kimg=total_kimg))
    path = config.run.parent / f"{config.run.name}.yaml"
    path.write_text(yaml.safe_dump(to_tree(config)))
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(path)])
    return ended.value.code


def test_a_run_measures_its_snapshots_and_learns_the_same(tiny_config, judge_file, tmp_path, capsys):
    run, bare = tiny_config.run, dataclasses.replace(tiny_config, run=tmp_path / "bare")
    assert train(with_judge(tiny_config, judge_file), 0.096) == 0
    assert "kimg 0.1: score 0.000, the best yet: read as asked 0." in capsys.readouterr().out
    first = (run / "best.json").read_bytes()
    assert json.loads(first)["snapshot"] == "snapshot-000000.096.safetensors"
    other = with_judge(tiny_config, judge_file, seconds=30.0)  # which changes nothing that is learnt
    assert train(other, 0.192) == 0
    names = [f"snapshot-000000.{kimg}-valid.{end}" for kimg in ("096", "192") for end in ("json", "png")]
    assert sorted(path.name for path in (run / "evaluation").iterdir()) == names
    last = json.loads((run / "evaluation" / names[2]).read_bytes())
    assert (last["kimg"], last["faces"], last["split"]) == (0.192, 4, "valid")
    kept = json.loads((run / "best.json").read_bytes())
    better = last["score"] > json.loads(first)["score"]
    assert kept["snapshot"] == f"snapshot-000000.{'192' if better else '096'}.safetensors"
    assert load_snapshot(run / "best.safetensors").kimg == kept["kimg"]

    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    told = {
        line["kimg"]: line["evaluation/expression_accuracy"] for line in lines if "evaluation/score" in line
    }
    assert list(told) == [0.096, 0.192]
    assert told[0.192] == last["expression_accuracy"]
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("evaluation/identity_rank1")] == [96, 192]

    assert train(bare, 0.192) == 0
    assert not (bare.run / "evaluation").exists()
    for name in ("networks", "average"):
        one, other = (
            load_file(each / "state-000000.192" / f"{name}.safetensors") for each in (run, bare.run)
        )
        assert all((one[key] == other[key]).all() for key in one)


def test_a_judge_that_cannot_be_used_ends_the_command_before_anything_begins(tiny_config, tmp_path, capsys):
    save_judge(tmp_path / "other", new_judge("plain", 64, 1, seed=0))
    for judge, told in (("none", "none is not a judge"), ("other", "the judge reads pictures of 64 px")):
        assert train(with_judge(tiny_config, tmp_path / judge), 0.192) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("train.py: ")
        assert told in line
    assert not tiny_config.run.exists()


@pytest.fixture
def in_loop(tiny_config, drawn_mixture, judge_file) -> InLoop:
    tiny_config.run.mkdir()
    return evaluation_for(with_judge(tiny_config, judge_file, seconds=1e-9), drawn_mixture, "cpu")


def test_the_best_snapshot_is_kept_also_by_a_run_that_goes_on(in_loop, drawn_index, snapshot_file):
    truth = Truth(drawn_index.split("valid"))
    for kimg, generator, is_best in (
        (1, Copy(), True),
        (2, truth, True),
        (3, Copy(), False),
        (4, truth, False),
    ):
        snapshot = in_loop.run / f"snapshot-00000{kimg}.000.safetensors"
        shutil.copy(snapshot_file, snapshot)
        again = dataclasses.replace(in_loop)  # it remembers nothing but what is on the disk
        measured = again.measure(snapshot, float(kimg), SOURCE, generator)
        assert measured.is_best is is_best
        assert ("the best yet" in measured.sentence) is is_best
    known = json.loads((in_loop.run / "best.json").read_bytes())
    assert (known["snapshot"], known["kimg"]) == ("snapshot-000002.000.safetensors", 2)
    assert best_score(in_loop.run, in_loop.made) == known["score"] > 0.5
    assert measured.logged["evaluation/score"] == measured.figures["score"]


def test_scores_that_were_made_otherwise_do_not_compare(snapshot_file, tmp_path):
    made = {"judge": "a", "data": "b"}
    assert best_score(tmp_path, made) is None
    save_best(tmp_path, snapshot_file, {"score": 0.5}, made)
    assert best_score(tmp_path, made) == 0.5
    assert best_score(tmp_path, made | {"judge": "c"}) is None
    whole = (tmp_path / "best.safetensors").read_bytes()
    for damaged in (whole[:-1], b"", snapshot_file.read_bytes()):
        (tmp_path / "best.safetensors").write_bytes(damaged)
        assert best_score(tmp_path, made) is None


def test_faces_come_from_the_first_set_with_labels_or_from_the_one_that_is_named(
    tiny_config, drawn_index, unlabelled_folder, drawn_folder, judge_file
):
    unlabelled = ShardIndex.load(unlabelled_folder)
    config = with_judge(tiny_config, judge_file)
    found = evaluation_for(config, Mixture([unlabelled, drawn_index]), "cpu")
    assert found.evaluator.faces.about == {"data": drawn_index.fingerprint, "split": "valid"}
    with pytest.raises(InputError, match="no held-out pictures with labels to evaluate on"):
        evaluation_for(config, Mixture([unlabelled]), "cpu")
    named = with_judge(tiny_config, judge_file, data=drawn_folder)
    assert evaluation_for(named, Mixture([unlabelled]), "cpu").made == found.made
    assert evaluation_for(with_judge(tiny_config, None), Mixture([unlabelled]), "cpu") is None

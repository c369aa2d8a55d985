"""The benches of the machinery measure the real trainer, in turn with as much bare work, and real ranks."""

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import ranks
from bench.machinery import RANKS
from bench.overhead import (
    CALLS,
    HOOKS,
    Amount,
    Interleaved,
    compared,
    in_memory,
    measure_overhead,
    with_data,
)
from bench.plot import CLUSTERS, GPUS, curves_of, draw, scenarios
from bench.recording import keep, kept, machine
from bench.steps import measure_readiness, measure_steps, ready
from fes.config import Config
from fes.errors import InputError
from fes.learning.players import bare_players
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.saved.state import list_states
from tests.fes.launching import run_ranks

CPU = torch.device("cpu")


class Slow:
    """Hooks that take long."""

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        time.sleep(0.5)

    snapshot = state = lambda self, step: None

    def stopping(self, step: int) -> bool:
        return False


def test_a_block_of_the_trainer_is_followed_by_a_bare_one_and_hooks_do_not_count() -> None:
    taken: list[int] = []
    measured = Interleaved(Slow(), taken.append, block=6, device=CPU)
    for step in range(13):
        measured.stopping(step)
        if step == 9:
            measured.tick(step, {})
    assert taken == [6, 6, 6]
    assert len(measured.full_seconds) == 2
    assert measured.hook_seconds["tick"][0][0] >= 0.5
    assert sum(each[0] for each in measured.full_seconds) < 0.4


def test_a_machine_that_becomes_slower_does_not_change_the_ratio() -> None:
    measured = Interleaved(Slow(), lambda steps: None, block=6, device=CPU)
    measured.bare_seconds = [np.full(2, seconds) for seconds in (90.0, 1.0, 2.0, 3.0, 4.0)]
    measured.full_seconds = [np.full(2, seconds) for seconds in (50.0, 1.5, 2.5, 3.5)]
    full, bare = compared(measured)
    np.testing.assert_allclose(full / bare, 1.0)


@pytest.mark.usefixtures("one_core")
def test_the_trainer_that_is_measured_is_the_whole_one(tiny_config: Config) -> None:
    steps, *hooks = measure_overhead(tiny_config, Runtime(), Amount(rounds=3, cycles=1))
    assert steps["part"] == "steps"
    assert 0 < steps["quartiles"][0] <= steps["ratio"] <= steps["quartiles"][1]
    assert tuple(each["part"] for each in hooks) == HOOKS
    assert all(each["share"] > 0 for each in hooks)
    assert list_states(tiny_config.run)[-1].name == "state-000000.096"
    assert len((tiny_config.run / "stats.jsonl").read_text().splitlines()) == CALLS


@pytest.mark.usefixtures("one_core")
def test_all_gradients_become_ready_one_after_another_within_the_step(tiny_config: Config) -> None:
    runtime = Runtime()
    config, mixture = with_data(tiny_config)
    networks, work = Networks(config.model, 0), in_memory(config, mixture, runtime)[0]
    for player in bare_players(config, networks).values():
        found = ready(player, work, CPU)
        learning = [each for each in player[0].parameters() if each.requires_grad]
        assert found[-1][0] == sum(each.nbytes for each in learning)
        assert all(early[0] < late[0] and early[1] <= late[1] for early, late in itertools.pairwise(found))
        assert 0 < found[0][1] < found[-1][1] <= 1


def test_a_result_is_a_line_with_the_machine_the_versions_and_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "results" / "some.jsonl"
    keep(path, machine("cpu"), [{"what": "one"}])
    keep(path, machine("cpu"), [{"what": "two"}, {"what": "three"}])
    lines = kept(path)
    assert [line["what"] for line in lines] == ["one", "two", "three"]
    assert all(line["torch"] == torch.__version__ and line["device"] for line in lines)
    assert {"time", "commit", "cores", "load", "python"} <= lines[0].keys()
    assert kept(tmp_path / "none.jsonl") == []


@pytest.fixture(scope="module")
def said(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What two real ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    job = ranks.Job(drawn_folder, folder / "ranks.json", rounds=1, cycles=1, quick=True)
    run_ranks(RANKS, folder, ranks.run, job)
    return json.loads(job.out.read_text())


def test_what_two_ranks_all_reduce_is_counted_and_is_each_gradient_once(said: list[dict]) -> None:
    critics, autoencoder, cycle = (line for line in said if line["what"] == "traffic")
    for player in (critics, autoencoder):
        assert sum(player["all_reduces"]) == player["all_reduced_bytes"] == player["parameter_bytes"] > 10_000
    assert 0 < cycle["all_reduced_bytes"] - cycle["parameter_bytes"] < 100
    assert cycle["parameter_bytes"] == 5 * critics["parameter_bytes"] + autoencoder["parameter_bytes"]
    assert cycle["calls"]["allgather"] > 0


def test_two_ranks_are_compared_with_one_that_is_alone(said: list[dict]) -> None:
    scaling = [line for line in said if line["what"] == "weak scaling"]
    assert [(line["part"], line["ranks"]) for line in scaling] == [("apart", RANKS), ("together", RANKS)]
    assert all(line["efficiency"] > 0 and line["step_seconds"] > 0 for line in scaling)


@pytest.mark.usefixtures("one_core")
def test_what_was_measured_becomes_the_curves_of_the_model(tiny_config: Config, said: list[dict]) -> None:
    runtime = Runtime()
    found = measure_steps(tiny_config, runtime, (2, 4), 1) + measure_readiness(tiny_config, runtime, 4, 1)
    about = {"time": "2", "device": "a CPU"}
    lines = [{**about, **line} for line in found] + [{**about, "time": "3", **line} for line in said]
    device, models = scenarios(lines)
    assert (device, len(models)) == ("a CPU", 2)
    curves = curves_of(models[0])
    assert [curve.cluster for curve in curves] == [cluster.name for cluster in CLUSTERS]
    assert all(len(curve.weak) == len(curve.strong) == len(GPUS) for curve in curves)
    assert "not measured" in draw(models, curves).get_suptitle()


def test_a_gpu_that_was_measured_is_preferred_to_a_cpu_and_to_assumptions(said: list[dict]) -> None:
    gradients = [[10**6, 0.9], [10**9, 1.0]]
    lines = [
        {
            "time": time,
            "device": device,
            "what": "step",
            "player": player,
            "batch": batch,
            "seconds": batch,
            **gpu,
        }
        for time, device, gpu in (("1", "a GPU", {"cuda": "13.0"}), ("2", "a CPU", {}))
        for player, batch in itertools.product(("critics", "autoencoder"), (8, 32))
    ]
    lines += [{**line, "what": "readiness", "gradients": gradients} for line in lines]
    device, models = scenarios([*lines, *({**line, "time": "3"} for line in said)])
    assert device == "a GPU"
    assert [model.title for model in models] == ["steps as measured on one a GPU"]
    assert models[0].steps[0].per_picture == pytest.approx(1)


def test_without_figures_the_model_says_what_to_run() -> None:
    with pytest.raises(InputError, match=r"run `python -m bench\.machinery` first"):
        scenarios([])


def test_figures_of_quick_alone_are_told_to_be_worth_nothing() -> None:
    with pytest.raises(
        InputError, match=r"only figures of --quick, .*: run `python -m bench\.machinery` first"
    ):
        scenarios([{"quick": True, "what": "step"}, {"quick": True, "what": "traffic"}])

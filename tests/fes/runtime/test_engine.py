"""DeepSpeed's engines do what one process does, in each stage: with two real processes, over gloo."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fes import train
from fes.runtime.player import Player
from tests.fes.launching import PATIENCE, REPOSITORY, started
from tests.fes.runtime.engines import (
    HALF,
    MAX_NORM,
    STAGES,
    STEPS,
    Game,
    compare_stages,
    descent,
    smooth_adam,
)

TINY = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16, skip: features}
loss: {expression_weight: 0.5, cycle_weight: 0.5, balance: true}
stages: {autoencoder: {kimg: 0.048}, gan: {kimg: 0.048}}
stream: {workers: 0}
clock: {total_kimg: 0.192, tick_kimg: 10, snapshot_kimg: 10, state_kimg: 0.096}
"""
MIDDLE, END = "state-000000.096", "state-000000.192"
"""In the middle a stage begins: the engines of the one before are still there in a run that never stops."""

Weights = dict[str, Tensor]


def deepspeed(stage: int) -> dict[str, str]:
    """What accelerate tells the processes that it launches."""
    return {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(stage)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks left what they had after playing in each stage."""
    out = tmp_path_factory.mktemp("engines")
    torch.save(Game(Player, smooth_adam).play(0, HALF).state(), out / "one.pt")
    with started(2, out, compare_stages, out, **deepspeed(0)) as ranks:
        assert ranks.codes() == [0, 0], ranks.out + ranks.err
        assert ranks.out + ranks.err == ""  # DeepSpeed says much by itself
    return out


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[Weights]:
    """What each rank saved: stage/way/weight -> value."""
    return [load_file(folder / f"rank{rank}.safetensors") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Weights]:
    """The weights of one process without DeepSpeed, by way."""
    plain = Game(Player, descent).play(0, STEPS)
    clipped = Game(lambda *both: Player(*both, max_gradient_norm=MAX_NORM), descent).play(0, STEPS)
    adam = Game(Player, smooth_adam).play(0, STEPS)
    games = {"descent": plain, "in pieces": plain, "clipped": clipped, "adam": adam}
    return {way: game.networks.state_dict() for way, game in games.items()}


def of(weights: Weights, stage: int | str, way: str) -> Weights:
    """The weights at the end of one way, of engines of a stage or of ddp."""
    prefix = f"{stage}/{way}/"
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def largest_difference(found: Weights, expected: Weights) -> float:
    assert found.keys() == expected.keys()
    return max((found[name] - value).abs().max().item() for name, value in expected.items())


def test_ranks_hold_identical_bits(ranks: list[Weights]) -> None:
    first, second = ranks
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["descent", "in pieces", "adam"])
def test_weights_equal_those_of_one_process(
    ranks: list[Weights], alone: dict[str, Weights], stage: int, way: str
) -> None:
    assert largest_difference(of(ranks[0], stage, way), alone[way]) < 1e-6
    assert largest_difference(alone[way], Game(Player, descent).networks.state_dict()) > 1e-3


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["descent", "bf16"])
def test_weights_equal_those_of_ddp(ranks: list[Weights], stage: int, way: str) -> None:
    assert largest_difference(of(ranks[0], stage, way), of(ranks[0], "ddp", way)) < 1e-6


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_is_what_networks_compute_in_and_not_what_weights_are_kept_in(
    ranks: list[Weights], stage: int
) -> None:
    bf16 = of(ranks[0], stage, "bf16")
    assert largest_difference(bf16, of(ranks[0], stage, "descent")) > 1e-4
    assert {value.dtype for value in bf16.values()} == {torch.float32}


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_are_clipped_where_that_is_asked_for_and_only_there(
    ranks: list[Weights], alone: dict[str, Weights], stage: int
) -> None:
    assert largest_difference(of(ranks[0], stage, "clipped"), alone["clipped"]) < 1e-6
    assert largest_difference(of(ranks[0], stage, "clipped"), of(ranks[0], stage, "descent")) > 1e-2


def test_clipping_that_deepspeed_would_add_by_itself_ends_the_run(folder: Path) -> None:
    told = "DeepSpeed would take ZeRO stage 0 and clip gradients at 1.0"
    assert (folder / "refused.txt").read_text() == told


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["adam, resumed", "adam, then ddp"])
def test_going_on_from_a_state_gives_the_bits_of_never_having_stopped(
    ranks: list[Weights], stage: int, way: str
) -> None:
    assert largest_difference(of(ranks[0], stage, way), of(ranks[0], stage, "adam")) == 0


@pytest.mark.parametrize("stage", STAGES)
def test_states_go_from_one_process_to_two_engines_and_back(
    ranks: list[Weights], alone: dict[str, Weights], folder: Path, stage: int
) -> None:
    found = of(ranks[0], stage, "adam, after one process")
    assert largest_difference(found, alone["adam"]) < 1e-6
    half = torch.load(folder / f"stage{stage}.pt", weights_only=True)
    found = Game(Player, smooth_adam).restore(half).play(HALF, STEPS).networks.state_dict()
    assert largest_difference(found, alone["adam"]) < 1e-6


def of_state(state: Path) -> dict[str, bytes]:
    """What a state holds, but for its config, in which the run's folder stands."""
    return {
        each.name: each.read_bytes() for each in state.iterdir() if each.suffix in (".safetensors", ".pt")
    }


def run_of(count: int, folder: Path, data: Path, run: Path, **variables: str) -> str:
    """Trains from the run's newest state to the end; returns what was said."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(TINY)
    command = ["--config", str(folder / "tiny.yaml"), "--data", str(data), "--run", str(run)]
    with started(count, folder, train.main, command, **variables) as ranks:
        assert ranks.codes() == [0] * count, ranks.out + ranks.err
        return ranks.out


@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_run_ends_with_the_bits_of_one_that_never_stopped(
    drawn_folder: Path, tmp_path: Path, stage: int
) -> None:
    told = run_of(2, tmp_path, drawn_folder, tmp_path / "whole", **deepspeed(stage))
    assert f"DeepSpeed with ZeRO stage {stage}" in told
    shutil.copytree(tmp_path / "whole" / MIDDLE, tmp_path / "parts" / MIDDLE)
    told = run_of(2, tmp_path / "again", drawn_folder, tmp_path / "parts", **deepspeed(stage))
    assert f"goes on from {tmp_path / 'parts' / MIDDLE}" in " ".join(told.split())
    whole = of_state(tmp_path / "whole" / END)
    assert sorted(whole) == ["average.safetensors", "networks.safetensors", "players.pt"]
    assert of_state(tmp_path / "parts" / END) == whole
    assert of_state(tmp_path / "parts" / END) != of_state(tmp_path / "parts" / MIDDLE)


def test_the_profile_alone_makes_engines(drawn_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    launch += [str(REPOSITORY / "launch" / "deepspeed_zero1.yaml"), "--num_processes", "2"]
    launch += ["--main_process_port", "0", str(REPOSITORY / "fes" / "train.py")]
    launch += [
        "--config",
        str(tmp_path / "tiny.yaml"),
        "--data",
        str(drawn_folder),
        "--run",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(launch, env=environment, **pipes) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.terminate()  # the launcher ends its ranks; were it killed, they would stay
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PATIENCE)
            process.kill()
    assert process.returncode == 0, out + err
    assert "DeepSpeed with ZeRO stage 1" in out
    assert (tmp_path / "run" / END).is_dir()

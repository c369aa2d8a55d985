"""What the live run is watched for: on measurements of real updates, sound and spoilt, and in runs."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from fes import draws, train
from fes.config import (
    AutoencoderStage,
    ClosingStage,
    Config,
    LossConfig,
    OpeningStage,
    OptimiserConfig,
    StagesConfig,
)
from fes.data.mixture import Mixture
from fes.data.stream import Stream
from fes.learning import objectives
from fes.learning.players import bare_players
from fes.model.networks import Networks
from fes.training.recorder import Recorder
from fes.training.watch import TICKS, Held, Watch, digest, hold, odd_ranks, unlike
from tests.fes.launching import started

Tick = dict[str, float]


def ticks(config: Config, mixture: Mixture, count: int, networks: Networks | None = None) -> Iterator[Tick]:
    """Means of the measurements of real updates: of 4 of the critics, and 2 of the autoencoder, a tick."""
    networks = networks or Networks(config.model, config.seed)
    stream = Stream(mixture.parts(48, 1), seed=config.seed, batch=config.batch, window=64)
    critics, autoencoder = bare_players(config, networks).values()
    for number in range(count):
        sums: dict[str, list[float]] = {}
        for step in range(6 * number, 6 * number + 6):
            objective, optimiser = autoencoder if step % 3 == 2 else critics
            noise = draws.noise(config.seed, step, config.batch, config.model.latent_dim)
            loss, measured = objective(stream[step], noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for name, value in measured.items():
                sums.setdefault(name, []).append(value.item())
        yield {name: sum(values) / len(values) for name, values in sums.items()}


def with_settings(config: Config, seed: int = 0, rate: float = 5e-4, weight: float = 10.0) -> Config:
    return dataclasses.replace(
        config,
        seed=seed,
        optimiser=OptimiserConfig(critic_rate=rate, autoencoder_rate=rate),
        loss=LossConfig(penalty_weight=weight),
    )


def faults(config: Config, measured: Iterator[Tick]) -> list[str]:
    """What the watch tells at each tick, "" where nothing, up to the first fault."""
    watch, told = Watch(config), []
    for number, tick in enumerate(measured, start=1):
        told.append(str(watch.fault(number / 10, tick) or ""))
        if told[-1]:
            break
    return told


# ---- measurements


@pytest.mark.parametrize(
    ("seed", "rate", "weight"),
    [(0, 5e-4, 10), (1, 1e-2, 10), (2, 2e-3, 100), (3, 1e-2, 0)],
)
def test_sound_runs_are_left_alone_at_any_rate_and_weight(tiny_config, drawn_mixture, seed, rate, weight):
    config = with_settings(tiny_config, seed, rate, weight)
    assert set(faults(config, ticks(config, drawn_mixture, 8))) == {""}


def test_the_default_networks_are_left_alone_from_the_first_step(tiny_config, drawn_mixture):
    model = dataclasses.replace(Config(data="", run=Path()).model, resolution=48, channels=1)
    config = dataclasses.replace(tiny_config, model=model, batch=4)
    assert set(faults(config, ticks(config, drawn_mixture, 4))) == {""}


def test_a_rate_that_blows_the_critics_up_is_told_at_once(tiny_config, drawn_mixture):
    config = with_settings(tiny_config, rate=10.0)
    (told,) = faults(config, ticks(config, drawn_mixture, 9))
    assert told.startswith("at 0.100 kimg the image critic's penalty explodes (gradient norm ")
    assert "take --optimiser.critic-rate lower than 10" in told
    assert told.endswith("nothing was saved here, the states before stand")


def test_a_penalty_that_does_not_reach_the_weights_is_told(tiny_config, drawn_mixture, monkeypatch):
    penalty = objectives.penalty
    monkeypatch.setattr(objectives, "penalty", lambda kind, norm: penalty(kind, norm.detach()))
    config = with_settings(tiny_config, rate=2e-3)
    *before, told = faults(config, ticks(config, drawn_mixture, 80))
    assert len(before) >= TICKS - 1
    assert "the image critic's penalty explodes" in told


@pytest.mark.parametrize(("norm", "after"), [(0.0, 1), (0.75, TICKS)])
def test_a_penalty_of_a_norm_that_never_moves_is_told(tiny_config, drawn_mixture, monkeypatch, norm, after):
    monkeypatch.setattr(objectives, "gradient_norm", lambda critic, at: torch.full((len(at),), norm))
    *before, told = faults(tiny_config, ticks(tiny_config, drawn_mixture, 9))
    assert len(before) == after - 1
    assert (
        f"the image critic's penalty is off: not a bit of its figures moves (gradient norm {norm:g}," in told
    )
    weightless = with_settings(tiny_config, weight=0.0)
    assert set(faults(weightless, ticks(weightless, drawn_mixture, 4))) == {""}


@pytest.mark.parametrize("weight", [10.0, 0.0])
@pytest.mark.parametrize("critic", ["image", "latent"])
def test_a_critic_whose_weights_are_zero_is_told(tiny_config, drawn_mixture, critic, weight):
    networks = Networks(tiny_config.model, seed=0)
    for parameter in networks.get_submodule(f"{critic}_critic").parameters():
        torch.nn.init.zeros_(parameter)
    config = with_settings(tiny_config, weight=weight)
    (told,) = faults(config, ticks(config, drawn_mixture, 9, networks))
    assert f"the {critic} critic is dead (gradient norm 0, penalty 1, gap 0) and tells nothing apart" in told


def tick_of(norm: float, gap: float) -> Tick:
    """A tick of an image critic alone."""
    measured = {"gradient_norm": norm, "penalty": (norm - 1) ** 2, "gap": gap}
    return {f"critic/image_{name}": value for name, value in measured.items()}


def test_a_one_sided_penalty_that_a_flat_critic_does_not_pay_is_sound(tiny_config):
    flat = [{**tick_of(norm, 0.5), "critic/image_penalty": 0.0} for norm in (0.5, 0.6, 0.7, 0.8)]
    loss = LossConfig(adversary="wgan-gp-one-sided")
    one_sided = dataclasses.replace(tiny_config, loss=loss)
    assert set(faults(one_sided, iter(flat))) == {""}
    assert "penalty is off" in faults(tiny_config, iter(flat))[-1]


@pytest.mark.parametrize("adversary", ["wgan-gp-one-sided", "r1-non-saturating", "r1-relativistic"])
def test_sound_runs_against_every_adversary_are_left_alone(tiny_config, drawn_mixture, adversary):
    config = dataclasses.replace(tiny_config, loss=LossConfig(adversary=adversary, expression_weight=1.0))
    assert set(faults(config, ticks(config, drawn_mixture, 5))) == {""}


def test_a_critic_that_is_dead_for_some_ticks_alone_may_recover(tiny_config):
    dying = [tick_of(1e-4 / (1 + number), 1e-5) for number in range(9)]
    assert [bool(told) for told in faults(tiny_config, iter(dying))] == [False] * (TICKS - 1) + [True]
    recovers = [*dying[: TICKS - 1], tick_of(0.5, 0.1), *dying[: TICKS - 1]]
    assert set(faults(tiny_config, iter(recovers))) == {""}


def test_a_tick_that_is_not_finite_is_told_by_its_name(tiny_config):
    for value in (math.nan, math.inf):
        (told,) = faults(tiny_config, iter([{**tick_of(1.2, 3.0), "autoencoder/loss": value}]))
        assert told.startswith("at 0.100 kimg the run diverges: autoencoder/loss not finite; take --optim")


@pytest.mark.parametrize(
    ("kimg", "told"),
    [
        (0.5, "take --optimiser.critic-rate lower than 0.0005,"),
        (2.0, "take --stages.opening.critic-rate lower than 0.05,"),
        (2.1, "take --optimiser.critic-rate lower than 0.0005,"),
        (3.0, "take --optimiser.critic-rate lower than 0.0005,"),
        (3.1, "take --stages.closing.critic-rate lower than 0.002,"),
    ],
)
def test_the_rate_to_lower_is_that_of_the_stage_at_hand(kimg, told):
    opening, closing = OpeningStage(1.5, critic_rate=0.05), ClosingStage(3.0, critic_rate=0.002)
    stages = StagesConfig(AutoencoderStage(0.5), opening=opening, closing=closing)
    watch = Watch(Config(data="d", run=Path("r"), stages=stages))
    assert told in str(watch.fault(kimg, {"autoencoder/loss": math.nan}))


def warnings_of(gaps: dict[float, float | None]) -> list[float]:
    """The kimg at which a watch warns, of ticks with these gaps; None: one without a turn of the critics."""
    watch = Watch(Config(data="d", run=Path("r")))
    ticks = {kimg: {} if gap is None else {"critic/image_gap": gap} for kimg, gap in gaps.items()}
    return [kimg for kimg, measured in ticks.items() if watch.warning(kimg, measured)]


def test_a_critic_that_is_behind_for_20_kimg_is_told_once():
    behind = {float(kimg): -0.5 for kimg in range(4, 60, 2)}
    assert warnings_of(behind) == [24.0]
    assert warnings_of({**behind, 14.0: None}) == [24.0]
    assert warnings_of({**behind, 14.0: 0.1}) == [36.0]
    assert warnings_of({**behind, 14.0: 0.1, 30.0: 0.1, 50.0: 0.0}) == []
    assert warnings_of({10.0: -1.0, 40.0: -1.0, 70.0: -1.0}) == [70.0]  # two ticks may be chance
    watch = Watch(Config(data="d", run=Path("r")))
    told = [watch.warning(kimg, {"critic/image_gap": -0.5}) for kimg in (10.0, 20.0, 30.0)]
    assert told[-1].startswith("since 10 kimg the image critic takes synthesised faces for better than real")


def test_ticks_without_a_turn_of_the_critics_are_passed_over(tiny_config):
    autoencoder = {"autoencoder/loss": 1.0}
    some = [tick_of(1.2, 3.0), autoencoder, tick_of(1.2, 3.0), autoencoder, tick_of(1.3, 3.0)]
    assert set(faults(tiny_config, iter(some))) == {""}


# ---- ranks


def test_a_digest_is_of_every_bit(tiny_model):
    weights = Networks(tiny_model, seed=0).state_dict()
    first = digest({"a": weights, "b": [1, 0.5, "x"]})
    assert digest({"a": {**weights}, "b": [1, 0.5, "x"]}) == first
    assert digest({"a": weights, "b": [1, 0.25, "x"]}) != first
    for name, value in weights.items():
        flipped = value.clone()
        flipped.view(-1).view(torch.int32)[-1] ^= 1
        assert digest({"a": {**weights, name: flipped}, "b": [1, 0.5, "x"]}) != first
    scalar = torch.tensor(1.0)
    assert len({digest(each) for each in (scalar, scalar.double(), scalar.bfloat16(), scalar.view(1))}) == 4


@pytest.mark.parametrize(
    ("digests", "expected"),
    [("aaa", ([], True)), ("aba", ([1], True)), ("abca", ([0, 1, 2, 3], False)), ("ab", ([0, 1], False))],
)
def test_the_odd_ranks_are_those_without_a_majority(digests: str, expected: tuple[Sequence[int], bool]):
    assert odd_ranks([{"networks": one} for one in digests]) == expected


def test_unlike_weights_are_told_with_ranks_machines_and_parts():
    held = [Held(f"node{rank}", {"networks": "x", "average": "y"}) for rank in range(4)]
    assert unlike(1.0, held) is None
    held[2] = Held("node2", {"networks": "z", "average": "y"})
    told = str(unlike(1.5, held))
    assert told.startswith("at 1.500 kimg rank 2 (node2) no longer holds the same networks as the others, to")
    told = str(unlike(1.5, held[2:]))
    assert "kimg ranks 0 (node2), 1 (node3) no longer hold the same networks, to the bit" in told


def test_weights_that_are_not_finite_are_told_by_name(tiny_model):
    networks = Networks(tiny_model, seed=0)
    assert hold("here", {"networks": networks}, {}).not_finite == ()
    networks.encoder.to_code.bias.data[3] = math.nan
    held = hold("here", {"networks": networks}, {})
    told = str(unlike(2.0, [held]))
    assert told.startswith("at 2.000 kimg the weights networks.encoder.to_code.bias are not finite")


# ---- runs


@pytest.fixture
def arguments(tiny_config: Config, tmp_path: Path) -> list[str]:
    """What three ranks train with, in `tmp_path/run`: all is due every three steps."""
    model = [f"--model.{name.replace('_', '-')}={value}" for name, value in vars(tiny_config.model).items()]
    clock = {"tick": 0.036, "snapshot": 0.036, "state": 0.036, "total": 10}
    clocks = [f"--clock.{name}-kimg={value}" for name, value in clock.items()]
    few = ["--batch=12", "--stream.workers=0", "--grid-faces=2"]
    return ["--data", tiny_config.data, "--run", str(tmp_path / "run"), *few, *clocks, *model]


def sentence(tmp_path: Path, program: Callable[[list[str]], None], arguments: list[str]) -> str:
    """What three ranks tell, once, before all end with code 2."""
    with started(3, tmp_path / "ranks", program, arguments) as ranks:
        assert ranks.codes() == [2, 2, 2], ranks.err
    (told,) = [line for line in ranks.err.splitlines() if line.startswith("train.py: ")]
    return told


def kept(run: Path) -> tuple[list[float], list[str]]:
    """The kimg of a run's lines of measurements, and its states and snapshots."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [line["kimg"] for line in lines], sorted(path.name for path in run.glob("s*-*"))


def test_ranks_whose_run_diverges_end_together_and_save_nothing(arguments, tmp_path):
    told = sentence(tmp_path, train.main, [*arguments, "--optimiser.critic-rate", "10"])
    assert told.startswith("train.py: at 0.036 kimg the image critic's penalty explodes")
    assert kept(tmp_path / "run") == ([0.036], [])


def train_with_a_flipped_bit(arguments: list[str]) -> None:
    """Trains so that a bit of rank 1's weights flips before step 4."""
    stopping = Recorder.stopping

    def flipping(recorder: Recorder, step: int) -> bool:
        if step == 4 and os.environ["RANK"] == "1":
            weights = recorder.parts.networks.image_critic.to_score.weight.data
            weights.view(torch.int32)[0, 0] ^= 1
        return stopping(recorder, step)

    Recorder.stopping = flipping
    train.main(arguments)


def test_ranks_that_drift_apart_end_together_and_keep_the_sound_states(arguments, tmp_path):
    told = sentence(tmp_path, train_with_a_flipped_bit, arguments)
    assert told.startswith("train.py: at 0.072 kimg rank 1 (")
    assert "no longer holds the same networks as the others, to the bit" in told
    files = ["snapshot-000000.036.safetensors", "state-000000.036"]
    assert kept(tmp_path / "run") == ([0.036, 0.072], files)

"""Stages: when each begins, what it moves, and with which weights and rates."""

import dataclasses
import gc
import weakref

import pytest
import torch

from fes import draws
from fes.config import (
    AutoencoderStage,
    ClosingStage,
    Config,
    GanStage,
    LossConfig,
    OpeningStage,
    OptimiserConfig,
    StagesConfig,
)
from fes.data.stream import Stream
from fes.judge import new_judge
from fes.learning.dials import Dials
from fes.learning.guide import Guide
from fes.learning.stages import stage_at, stage_before, staged
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.cast import Cast, build

CYCLE_KIMG = 3 * 8 / 1000


@pytest.fixture
def config(tiny_config: Config) -> Config:
    """Two cycles of each of the first stages."""
    first = AutoencoderStage(2 * CYCLE_KIMG, reconstruction_weight=5.0, autoencoder_rate=1e-3)
    second = GanStage(2 * CYCLE_KIMG, expression_weight=0.5, critic_rate=2e-3)
    loss = LossConfig(image_weight=0.75, cycle_weight=0.5)
    return dataclasses.replace(tiny_config, loss=loss, stages=StagesConfig(first, second))


def test_stages_follow_one_another_at_turns_of_the_critics(config):
    stages = [stage_at(config, step) for step in range(18)]
    assert stages == 6 * ["autoencoder"] + 6 * ["gan"] + 6 * ["joint"]
    # A length that ends within a cycle lasts until the cycle is over.
    longer = dataclasses.replace(config.stages, gan=GanStage(2.1 * CYCLE_KIMG))
    stages = [stage_at(dataclasses.replace(config, stages=longer), step) for step in range(18)]
    assert stages == 6 * ["autoencoder"] + 9 * ["gan"] + 3 * ["joint"]


def test_the_opening_comes_last_and_lets_go_of_what_a_copy_pleases(config):
    opening = OpeningStage(CYCLE_KIMG, image_weight=0.5, guide_weight=3.0, critic_rate=2e-3)
    config = dataclasses.replace(config, stages=dataclasses.replace(config.stages, opening=opening))
    loss = dataclasses.replace(config.loss, return_weight=0.5, consistency_weight=0.25)
    loss = dataclasses.replace(loss, light_weight=0.75, guide_weight=1.0)
    config = dataclasses.replace(config, loss=loss)
    stages = [stage_at(config, step) for step in range(18)]
    assert stages == 6 * ["autoencoder"] + 6 * ["gan"] + 3 * ["opening"] + 3 * ["joint"]
    assert min(loss.cycle_weight, loss.return_weight, loss.consistency_weight, loss.light_weight) > 0
    letting_go = dict.fromkeys(("cycle_weight", "return_weight", "consistency_weight", "light_weight"), 0.0)
    expected = dataclasses.replace(loss, **letting_go, image_weight=0.5, guide_weight=3.0)
    assert staged(config, "opening").loss == expected
    assert staged(config, "opening").optimiser == OptimiserConfig(critic_rate=2e-3)
    kept = OpeningStage(
        CYCLE_KIMG, cycle_weight=None, return_weight=None, consistency_weight=0.125, light_weight=None
    )
    stages = dataclasses.replace(config.stages, opening=kept)
    expected = dataclasses.replace(loss, consistency_weight=0.125)
    assert staged(dataclasses.replace(config, stages=stages), "opening").loss == expected


def test_the_closing_lasts_to_the_end_of_the_run_with_its_own_weights_and_rates(config):
    closing = ClosingStage(5 * CYCLE_KIMG, guide_weight=3.0, guide_clear=0.25, critic_rate=2e-3)
    loss = dataclasses.replace(config.loss, guide_weight=1.0, guide_margin=0.0, light_weight=0.75)
    stages = dataclasses.replace(config.stages, closing=closing)
    config = dataclasses.replace(config, loss=loss, stages=stages)
    of_steps = [stage_at(config, step) for step in (12, 14, 15, 10_000)]
    assert of_steps == ["joint", "joint", "closing", "closing"]
    of_moments = [stage_before(config, kimg) for kimg in (5 * CYCLE_KIMG, 5.1 * CYCLE_KIMG)]
    assert of_moments == ["joint", "closing"]
    assert staged(config, "closing").loss == dataclasses.replace(loss, guide_weight=3.0, guide_clear=0.25)
    assert staged(config, "closing").optimiser == OptimiserConfig(critic_rate=2e-3)
    assert staged(config, "joint") == config


def test_the_closing_may_spare_the_source_more_than_the_run(config):
    spared = {"guide_painting": 0.125, "paint_weight": 2.0, "paint_free": 0.0625}
    spared |= {"strain_weight": 4.0, "strain_limit": 0.25}
    stages = dataclasses.replace(config.stages, closing=ClosingStage(5 * CYCLE_KIMG, **spared))
    found = staged(dataclasses.replace(config, stages=stages), "closing").loss
    assert found == dataclasses.replace(config.loss, **spared) != config.loss


def test_without_stages_all_is_trained_jointly_and_each_stage_may_be_alone(config):
    assert {stage_at(dataclasses.replace(config, stages=StagesConfig()), step) for step in range(9)} == {
        "joint"
    }
    for stages in (StagesConfig(gan=GanStage(CYCLE_KIMG)), StagesConfig(opening=OpeningStage(CYCLE_KIMG))):
        alone = dataclasses.replace(config, stages=stages)
        (name,) = (name for name, own in vars(stages).items() if getattr(own, "kimg", 0.0))
        assert [stage_at(alone, step) for step in range(6)] == 3 * [name] + 3 * ["joint"]


def test_a_stage_has_its_own_weights_and_rates_and_for_the_rest_those_of_the_run(config):
    first, second = staged(config, "autoencoder"), staged(config, "gan")
    assert first.loss == dataclasses.replace(config.loss, reconstruction_weight=5.0)
    assert first.optimiser == OptimiserConfig(autoencoder_rate=1e-3)
    assert second.loss == dataclasses.replace(config.loss, expression_weight=0.5)
    assert second.optimiser == OptimiserConfig(critic_rate=2e-3)
    assert staged(config, "joint") == config
    rest = dataclasses.replace(first, loss=config.loss, optimiser=config.optimiser)
    assert rest == config
    zero = GanStage(CYCLE_KIMG, image_weight=0.0)
    assert staged(dataclasses.replace(config, stages=StagesConfig(gan=zero)), "gan").loss.image_weight == 0.0


def test_a_gan_stage_has_its_own_weight_of_the_guide_else_that_of_the_run(config):
    loss = dataclasses.replace(config.loss, guide_weight=0.25)
    for own, wanted in ((None, 0.25), (0.0, 0.0), (2.0, 2.0)):
        stages = dataclasses.replace(config.stages, gan=GanStage(CYCLE_KIMG, guide_weight=own))
        run = dataclasses.replace(config, loss=loss, stages=stages)
        weights = [staged(run, stage).loss.guide_weight for stage in ("autoencoder", "gan", "joint")]
        assert weights == [0.25, wanted, 0.25]


def parts_of(networks: Networks) -> dict[str, torch.Tensor]:
    """Weights by name; those that only a source's features pass through have a name of their own."""
    own = {"generator.joins": "joins", "generator.to_flow": "to_flow", "image_critic.head": "head"}
    named = {name: value.clone() for name, value in networks.state_dict().items()}
    for old, new in own.items():
        named = {name.replace(old, new): value for name, value in named.items()}
    return named


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("skip", ["none", "mask", "warp"])
def test_each_stage_moves_its_own_networks_with_optimisers_that_know_nothing(config, drawn_index, skip):
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, skip=skip))
    networks = Networks(config.model, seed=0)
    cast = Cast(config, networks, Dials(config.loss), Runtime())
    stream = Stream([drawn_index.split("train")], seed=0, batch=8, window=64)
    from_source = {"none": [], "mask": ["joins"], "warp": ["joins", "to_flow"]}[skip]
    own = {
        "autoencoder": {"latent_critic", "encoder", "generator", *from_source},
        "gan": {"image_critic", "head", "generator"},
        "joint": {"image_critic", "latent_critic", "encoder", "generator", *from_source},
    }
    for stage, first in (("autoencoder", 0), ("gan", 6), ("joint", 12)):
        before, players = parts_of(networks), cast(first)
        assert all(players[name].state_dict()["optimiser"]["state"] == {} for name in own if name in players)
        rates = {name: players[name].optimiser.param_groups[0]["lr"] for name in ("critics", "autoencoder")}
        assert rates == {
            "critics": 2e-3 if stage == "gan" else 5e-4,
            "autoencoder": 1e-3 if stage == "autoencoder" else 5e-4,
        }
        critics = id(players["critics"])
        for step in range(first, first + 3):
            assert id(cast(step)["critics"]) == critics
            turn = "autoencoder" if step % 3 == 2 else "critics"
            measured = players[turn].step(stream[step], draws.noise(0, step, 8, config.model.latent_dim))
            assert all(torch.isfinite(value) for value in measured.values())
        moved = {
            name.split(".")[0]
            for name, value in parts_of(networks).items()
            if not torch.equal(value, before[name])
        }
        assert moved == own[stage]
    assert set(cast.keepers) == {"dials", "critics", "autoencoder"}


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize(
    ("jointly", "in_gan", "guided"),
    [(0.0, 0.5, {"gan"}), (0.5, 0.0, {"joint"}), (0.5, None, {"gan", "joint"})],
)
def test_the_guide_pulls_in_the_stages_that_give_it_a_weight_and_is_kept_in_all(
    config, drawn_index, jointly, in_gan, guided
):
    stages = dataclasses.replace(
        config.stages, gan=dataclasses.replace(config.stages.gan, guide_weight=in_gan)
    )
    loss = dataclasses.replace(config.loss, guide_weight=jointly)
    config = dataclasses.replace(config, loss=loss, stages=stages)
    guide = Guide(new_judge("plain", 48, 1, seed=0), 0.5)
    cast = Cast(config, Networks(config.model, seed=0), Dials(config.loss), Runtime(), guide)
    batch = Stream([drawn_index.split("train")], seed=0, batch=8, window=64)[2]
    found = set()
    for stage, step in (("autoencoder", 2), ("gan", 8), ("joint", 14)):
        measured = cast(step)["autoencoder"].step(batch, draws.noise(0, step, 8, config.model.latent_dim))
        found |= {stage} if "autoencoder/guide" in measured else set()
        assert cast.keepers["guide"] is guide
        assert set(cast.keepers) == {"dials", "guide", "critics", "autoencoder"}
    assert found == guided


@pytest.mark.usefixtures("one_core")
def test_networks_that_are_no_longer_trained_are_let_go_while_the_runtime_lives(config):
    with Runtime() as runtime:
        networks = Networks(config.model, seed=0)
        made = build(config, networks, runtime)
        alive = weakref.ref(networks.image_critic)
        del networks, made
        gc.collect()
        assert alive() is None

"""Settings that make no sense are told by their name."""

import dataclasses
from pathlib import Path

import pytest

from fes.config import (
    AugmentConfig,
    AutoencoderStage,
    ClockConfig,
    ClosingStage,
    Config,
    EvaluationConfig,
    GanStage,
    LossConfig,
    ModelConfig,
    OpeningStage,
    OptimiserConfig,
    StagesConfig,
    StartConfig,
    StreamConfig,
)
from fes.config.validity import changeable, check, check_changes, guided, is_resolution, may_change
from fes.errors import InputError


def config(**changes: object) -> Config:
    return Config("d", Path("r"), **changes)


UNUSUAL = config(
    seed=7,
    batch=96,
    model=ModelConfig(resolution=64, channels=3, latent_dim=9),
    loss=LossConfig(latent_weight=0.125, adversary="r1-relativistic", cycle_weight=3.0, balance=True),
    optimiser=OptimiserConfig(critic_rate=2e-4, beta1=0.5),
    stream=StreamConfig(
        workers=0, cache=Path("cache"), on_bad_sample="skip", shards=Path("here"), shards_gb=0.5
    ),
    augment=AugmentConfig(flips=True, class_balance=1.0, strength=0.5, adapt_kimg=500.0),
    stages=StagesConfig(AutoencoderStage(0.05), GanStage(0.05, image_weight=0.0, expression_weight=1.0)),
    clock=ClockConfig(total_kimg=0.1),
)


GUIDE = StartConfig(guide=Path("guide.safetensors"))
GUIDED = (
    config(start=GUIDE, loss=LossConfig(guide_weight=0.5)),
    config(start=GUIDE, stages=StagesConfig(gan=GanStage(1.0, guide_weight=0.5))),
    config(start=GUIDE, stages=StagesConfig(opening=OpeningStage(1.0, guide_weight=0.5))),
    config(start=GUIDE, stages=StagesConfig(closing=ClosingStage(1.0, guide_weight=0.5))),
    config(
        start=GUIDE, loss=LossConfig(guide_weight=0.5, guide_painting=0.2), model=ModelConfig(skip="warp")
    ),
    config(start=GUIDE, stages=StagesConfig(gan=GanStage(1.0, image_weight=0.0, guide_weight=0.5))),
    config(
        start=GUIDE,
        loss=LossConfig(image_weight=0.0, guide_weight=0.5),
        stages=StagesConfig(gan=GanStage(1.0)),
    ),
)
UNGUIDED = (
    config(),
    UNUSUAL,
    config(stages=StagesConfig(gan=GanStage(0.0, guide_weight=0.5), closing=ClosingStage(guide_weight=0.5))),
)


AT_BOUNDS = (
    config(loss=LossConfig(0.0, 0.0, 0.0, 0.0)),
    config(start=GUIDE, init_from=Path("other"), loss=LossConfig(guide_weight=0.5)),
    config(
        loss=LossConfig(strain_limit=0.2),
        stages=StagesConfig(closing=ClosingStage(1.0, strain_weight=0.5)),
        model=ModelConfig(skip="warp"),
    ),
    config(seed=2**63 - 1),
    config(seed=-(2**63)),
    config(stages=StagesConfig(AutoencoderStage(0.5), GanStage(0.25), closing=ClosingStage(0.75))),
)


@pytest.mark.parametrize("good", [*UNGUIDED, *AT_BOUNDS, *GUIDED])
def test_good_values_pass(good):
    assert check(good) is good


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch": 0}, "--batch is 0: it must be at least 1"),
        ({"seed": 2**63}, f"--seed is {2**63}: it must be a number of 64 bits"),
        ({"seed": -(2**63) - 1}, f"--seed is -{2**63 + 1}: it must be a number of 64 bits"),
        ({"critic_steps": 0}, "--critic-steps is 0: it must be at least 1"),
        ({"grid_faces": -1}, "--grid-faces is -1: it must be at least 1"),
        ({"shuffle_window": 0}, "--shuffle-window is 0: it must be at least 1"),
        ({"stream": StreamConfig(workers=-1)}, "--stream.workers is -1: it must be at least 0"),
        ({"model": ModelConfig(latent_dim=0)}, "--model.latent-dim is 0: it must be at least 1"),
        ({"model": ModelConfig(min_features=0)}, "--model.min-features is 0: it must be at least 1"),
        ({"model": ModelConfig(max_features=16)}, "--model.max-features is 16: it must be at least 32"),
        (
            {"model": ModelConfig(latent_critic_features=0)},
            "--model.latent-critic-features is 0: it must be at least 1",
        ),
        ({"model": ModelConfig(channels=2)}, "--model.channels is 2: it must be 1 (grey) or 3 (RGB)"),
        ({"model": ModelConfig(resolution=100)}, "--model.resolution is 100: it must be 48 or 64 times"),
        (
            {"loss": LossConfig(image_weight=-1.0)},
            "--loss.image-weight is -1.0: it must be a number",
        ),
        (
            {"loss": LossConfig(latent_weight=float("nan"))},
            "--loss.latent-weight is nan: it must",
        ),
        (
            {"optimiser": OptimiserConfig(critic_rate=0.0)},
            "--optimiser.critic-rate is 0.0: it must be",
        ),
        ({"optimiser": OptimiserConfig(beta1=1.0)}, "--optimiser.beta1 is 1.0: it must be below 1"),
        (
            {"optimiser": OptimiserConfig(beta2=-0.1)},
            "--optimiser.beta2 is -0.1: it must be a number",
        ),
        ({"clock": ClockConfig(tick_kimg=0.0)}, "--clock.tick-kimg is 0.0: it must be a positive number"),
        ({"clock": ClockConfig(total_kimg=float("inf"))}, "--clock.total-kimg is inf: it must be a positive"),
        (
            {"stream": StreamConfig(most_bad_samples=-1)},
            "--stream.most-bad-samples is -1: it must be at least 0",
        ),
        ({"stream": StreamConfig(patience=0.0)}, "--stream.patience is 0.0: it must be a positive number"),
        ({"stream": StreamConfig(shards_gb=-1.0)}, "--stream.shards-gb is -1.0: it must be a positive"),
        (
            {"augment": AugmentConfig(class_balance=1.1)},
            "--augment.class-balance is 1.1: it must be from 0 to 1",
        ),
        ({"augment": AugmentConfig(strength=-0.1)}, "--augment.strength is -0.1: it must be from 0 to 1"),
        ({"augment": AugmentConfig(strength=float("nan"))}, "--augment.strength is nan: it must be from"),
        ({"augment": AugmentConfig(adapt_kimg=0.0)}, "--augment.adapt-kimg is 0.0: it must be a positive"),
        ({"loss": LossConfig(cycle_weight=-1.0)}, "--loss.cycle-weight is -1.0: it must be a number that is"),
        ({"loss": LossConfig(expression_weight=float("inf"))}, "--loss.expression-weight is inf: it must"),
        ({"loss": LossConfig(penalty_weight=-1.0)}, "--loss.penalty-weight is -1.0: it must be a number"),
        (
            {"stages": StagesConfig(AutoencoderStage(kimg=-1.0))},
            "--stages.autoencoder.kimg is -1.0: it must be a number that is not negative",
        ),
        (
            {"stages": StagesConfig(gan=GanStage(autoencoder_rate=0.0))},
            "--stages.gan.autoencoder-rate is 0.0: it must be a positive number",
        ),
        (
            {"stages": StagesConfig(gan=GanStage(image_weight=float("nan")))},
            "--stages.gan.image-weight is nan: it must be",
        ),
        (
            {
                "stages": StagesConfig(AutoencoderStage(0.5), GanStage(0.75)),
                "clock": ClockConfig(total_kimg=1.0),
            },
            "--stages.autoencoder.kimg, --stages.gan.kimg, --stages.opening.kimg are 1.25 together: "
            "they must not exceed --clock.total-kimg, which is 1",
        ),
        (
            {"stages": StagesConfig(AutoencoderStage(0.5), closing=ClosingStage(0.25))},
            "--stages.closing.from-kimg is 0.25: it must not be less than --stages.autoencoder.kimg, "
            "--stages.gan.kimg, --stages.opening.kimg together, which are 0.5",
        ),
        (
            {"stages": StagesConfig(closing=ClosingStage(0.0))},
            "--stages.closing.from-kimg is 0.0: it must be a positive number",
        ),
        (
            {"stages": StagesConfig(closing=ClosingStage(1.0, guide_clear=0.1))},
            "--loss.guide-clear bounds what --loss.guide-margin asks for, which is not given",
        ),
        ({"loss": LossConfig(guide_weight=-1.0), "start": GUIDE}, "--loss.guide-weight is -1.0: it must be"),
        (
            {"loss": LossConfig(guide_weight=1.0, guide_clear=0.1), "start": GUIDE},
            "--loss.guide-clear bounds what --loss.guide-margin asks for, which is not given",
        ),
        (
            {"loss": LossConfig(paint_weight=1.0)},
            "--loss.paint-weight is 1: leave it out, or take --model.skip mask or warp",
        ),
        (
            {"loss": LossConfig(strain_weight=0.5), "model": ModelConfig(skip="mask")},
            "--loss.strain-weight is 0.5: leave it out, or take --model.skip warp",
        ),
        (
            {"loss": LossConfig(strain_limit=0.2), "model": ModelConfig(skip="warp")},
            "--loss.strain-limit says where strain counts twice, and it does not count: give",
        ),
        (
            {
                "stages": StagesConfig(closing=ClosingStage(1.0, strain_limit=0.2)),
                "model": ModelConfig(skip="warp"),
            },
            "--loss.strain-limit says where strain counts twice, and it does not count: give",
        ),
        ({"loss": LossConfig(strain_limit=0.0)}, "--loss.strain-limit is 0.0: it must be a positive number"),
        ({"loss": LossConfig(paint_free=-0.1)}, "--loss.paint-free is -0.1: it must be"),
        ({"loss": LossConfig(paint_free=1.5)}, "--loss.paint-free is 1.5: it must be from 0 to 1"),
        (
            {"stages": StagesConfig(closing=ClosingStage(1.0, paint_weight=1.0))},
            "--stages.closing.paint-weight is 1: leave it out, or take --model.skip mask or warp",
        ),
        (
            {
                "stages": StagesConfig(closing=ClosingStage(1.0, strain_weight=0.5)),
                "model": ModelConfig(skip="mask"),
            },
            "--stages.closing.strain-weight is 0.5: leave it out, or take --model.skip warp",
        ),
        (
            {"stages": StagesConfig(closing=ClosingStage(1.0, paint_free=1.5))},
            "--stages.closing.paint-free is 1.5: it must be from 0 to 1",
        ),
        (
            {"stages": StagesConfig(closing=ClosingStage(1.0, guide_painting=0.0))},
            "--stages.closing.guide-painting is 0, and with --model.skip none a guide can do nothing but",
        ),
        (
            {"loss": LossConfig(guide_painting=1.5), "model": ModelConfig(skip="warp")},
            "--loss.guide-painting is 1.5: it must be from 0 to 1",
        ),
        (
            {"loss": LossConfig(guide_painting=0.2), "model": ModelConfig(skip="mask")},
            "--loss.guide-painting is 0.2, and with --model.skip mask a guide can do nothing but paint: "
            "leave it out, or take --model.skip warp",
        ),
        (
            {"stages": StagesConfig(gan=GanStage(guide_weight=float("inf")))},
            "--stages.gan.guide-weight is inf: it must be",
        ),
        (
            {"stages": StagesConfig(gan=GanStage(1.0, image_weight=0.0))},
            "--stages.gan.image-weight, --stages.gan.expression-weight, --stages.gan.guide-weight are all 0: "
            "the stage would teach nothing",
        ),
        (
            {
                "stages": StagesConfig(AutoencoderStage(1.0)),
                "loss": LossConfig(reconstruction_weight=0.0, latent_weight=0.0),
            },
            "--stages.autoencoder.reconstruction-weight, --stages.autoencoder.latent-weight are all 0",
        ),
        (
            {"evaluation": EvaluationConfig(second_judge=Path("j"))},
            "--evaluation.second-judge is a second one: give the first as --evaluation.judge",
        ),
        ({"evaluation": EvaluationConfig(seconds=0.0)}, "--evaluation.seconds is 0.0: it must be a positive"),
        (
            {"optimiser": OptimiserConfig(max_gradient_norm=0.0)},
            "--optimiser.max-gradient-norm is 0.0: it must be a positive number",
        ),
        ({"evaluation": EvaluationConfig(faces=0)}, "--evaluation.faces is 0: it must be at least 1"),
        ({"grow_kimg": 0.0}, "--grow-kimg is 0.0: it must be a positive number"),
        (
            {"grow_kimg": 4.0},
            "--grow-kimg is 4, for which new blocks fade in beside the networks of --init-from",
        ),
        ({"ema_halflife_kimg": 0.0}, "--ema-halflife-kimg is 0.0: it must be a positive number"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_by_its_flag(changes, told):
    with pytest.raises(InputError) as caught:
        check(config(**changes))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": LossConfig(guide_weight=0.5)},
        {"stages": StagesConfig(gan=GanStage(1.0, guide_weight=0.5))},
        {"start": GUIDE},
        {"start": GUIDE, "stages": StagesConfig(gan=GanStage(1.0, guide_weight=0.0))},
        {"start": GUIDE, "stages": StagesConfig(gan=GanStage(0.0, guide_weight=0.5))},
    ],
)
def test_a_guide_without_a_weight_and_a_weight_without_a_guide_are_refused(changes):
    with pytest.raises(
        InputError, match=r"^--loss\.guide-weight and --start\.guide belong together: "
    ) as caught:
        check(config(**changes))
    training = (
        "'fes judge train --data DATA --out guide.safetensors --half --seed 100 --noise 0.5 --kimg 400'"
    )
    assert f"and its file, which {training} makes" in str(caught.value)


def test_who_wants_no_guide_is_told_all_weights_with_which_one_would_pull():
    stages = StagesConfig(gan=GanStage(0.0, guide_weight=0.5), opening=OpeningStage(2.0, guide_weight=8.0))
    with pytest.raises(InputError) as caught:
        check(config(loss=LossConfig(guide_weight=0.5), stages=stages))
    wanted = "--loss.guide-weight and --stages.opening.guide-weight"
    assert str(caught.value).endswith(f" makes; without a guide, give 0 as {wanted}")


@pytest.mark.parametrize(
    "stages", [StagesConfig(), StagesConfig(gan=GanStage(0.0, guide_weight=0.5))], ids=["none", "of no stage"]
)
def test_a_guide_that_is_there_needs_a_weight_and_is_not_to_be_made_anew(stages, tmp_path):
    file = tmp_path / "guide.safetensors"
    file.touch()
    with pytest.raises(InputError) as caught:
        check(config(start=StartConfig(guide=file), stages=stages))
    assert str(caught.value) == (
        f"--start.guide is {file}, and nothing says how strongly it pulls: give --loss.guide-weight, or "
        "the guide-weight of a stage that there is (--stages.gan, --stages.opening, --stages.closing)"
    )


def test_a_fade_is_for_what_begins_with_other_networks():
    for begun in ({"init_from": Path("run")}, {"grow_kimg": 50.0}):
        assert check(config(**{"grow_kimg": 4.0, **begun}))
    assert check(config(grow_kimg=4.0), of_levels=True)


def test_a_run_is_guided_where_a_guide_pulls_jointly_or_in_a_gan_stage_that_there_is():
    assert all(map(guided, GUIDED))
    assert not any(map(guided, UNGUIDED))


def test_resolutions_are_48_and_64_times_powers_of_two():
    assert [value for value in range(600) if is_resolution(value)] == [48, 64, 96, 128, 192, 256, 384, 512]


def test_what_may_change_within_a_run_is_the_loss_the_optimiser_and_the_average():
    names = changeable()
    assert {"loss.cycle_weight", "loss.adversary", "loss.balance", "optimiser.critic_rate"} <= set(names)
    sections = {name.rpartition(".")[0] for name in names}
    stages = {"stages.autoencoder", "stages.gan", "stages.opening", "stages.closing"}
    assert (sections - stages, names[-1]) == ({"loss", "optimiser", ""}, "ema_halflife_kimg")
    own = [name for name in names if not name.startswith("stages.")]
    assert len(own) == len(dataclasses.fields(LossConfig)) + len(dataclasses.fields(OptimiserConfig)) + 1
    assert {"stages.opening.critic_rate", "stages.closing.from_kimg"} <= set(names)
    assert not any(name.endswith(".kimg") for name in names)
    assert "stages.gan.expression_weight" not in names  # the head would begin or cease to learn
    check_changes(names)


@pytest.mark.parametrize(
    ("name", "then", "now", "may"),
    [
        ("loss.expression_weight", 1.0, 3.0, True),
        ("loss.expression_weight", 0.0, 3.0, False),
        ("loss.expression_weight", 3.0, 0.0, False),
        ("loss.image_weight", 0.0, 3.0, True),
        ("model.skip", "none", "mask", False),
    ],
)
def test_a_head_cannot_begin_or_cease_to_learn_within_a_run(name, then, now, may):
    assert may_change(name, then, now) == may


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.skip", "--allow-change model.skip: no setting of this name may change; these may: loss."),
        ("stages.gan.kimg", "--allow-change stages.gan.kimg: no setting of this name may change; these may"),
        (
            "loss.cycel_weight",
            "--allow-change loss.cycel-weight: no setting of this name may change; did you",
        ),
    ],
)
def test_another_setting_is_refused_with_what_may_change(name, told):
    with pytest.raises(InputError) as caught:
        check_changes([name])
    assert str(caught.value).startswith(told)

"""Settings: what they mean, and wrong ones told by their name."""

import ast
import dataclasses
import inspect
import itertools
import typing
from pathlib import Path

import pytest

from fes.config import (
    ClockConfig,
    Config,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    StreamConfig,
    check,
    is_resolution,
)
from fes.errors import InputError


def config(**changes: object) -> Config:
    return Config("d", Path("r"), **changes)


UNUSUAL = config(
    seed=7,
    batch=96,
    model=ModelConfig(resolution=64, channels=3, latent_dim=9),
    loss=LossConfig(latent_weight=0.125),
    optimiser=OptimiserConfig(critic_rate=2e-4, beta1=0.5),
    stream=StreamConfig(
        workers=0, cache=Path("cache"), on_bad_sample="skip", shards=Path("here"), shards_gb=0.5
    ),
    clock=ClockConfig(total_kimg=0.1),
)


@pytest.mark.parametrize("good", [config(), UNUSUAL, config(loss=LossConfig(0.0, 0.0, 0.0, 0.0))])
def test_good_values_pass(good):
    assert check(good) is good


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch": 0}, "--batch is 0: it must be at least 1"),
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
        ({"ema_halflife_kimg": 0.0}, "--ema-halflife-kimg is 0.0: it must be a positive number"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_by_its_flag(changes, told):
    with pytest.raises(InputError) as caught:
        check(config(**changes))
    assert str(caught.value).startswith(told)


def test_resolutions_are_48_and_64_times_powers_of_two():
    assert [value for value in range(600) if is_resolution(value)] == [48, 64, 96, 128, 192, 256, 384, 512]


@pytest.mark.parametrize(
    "kind", [Config, ModelConfig, LossConfig, OptimiserConfig, StreamConfig, ClockConfig]
)
def test_every_setting_says_what_it_means(kind):
    """A text stands after each field, where the command line's --help finds it."""
    (found,) = ast.parse(inspect.getsource(kind)).body
    texts = {
        field.target.id: after.value.value
        for field, after in itertools.pairwise(found.body)
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr)
    }
    hints = typing.get_type_hints(kind)
    settings = [name for name, hint in hints.items() if not dataclasses.is_dataclass(hint)]
    assert list(texts) == settings
    assert all(text.endswith(".") for text in texts.values())


def test_configs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().batch = 3

"""Settings: round trips, and wrong ones told by their name."""

import ast
import dataclasses
import inspect
import itertools
import json
import typing
from pathlib import Path

import pytest
import yaml

from fes.config import (
    ClockConfig,
    Config,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    StreamConfig,
    check,
    from_tree,
    is_resolution,
    read_yaml,
    to_tree,
)
from fes.errors import InputError

REQUIRED = {"data": "d", "run": "r"}


def config(**changes: object) -> Config:
    return Config(Path("d"), Path("r"), **changes)


UNUSUAL = config(
    seed=7,
    batch=96,
    model=ModelConfig(resolution=64, channels=3, latent_dim=9),
    loss=LossConfig(latent_weight=0.125),
    optimiser=OptimiserConfig(critic_rate=2e-4, beta1=0.5),
    stream=StreamConfig(workers=0, cache=Path("cache")),
    clock=ClockConfig(total_kimg=0.1),
)


@pytest.mark.parametrize("original", [config(), UNUSUAL])
def test_a_config_goes_through_yaml_and_json_unchanged(original, tmp_path):
    tree = to_tree(original)
    assert from_tree(Config, json.loads(json.dumps(tree)), "here") == original
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    assert from_tree(Config, read_yaml(tmp_path / "c.yaml"), "here") == original


def test_absent_keys_take_their_defaults():
    assert from_tree(Config, {**REQUIRED, "loss": {"image_weight": 3}}, "here") == config(
        loss=LossConfig(image_weight=3.0)
    )


def test_fields_without_a_default_take_what_stands_for_missing():
    found = from_tree(Config, {"seed": 3}, "here", missing="?")
    assert (found.data, found.run, found.seed) == ("?", "?", 3)


@pytest.mark.parametrize("text", ["2e-4", "2.0e-4", "0.0002", "'2e-4'"])
def test_a_rate_in_yaml_may_be_written_in_any_way(text, tmp_path):
    (tmp_path / "c.yaml").write_text(f"optimiser: {{critic_rate: {text}}}")
    tree = read_yaml(tmp_path / "c.yaml")
    assert from_tree(Config, {**REQUIRED, **tree}, "here").optimiser.critic_rate == 2e-4


def test_a_whole_number_stands_for_a_float_and_stays_one():
    rate = from_tree(ClockConfig, {"total_kimg": 5}, "here").total_kimg
    assert (rate, type(rate)) == (5.0, float)


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"bach": 3}, "here: unknown key 'bach'; did you mean 'batch'?"),
        ({"loss": {"penalty": 3}}, "here: loss: unknown key 'penalty'; did you mean 'penalty_weight'?"),
        ({3: 4}, "here: unknown key '3'; choose from data, run, seed"),
        ({"batch": "many"}, "here: batch is 'many': it must be of type int"),
        ({"batch": 3.5}, "here: batch is 3.5: it must be of type int"),
        ({"batch": True}, "here: batch is True: it must be of type int"),
        ({"batch": None}, "here: batch is None: it must be of type int"),
        ({"batch": [3]}, "here: batch is [3]: it must be of type int"),
        ({"data": 3}, "here: data is 3: it must be of type Path"),
        ({"loss": {"image_weight": "big"}}, "here: loss: image_weight is 'big': it must be of type float"),
        ({"loss": {"image_weight": False}}, "here: loss: image_weight is False: it must be of type float"),
        ({"model": {"channels": "RGB"}}, "here: model: channels is 'RGB': it must be of type int"),
        ({"model": 3}, "here: model: expected keys and values, found 3"),
        ([1, 2], "here: expected keys and values, found [1, 2]"),
    ],
)
def test_a_wrong_key_or_type_is_told_with_its_place(tree, told):
    with pytest.raises(InputError) as caught:
        from_tree(Config, tree, "here", missing=None)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("text", ["", "# nothing but a remark\n"])
def test_an_empty_yaml_file_is_an_empty_tree(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    assert read_yaml(tmp_path / "c.yaml") == {}


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"a: b: c"])
def test_a_file_that_is_not_yaml_is_one_sentence(content, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not valid yaml") as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


def test_a_yaml_file_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the config .*: No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot read the config .*: Is a directory"):
        read_yaml(tmp_path)


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

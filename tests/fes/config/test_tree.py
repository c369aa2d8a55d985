"""Configs as trees: round trips, and wrong ones told with their place."""

import json
from pathlib import Path

import pytest
import yaml

from fes.config import ClockConfig, Config, LossConfig, ModelConfig, OptimiserConfig, StreamConfig
from fes.config.tree import from_tree, read_yaml, to_tree
from fes.errors import InputError

REQUIRED = {"data": "d", "run": "r"}


def config(**changes: object) -> Config:
    return Config("d", Path("r"), **changes)


UNUSUAL = config(
    seed=7,
    batch=96,
    model=ModelConfig(resolution=64, channels=3, latent_dim=9),
    loss=LossConfig(latent_weight=0.125),
    optimiser=OptimiserConfig(critic_rate=2e-4, beta1=0.5),
    stream=StreamConfig(workers=0, cache=Path("cache"), on_bad_sample="skip", shards=Path("here")),
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
        ({"augment": {"flips": 1}}, "here: augment: flips is 1: it must be of type bool"),
        ({"batch": None}, "here: batch is None: it must be of type int"),
        ({"batch": [3]}, "here: batch is [3]: it must be of type int"),
        ({"data": 3}, "here: data is 3: it must be of type str"),
        ({"data": {"a": 0.5}}, "here: data is {'a': 0.5}: it must be of type str"),
        ({"run": 3}, "here: run is 3: it must be of type Path"),
        (
            {"stream": {"on_bad_sample": "skp"}},
            "here: stream: on_bad_sample is 'skp'; did you mean 'skip'?",
        ),
        ({"stream": {"on_bad_sample": None}}, "here: stream: on_bad_sample is None; choose from fail, skip"),
        ({"stream": {"on_bad_sample": ["skip"]}}, "here: stream: on_bad_sample is ['skip']"),
        ({"clock": {"total_kimg": 10**400}}, "here: clock: total_kimg is 1000"),
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "batch: 32\nseed: 3\nbatch: 64\n",
            "'batch' stands twice, in line 1 and in line 3, and only the last",
        ),
        ("'batch': 32\nbatch: 32", "'batch' stands twice, in line 1 and in line 2, and only the last"),
        ("loss:\n  a: 1\nseed: 3\nloss:\n  b: 1\n", "'loss' stands twice, in line 1 and in line 4, and only"),
        (
            "a:\n- {b: {seed: 1,\n  seed: 2}}",
            "'seed' stands twice, in line 2 and in line 3, and only the last",
        ),
    ],
)
def test_a_key_that_stands_twice_is_an_error_with_both_lines(text, told, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: {told}")


def test_what_is_merged_may_be_replaced_and_a_key_may_stand_in_several_sections(tmp_path):
    """The second anchor's own key is put beside the one that it merges before it is looked at itself."""
    path = tmp_path / "c.yaml"
    path.write_text("x: {a: &a {k: 1}, b: &b {<<: *a, k: 2}}\n<<: *b\ny: {<<: *a, <<: {m: 4}, k: 3}\nz: *b\n")
    assert read_yaml(path) == {
        "x": {"a": {"k": 1}, "b": {"k": 2}},
        "k": 2,
        "y": {"k": 3, "m": 4},
        "z": {"k": 2},
    }


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

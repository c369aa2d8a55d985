"""Keys of a file of settings that mean nothing, told with what may be meant, and its place."""

import pytest
import yaml

from fes.config import Config
from fes.config.keys import check_keys
from fes.config.tree import to_tree
from fes.errors import InputError


def told(text: str) -> str:
    """What follows the file's name."""
    with pytest.raises(InputError) as caught:
        check_keys(yaml.safe_load(text), "c.yaml")
    return str(caught.value).removeprefix("c.yaml: ")


def test_all_keys_of_a_config_and_of_its_levels_pass():
    tree = to_tree(Config("d", "r"))
    check_keys({**tree, "levels": [tree, {"model": {"resolution": 96}}]}, "c.yaml")


@pytest.mark.parametrize("tree", [[1], 3, {"model": 3}, {"batch": {"x": 1}}, {"levels": 3}, {"levels": [3]}])
def test_what_is_no_section_where_one_should_be_is_left_to_who_takes_its_values(tree):
    check_keys(tree, "c.yaml")


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("resolution: 48", "resolution", "model: {resolution: ...}"),
        ("model.resolution: 48", "model.resolution", "model: {resolution: ...}"),
        ("critic-rate: 5e-4", "critic-rate", "optimiser: {critic_rate: ...}"),
        ("gan: {kimg: 3}", "gan", "stages: {gan: ...}"),
        ("stages.gan: {kimg: 3}", "stages.gan", "stages: {gan: ...}"),
        ("from_kimg: 3", "from_kimg", "stages: {closing: {from_kimg: ...}}"),
        ("tick: 3", "tick", "clock: {tick_kimg: ...}"),
    ],
)
def test_a_key_that_stands_outside_its_section_is_told_with_its_place(text, key, meant):
    assert told(text) == f"unknown key '{key}'; did you mean '{meant}'?"


def test_a_key_of_another_section_or_of_none_is_told_with_its_place():
    assert told("loss: {critic_rate: 3}") == (
        "loss: unknown key 'critic_rate'; did you mean 'optimiser: {critic_rate: ...}'?"
    )
    assert (
        told("loss: {batch: 3}") == "loss: unknown key 'batch'; did you mean 'batch', outside all sections?"
    )


@pytest.mark.parametrize(
    ("text", "told_so"),
    [
        ("bach: 3", "unknown key 'bach'; did you mean 'batch'?"),
        ("batch-size: 3", "unknown key 'batch-size'; did you mean 'batch'?"),
        ("critic-steps: 3", "unknown key 'critic-steps'; did you mean 'critic_steps'?"),
        ("optimizer: {critic_rate: 3}", "unknown key 'optimizer'; did you mean 'optimiser'?"),
        ("model: {latnt_dim: 3}", "model: unknown key 'latnt_dim'; did you mean 'latent_dim'?"),
        ("model: {model.latent_dim: 3}", "model: unknown key 'model.latent_dim'; did you mean 'latent_dim'?"),
        ("stages: {gan: {kimgs: 3}}", "stages: gan: unknown key 'kimgs'; did you mean 'kimg'?"),
    ],
)
def test_a_misspelt_key_is_told_with_the_nearest_of_its_section(text, told_so):
    assert told(text) == told_so


@pytest.mark.parametrize("key", ["micro_batch", "micro-batch", "micro_bach"])
def test_a_setting_of_the_hardware_is_told_to_be_a_flag(key):
    assert told(f"{key}: 16") == (
        f"unknown key '{key}'; what is of the hardware is a flag of train.py, and no key: give --micro-batch"
    )


@pytest.mark.parametrize("key", ["epochs", "learning_rate", "3", "dry_run"])
def test_a_key_that_is_near_to_none_is_answered_with_where_the_list_is(key):
    assert told(f"{key}: 3") == f"unknown key '{key}'; 'train.py --help' lists all settings"


def test_levels_may_be_meant_in_a_file_and_not_in_a_level():
    assert told("level: []") == "unknown key 'level'; did you mean 'levels'?"
    assert (
        told("levels: [{level: []}]") == "level 1: unknown key 'level'; 'train.py --help' lists all settings"
    )


def test_of_levels_the_one_with_the_wrong_key_is_named():
    first = "{model: {resolution: 48}}"
    assert told(f"levels: [{first}, {{clock: {{total_kimgs: 3}}}}]") == (
        "level 2: clock: unknown key 'total_kimgs'; did you mean 'total_kimg'?"
    )
    assert told(f"bach: 3\nlevels: [{first}]") == "unknown key 'bach'; did you mean 'batch'?"

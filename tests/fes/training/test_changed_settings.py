"""Which settings may change when a run goes on, and how the others are refused."""

import dataclasses
import shutil

import pytest

from fes.config import ClockConfig, LossConfig, OptimiserConfig, StreamConfig
from fes.errors import InputError
from fes.saved.state import Restored
from tests.fes.states import equal, load, parts_of, save, tensors_of


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"batch": 16}, "batch was 8 and is 16"),
        ({"loss": LossConfig(image_weight=2.0)}, "loss.image_weight was 1.0 and is 2.0"),
        ({"optimiser": OptimiserConfig(beta2=0.99)}, "optimiser.beta2 was 0.9 and is 0.99"),
        ({"shuffle_window": 32}, "shuffle_window was 64 and is 32"),
        ({"critic_steps": 3, "seed": 4}, "critic_steps was 2 and is 3; seed was 0 and is 4"),
    ],
)
def test_another_config_is_refused_and_the_difference_named(tiny_config, change, told):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts)
    before = [tensor.clone() for tensor in tensors_of(parts)]
    with pytest.raises(InputError, match="--run") as caught:
        load(dataclasses.replace(tiny_config, **change), parts)
    assert told in str(caught.value)
    assert equal(before, tensors_of(parts))


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (
            {"optimiser": OptimiserConfig(critic_rate=1e-5)},
            "; to change it on purpose add --allow-change optimiser.critic-rate",
        ),
        (
            {"optimiser": OptimiserConfig(critic_rate=1e-5), "ema_halflife_kimg": 3.0},
            "; to change them on purpose add --allow-change ema-halflife-kimg optimiser.critic-rate",
        ),
        (
            {"optimiser": OptimiserConfig(critic_rate=1e-5), "batch": 16, "critic_steps": 3},
            ": batch and critic-steps cannot change within a run",
        ),
    ],
)
@pytest.mark.parametrize("allowed", [(), ("ema_halflife_kimg",)])
def test_a_refused_config_is_told_with_what_to_type(tiny_config, change, advice, allowed):
    save(tiny_config, parts_of(tiny_config.model, seed=1))
    with pytest.raises(InputError) as caught:
        load(dataclasses.replace(tiny_config, **change), parts_of(tiny_config.model, 1), allow_change=allowed)
    assert str(caught.value).endswith(f"Take the same settings, or another --run folder{advice}")


def test_a_change_that_is_allowed_by_name_is_told_and_taken(tiny_config):
    save(tiny_config, parts_of(tiny_config.model, seed=1))
    change = {"optimiser": OptimiserConfig(critic_rate=1e-5), "loss": LossConfig(image_weight=2.0)}
    config = dataclasses.replace(tiny_config, **change)
    with pytest.raises(InputError, match=r"loss.image_weight was 1.0 and is 2.0\. Take the same"):
        load(config, parts_of(tiny_config.model, seed=1), allow_change=["optimiser.critic_rate"])
    parts = parts_of(tiny_config.model, seed=2, rate=1e-5)
    restored = load(config, parts, allow_change=["optimiser.critic_rate", "loss.image_weight"])
    assert restored == Restored(
        12, ("loss.image_weight was 1.0 and is 2.0", "optimiser.critic_rate was 0.0005 and is 1e-05")
    )
    assert [group["lr"] for group in parts.keepers["critics"].optimiser.param_groups] == [1e-5]
    assert equal(tensors_of(parts), tensors_of(parts_of(tiny_config.model, seed=1)))


def test_settings_that_do_not_touch_the_numbers_may_change(tiny_config, tmp_path):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts)
    tiny_config.run.rename(tmp_path / "renamed")
    free = dataclasses.replace(
        tiny_config,
        data=str(tmp_path / "moved"),
        run=tmp_path / "renamed",
        grid_faces=5,
        stream=StreamConfig(workers=7, on_bad_sample="skip", patience=5.0),
        clock=ClockConfig(total_kimg=99.0),
    )
    assert load(free, parts) == Restored(12)


def test_other_data_are_refused(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts)
    with pytest.raises(InputError, match="saw other data than --data"):
        load(tiny_config, parts, fingerprint="other data")


def test_a_head_that_began_to_learn_is_refused_though_it_was_allowed(tiny_config):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    save(tiny_config, parts)
    config = dataclasses.replace(tiny_config, loss=LossConfig(expression_weight=1.0))
    with pytest.raises(InputError) as caught:
        load(config, parts, allow_change=["loss.expression_weight"])
    assert "loss.expression_weight was 0.0 and is 1.0" in str(caught.value)
    assert str(caught.value).endswith("loss.expression-weight cannot change within a run")


def test_a_run_that_began_with_its_neighbour_goes_on_where_both_were_moved(tiny_config, tmp_path):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    save(dataclasses.replace(tiny_config, init_from=tiny_config.run.with_name("48")), parts)
    moved = tmp_path / "moved" / tiny_config.run.name
    shutil.copytree(tiny_config.run, moved)
    config = dataclasses.replace(tiny_config, run=moved)
    assert load(dataclasses.replace(config, init_from=moved.with_name("48")), parts).changes == ()
    kept = dataclasses.replace(config, init_from=tiny_config.run.with_name("48"))
    assert load(kept, parts).changes == ()  # the run alone was moved
    for other in (moved.with_name("other"), tmp_path / "elsewhere" / "48", None):
        with pytest.raises(InputError, match="init-from cannot change within a run"):
            load(dataclasses.replace(config, init_from=other), parts)

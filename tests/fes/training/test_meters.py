"""Means over steps, and nothing that waits for the device before they are drained."""

import pytest
import torch

from fes.training.meters import Meters


def alone(value: torch.Tensor) -> torch.Tensor:
    return value


def test_means_are_taken_over_the_steps_of_each_player():
    meters = Meters()
    for step in range(4):
        meters.add({"critic/loss": torch.tensor(float(step)), "critic/gap": torch.tensor(2.0)})
    meters.add({"autoencoder/loss": torch.tensor(5.0)})
    means = meters.drain(alone)
    found = {name: value for name, value in means.items() if not name.startswith("time/")}
    assert found == {"critic/loss": 1.5, "critic/gap": 2.0, "autoencoder/loss": 5.0}


def test_the_mean_is_right_where_some_steps_measure_more_than_others():
    meters = Meters()
    for step in range(6):
        measured = {"critic/loss": torch.tensor(float(step)), "critic/gap": torch.tensor(1.0)}
        if step % 3 == 0:
            measured |= {"critic/held_out_gap": torch.tensor(10.0 + step)}
        meters.add(measured)
    means = meters.drain(lambda value: value + 1)
    assert means["critic/loss"] == pytest.approx(2.5 + 1)
    assert means["critic/held_out_gap"] == pytest.approx(11.5 + 1)
    assert means["critic/gap"] == pytest.approx(2.0)


def test_a_drain_starts_anew():
    meters = Meters()
    meters.add({"critic/loss": torch.tensor(100.0)})
    meters.drain(alone)
    meters.add({"critic/loss": torch.tensor(1.0)})
    assert meters.drain(alone)["critic/loss"] == 1.0
    assert set(meters.drain(alone)) == {"time/seconds", "time/data_wait"}


def test_the_mean_over_ranks_is_taken_of_each_players_means():
    meters = Meters()
    meters.add({"critic/loss": torch.tensor(1.0), "critic/gap": torch.tensor(3.0)})
    assert meters.drain(lambda value: (value + 9.0) / 2)["critic/gap"] == 6.0


def test_nothing_leaves_the_device_before_a_drain():
    meters = Meters()
    for _ in range(3):
        meters.add({"critic/loss": torch.zeros((), device="meta")})  # has no value that could be read
    with pytest.raises((RuntimeError, NotImplementedError)):
        meters.drain(alone)


def test_measurements_of_any_precision_are_gathered_in_single():
    meters = Meters()
    for value in (torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(1 + 2**-20)):
        meters.add({"critic/loss": value})
    assert meters.drain(alone)["critic/loss"] == 1 + 2**-21


def test_the_wait_for_data_is_a_share_of_the_time_that_passed():
    meters = Meters()
    with meters.waiting():
        torch.randn(1000).sort()
    means = meters.drain(alone)
    assert 0 < means["time/data_wait"] <= 1
    assert means["time/seconds"] > 0
    assert meters.drain(alone)["time/data_wait"] == 0

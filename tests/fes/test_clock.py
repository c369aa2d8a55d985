"""The one clock: turns, and what is due when."""

import itertools

import pytest

from fes.clock import Clock
from fes.config import ClockConfig


def test_kimg_counts_each_batch_once(tiny_config):
    clock = Clock.of(tiny_config)
    assert (clock.images(0), clock.images(3), clock.kimg(3)) == (0, 24, 0.024)


@pytest.mark.parametrize("critic_steps", [1, 2, 5])
def test_critics_go_first_then_the_autoencoder_once(critic_steps):
    clock = Clock(8, critic_steps, 1.0)
    turns = [clock.is_autoencoder_turn(step) for step in range(3 * clock.cycle)]
    assert turns == 3 * ([False] * critic_steps + [True])


@pytest.mark.parametrize("batch", [1, 7, 32, 100, 256])
@pytest.mark.parametrize("interval", [0.1, 0.3, 0.7, 1.1, 2.0, 2.01, 4.35])
def test_due_once_whenever_a_multiple_of_the_interval_is_reached(batch, interval):
    clock = Clock(batch, 5, 100.0)
    every = round(interval * 1000)
    steps = range(1, 10_000 // batch)
    expected = [step for step in steps if step * batch // every > (step - 1) * batch // every]
    assert [step for step in steps if clock.due(interval, step)] == expected


@pytest.mark.parametrize("critic_steps", [1, 2, 5])
def test_sixteen_cycles_lie_between_measurements_of_pulls_and_between_looks_at_held_out(critic_steps):
    clock, cycle = Clock(8, critic_steps, 1.0), critic_steps + 1
    steps = range(40 * cycle)
    assert [step for step in steps if clock.looks_at_held_out(step)] == [0, 16 * cycle, 32 * cycle]
    measured = [critic_steps + cycles * cycle for cycles in (0, 16, 32)]
    assert [step for step in steps if clock.measures(step)] == measured


def test_an_interval_shorter_than_a_batch_is_due_at_every_step():
    clock = Clock(32, 5, 100.0)
    assert all(clock.due(0.001, step) for step in range(1, 50))
    assert all(clock.due(1e-9, step) for step in range(1, 50))


@pytest.mark.parametrize(("total", "last"), [(0.3, 3), (0.301, 4), (0.29, 3), (1e-9, 1)])
def test_finished_at_the_first_step_that_reaches_the_total(total, last):
    clock = Clock(100, 1, total)
    assert next(step for step in itertools.count() if clock.finished(step)) == last


def test_the_default_intervals_fit_the_default_length():
    clock = ClockConfig()
    for interval in (clock.tick_kimg, clock.snapshot_kimg, clock.state_kimg):
        assert clock.total_kimg % interval == 0

"""What a step takes is counted tensor by tensor, and contents make no difference."""

import dataclasses
import re

import pytest
import torch

from fes.config import ClosingStage, GanStage, LossConfig, StagesConfig
from fes.model.networks import Networks, parameter_count
from fes.training.memory import WORKSPACES, Live, _guide, describe_memory, measured, memory_of

FLOAT = 4


@pytest.fixture
def config(tiny_config):
    model = dataclasses.replace(tiny_config.model, blocks="residual", skip="mask")
    loss = LossConfig(guide_weight=1.0, guide_limit=1.0, guide_margin=0.5, return_weight=1.0)
    return dataclasses.replace(tiny_config, model=model, loss=loss)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_tensors_without_contents_take_what_real_ones_do(config, precision):
    with Live() as live:
        real = measured(live, config, 4, precision, _guide(config))
    found = memory_of(config, 4, precision)
    assert found.kept == pytest.approx(real.kept, rel=0.06)  # views of what was there before count again
    assert found.peak == pytest.approx(real.peak, rel=0.1)


def test_what_is_kept_is_weights_average_and_two_numbers_of_adams_for_each_that_learns(tiny_config):
    networks = Networks(tiny_config.model, 0)
    averaged = parameter_count(networks.encoder) + parameter_count(networks.generator)
    learning = parameter_count(networks) - parameter_count(networks.image_critic.head)
    least = FLOAT * (parameter_count(networks) + averaged + 2 * learning)
    assert least <= memory_of(tiny_config, 2).kept <= least * 1.02 + 2**17  # and the batch


@pytest.mark.parametrize(
    "stages",
    [
        StagesConfig(closing=ClosingStage(1.0, guide_weight=2.0)),
        StagesConfig(gan=GanStage(1.0, guide_weight=2.0)),
    ],
)
def test_a_guide_that_pulls_in_one_stage_alone_is_counted(config, stages):
    without = dataclasses.replace(config, loss=dataclasses.replace(config.loss, guide_weight=0.0))
    some = dataclasses.replace(without, stages=stages)
    assert memory_of(some, 4) == memory_of(config, 4)
    assert memory_of(some, 4).peak > memory_of(without, 4).peak


def test_more_pictures_take_proportionally_more_and_half_precision_less(config):
    two, four, eight = (memory_of(config, count) for count in (2, 4, 8))
    assert (eight.peak - four.peak) == pytest.approx(2 * (four.peak - two.peak), rel=0.05)
    assert memory_of(config, 8, "bf16").peak < eight.peak
    assert memory_of(config, 8, "fp16") == memory_of(config, 8, "bf16")


def test_it_is_told_in_one_line_with_as_many_pictures_as_fit(config):
    memory = memory_of(config, 24)
    taken = memory.peak + WORKSPACES
    told = describe_memory(config, 24, "no", taken / 0.9, "a small GPU")
    assert (
        f"GPU memory of a process, its context aside: about {taken / 2**30:.2f} GiB with 24 pictures at once"
        in told
    )
    parts = [memory.weights, memory.average, memory.optimisers, memory.guide, memory.critics]
    names = "weights", "average", "Adam", "guide", "included,", "autoencoder"
    for name, part in zip(names, (*parts, memory.autoencoder), strict=True):
        assert f"{name} {part / 2**30:.2g}" in told
    assert "up to 0.6 GiB more, where it is free; a small GPU has room " in told
    found = re.search(r"a small GPU has room for about (\d+) \(--micro-batch\)", told)
    assert int(found[1]) == pytest.approx(24, abs=1)
    assert "has room for about 0 " in describe_memory(config, 24, "no", 1000, "none")


def test_counting_ends_with_what_is_let_go():
    with Live() as live:
        first = torch.zeros(1000)
        view = first[10:]
        assert live.now == 4000
        second = first + 1
        assert live.now == live.peak == 8000
        del second
        assert (live.now, live.peak) == (4000, 8000)
        del first
        assert live.now == 4000
        del view
        assert live.now == 0

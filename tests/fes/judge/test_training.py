"""Training: a judge learns faces it can learn, from labelled pictures alone, the same with each seed."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from fes.errors import InputError
from fes.judge import JudgeConfig, new_judge, train_judge
from fes.judge.training import class_worth
from tests.fes.judge.relabelled import Relabelled

SHORT = JudgeConfig("plain", kimg=0.064, batch=16, precision="no")


def silent(done: int, total: int) -> None:
    """Tells nobody."""


def trained(parts, weights, config: JudgeConfig = SHORT, progress=silent) -> dict[str, torch.Tensor]:
    judge = new_judge(config.architecture, 48, 1, config.seed)
    train_judge(judge, parts, weights, config, progress)
    assert not judge.training
    return judge.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_judge_learns_expressions_of_people_it_never_saw(drawn_judge, drawn_index):
    test = drawn_index.split("test")
    assert new_judge("plain", 48, 1, seed=0).eval().score([test])[0] < 0.3 * 42  # a seventh is chance
    assert drawn_judge.score([test])[0] > 0.6 * 42
    assert not drawn_judge.training


def test_a_residual_judge_learns_too_in_half_precision(drawn_index):
    config = JudgeConfig(kimg=0.768, batch=16, rate=3e-3, augment=0, precision="bf16")
    judge = new_judge("residual", 48, 1, seed=0)
    train_judge(judge, [drawn_index.split("train")], [1.0], config, silent)
    assert judge.score([drawn_index.split("test")])[0] > 0.5 * 42
    assert {value.dtype for value in judge.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("config", "gpu", "architecture"),
    [
        (JudgeConfig(), True, "deep"),
        (JudgeConfig(), False, "residual"),
        (JudgeConfig(noise=0.5), True, "residual"),
        (JudgeConfig("plain"), True, "plain"),
        (JudgeConfig("deep", noise=0.5), False, "deep"),
    ],
)
def test_a_judge_is_deep_where_there_is_a_gpu_unless_it_is_a_guide_or_its_kind_is_given(
    config, gpu, architecture, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert config.architecture == architecture


def test_the_same_seed_trains_the_same_judge_and_progress_is_told(drawn_index):
    told, parts = [], [drawn_index.split("train")]
    one, other = (trained(parts, [1.0], progress=lambda *at: told.append(at)) for _ in range(2))
    assert same(one, other)
    assert told == 2 * [(16, 64), (32, 64), (48, 64), (64, 64)]  # images
    assert not torch.equal(one["classify.weight"], new_judge("plain", 48, 1, seed=0).classify.weight)


def test_seed_balance_augmentation_noise_and_precision_all_change_what_is_trained(drawn_index):
    train = drawn_index.split("train")
    parts = [Relabelled(train, np.where(np.arange(train.samples) % 10 == 0, 1, 3))]
    changes = ({}, {"seed": 1}, {"balance": 1.0}, {"augment": 0.0}, {"noise": 0.5}, {"precision": "bf16"})
    found = [trained(parts, [1.0], replace(SHORT, **each))["classify.weight"] for each in changes]
    assert all(not torch.equal(one, other) for one, other in combinations(found, 2))


def test_noise_of_other_seeds_and_strengths_trains_otherwise_and_of_the_same_alike(drawn_index):
    parts = [drawn_index.split("train")]
    changes = ({"noise": 0.5}, {"noise": 0.5}, {"noise": 0.4}, {"noise": 2.0})
    one, again, *others = (trained(parts, [1.0], replace(SHORT, augment=0, **each)) for each in changes)
    assert same(one, again)
    assert not any(same(one, other) for other in others)
    JudgeConfig(noise=2.0).check()


def test_unlabelled_pictures_are_passed_over_even_where_a_batch_has_no_others(drawn_index):
    train = drawn_index.split("train")
    labels = np.where(np.arange(train.samples) < 3, train.labels, -1)
    found = trained([Relabelled(train, labels)], [1.0], JudgeConfig("plain", kimg=0.08, batch=8))
    assert all(torch.isfinite(value).all() for value in found.values())


def test_sets_without_any_label_are_left_out_and_refused_alone(drawn_index):
    train = drawn_index.split("train")
    none = Relabelled(train, np.full(train.samples, -1))
    assert same(trained([train], [1.0]), trained([none, train], [0.9, 0.1]))
    with pytest.raises(InputError, match="have no labels: a judge cannot learn"):
        trained([none, none], [1.0, 1.0])


def test_a_picture_of_a_rare_class_counts_for_more_by_the_power_asked_for(drawn_index):
    train = drawn_index.split("train")
    rare = Relabelled(train, np.where(np.arange(train.samples) % 10 == 0, 1, 3))
    share = (rare.labels == 1).mean()
    for balance in (0.0, 0.5, 1.0):
        worth = class_worth([rare], [1.0], balance)
        assert worth[1] / worth[3] == pytest.approx(((1 - share) / share) ** balance)
        assert worth[rare.labels].mean() == pytest.approx(1.0)
        assert torch.isfinite(worth).all()
    by_set = class_worth([rare, Relabelled(train, np.full(train.samples, 1))], [0.25, 0.75], 1.0)
    assert by_set[1] / by_set[3] == pytest.approx(0.25 * (1 - share) / (0.25 * share + 0.75))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kimg": -1}, "--kimg is -1: it must be a positive number"),
        ({"kimg": 0.001}, "--kimg is 0.001: it must be at least one batch, 0.064"),
        ({"rate": float("nan")}, "--rate is nan"),
        ({"balance": 1.5}, "--balance is 1.5: it must be a number from 0 to 1"),
        ({"augment": float("nan")}, "--augment is nan: it must be a number from 0 to 2"),
        ({"noise": -0.1}, "--noise is -0.1: it must be a number from 0 to 2"),
        ({"noise": 2.1}, "--noise is 2.1: it must be a number from 0 to 2"),
        ({"noise": float("nan")}, "--noise is nan: it must be a number from 0 to 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_flag(settings, told):
    JudgeConfig().check()
    with pytest.raises(InputError, match=told):
        JudgeConfig(**settings).check()

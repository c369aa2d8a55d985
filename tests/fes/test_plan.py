"""What is told of a run before it begins."""

import dataclasses

import pytest
import yaml

from fes.config import to_tree
from fes.errors import InputError
from fes.networks import Networks
from fes.plan import describe, warnings_about
from shards.drawn import DrawnOptions, draw
from shards.index import ShardIndex
from shards.writer import build


def test_a_plan_holds_the_settings_as_yaml_that_can_be_used_again(tiny_config, drawn_index):
    settings, *_ = describe(tiny_config, drawn_index, ranks=2).split("\n\n")
    assert yaml.safe_load(settings) == to_tree(tiny_config)


def test_a_plan_counts_parameters_samples_and_shares(tiny_config, drawn_index):
    plan = describe(tiny_config, drawn_index, ranks=2)
    count = sum(p.numel() for p in Networks(tiny_config.model, 0).parameters())
    assert f"all           {count:>12,} parameters" in plan
    assert "processes 2, pictures per process and batch 4" in plan
    assert "valid: 21 samples in 1 shards" in plan
    assert "warning" not in plan


def test_ranks_that_cannot_share_the_batch_are_refused(tiny_config, drawn_index):
    with pytest.raises(InputError, match="--batch is 8: 3 processes cannot share it equally"):
        describe(tiny_config, drawn_index, ranks=3)


def test_a_class_without_samples_is_warned_of(drawn_index, tmp_path):
    assert warnings_about(drawn_index) == []
    source = draw(DrawnOptions(train_identities=2, valid_identities=1, test_identities=0))
    source.samples = [dataclasses.replace(s, label=-1) if s.label in (1, 2) else s for s in source.samples]
    build(source, tmp_path / "data", workers=1)
    (warning,) = warnings_about(ShardIndex.load(tmp_path / "data"))
    assert "no training sample of disgusted, afraid: " in warning

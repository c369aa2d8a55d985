"""What is told of a run before it begins."""

import dataclasses

import pytest
import yaml

from fes.config import ModelConfig
from fes.config.tree import to_tree
from fes.data.mixture import Mixture
from fes.errors import InputError
from fes.model.networks import Networks
from fes.training.plan import describe, warnings_about
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw


def test_a_plan_holds_the_settings_as_yaml_that_can_be_used_again(tiny_config, drawn_mixture):
    settings, *_ = describe(tiny_config, drawn_mixture, ranks=2).split("\n\n")
    assert yaml.safe_load(settings) == to_tree(tiny_config)


def test_a_plan_counts_parameters_samples_and_shares(tiny_config, drawn_mixture):
    plan = describe(tiny_config, drawn_mixture, ranks=2)
    count = sum(p.numel() for p in Networks(tiny_config.model, 0).parameters())
    assert f"all           {count:>12,} parameters" in plan
    assert "processes 2, pictures per process and batch 4" in plan
    assert f"{drawn_mixture.place}: 100.0% of the pictures drawn, 48 px, grey" in plan
    assert "valid: 21 samples in 1 shards" in plan
    assert "warning" not in plan


def test_a_plan_describes_every_data_set(tiny_config, drawn_index, unlabelled_folder):
    other = ShardIndex.load(unlabelled_folder)
    plan = describe(tiny_config, Mixture([drawn_index, other], [1, 3]), ranks=1)
    first, second = plan.split("\n\n")[-2:]
    assert first.splitlines() == [
        f"{drawn_index.place}: 25.0% of the pictures drawn, 48 px, grey",
        "train: 168 samples in 8 shards",
        "valid: 21 samples in 1 shards",
        "test: 42 samples in 2 shards",
    ]
    assert second.splitlines() == [
        f"{other.place}: 75.0% of the pictures drawn, 64 px, RGB",
        "train: 28 samples in 1 shards",
        "test: 7 samples in 1 shards",
    ]


def test_ranks_that_cannot_share_the_batch_are_refused(tiny_config, drawn_mixture):
    with pytest.raises(InputError, match="--batch is 8: 3 processes cannot share it equally"):
        describe(tiny_config, drawn_mixture, ranks=3)


def test_a_class_that_no_set_has_is_warned_of(drawn_mixture, unlabelled_folder, tiny_model, tmp_path):
    assert warnings_about(drawn_mixture, tiny_model) == []
    source = draw(DrawnOptions(train_identities=2, valid_identities=1, test_identities=0))
    source.samples = [dataclasses.replace(s, label=-1) if s.label in (1, 2) else s for s in source.samples]
    build(source, tmp_path / "data", BuildOptions(workers=1))
    lacking = ShardIndex.load(tmp_path / "data")
    for sets in ([lacking], [lacking, ShardIndex.load(unlabelled_folder)]):
        (warning,) = warnings_about(Mixture(sets), tiny_model)
        assert "no training sample of disgusted, afraid: " in warning
    assert warnings_about(Mixture([lacking, *drawn_mixture.sets]), tiny_model) == []


def test_pictures_that_are_enlarged_or_coloured_are_warned_of(drawn_index, unlabelled_folder):
    mixture = Mixture([drawn_index, ShardIndex.load(unlabelled_folder)])
    assert warnings_about(mixture, ModelConfig(resolution=48, channels=1)) == []
    enlarged, grey = warnings_about(mixture, ModelConfig(resolution=64, channels=3))
    assert enlarged.startswith(f"pictures of {drawn_index.place} have 48 px and are enlarged to 64")
    assert grey.startswith(f"pictures of {drawn_index.place} are grey")

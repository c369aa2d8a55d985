"""The bench of memory: estimates beside what steps took, of its own networks or of a recipe's."""

from dataclasses import replace
from pathlib import Path

from bench.memory import Options, configs_of, seconds_per_kimg, told
from fes.config import ModelConfig


def test_what_steps_took_stands_beside_the_estimate_and_no_room_is_told() -> None:
    found = {"resolution": 48, "architecture": "residual", "million_parameters": 4.3, "kept": 0.07}
    found |= {"peak": 0.9, "most": 280}
    assert told(found, measured=False) == "| 48 | residual | 4.3 | 0.07 | 0.90 | 280 |"
    took = {"allocated": 0.91, "reserved": 0.94, "seconds_per_kimg": 1.234}
    found |= {"at_once": 32, "estimate": 0.9, "measured": took, "at_most": took, "beyond": None}
    line = "| 48 | residual | 4.3 | 0.07 | 0.90 | 280 | 32 | 0.90 | 0.91 | 0.94 | 1.23 | yes | no |"
    assert told(found, measured=True) == line
    assert "| 32 | 0.90 | no room |  |  | yes | no |" in told({**found, "measured": None}, measured=True)


def test_the_levels_of_a_recipe_are_taken_and_stepped_in_its_pieces(
    tiny_model: ModelConfig,
) -> None:
    options = Options(recipe=Path("recipes/rtx2080.yaml"), batch=4, micro_batch=2)
    levels = configs_of(options)
    assert [config.model.resolution for config in levels] == [64, 128, 256]
    assert {(each.model.blocks, each.model.channels, each.loss.guide_weight) for each in levels} == {
        ("residual", 3, 20.0)
    }
    small = replace(levels[0], model=replace(tiny_model, blocks="residual", skip="warp"))
    assert 0.01 < seconds_per_kimg(small, 4, 2, options, "cpu") < 1000

"""Where steps are replayed: what replaying does is in tests/gpu."""

from dataclasses import replace

import pytest
import torch

from fes.config import Config
from fes.hardware import Hardware
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.training.cast import build


@pytest.mark.usefixtures("one_core")
def test_a_run_on_a_cpu_is_not_replayed_and_learns_what_it_does_without(tiny_config: Config) -> None:
    runtime = Runtime(Hardware(replay=True))
    assert not runtime.replays
    parts, _, _ = build(tiny_config, Networks(tiny_config.model, 0), runtime)
    assert {type(parts.keepers[name]) for name in ("critics", "autoencoder")} == {Player}


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize(("precision", "replays"), [("no", True), ("bf16", True), ("fp16", False)])
def test_one_gpu_replays_where_it_is_asked_to_and_has_no_loss_scale(
    precision: str, replays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, not_asked = Runtime(Hardware(replay=True)), Runtime()
    for runtime in (asked, not_asked):
        monkeypatch.setattr(runtime, "device", torch.device("cuda"))
        monkeypatch.setattr(runtime, "launch", replace(runtime.launch, precision=precision))
    assert (asked.replays, not_asked.replays) == (replays, False)
    monkeypatch.setattr(asked, "ranks", 2)
    assert not asked.replays

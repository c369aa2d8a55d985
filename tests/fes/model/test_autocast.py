"""Half precision as a GPU's autocast mixes it, which leaves more in float32 than a CPU's: without a GPU."""

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from fes.config import LossConfig, ModelConfig
from fes.draws import Noise
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.model.edges import fade
from fes.model.networks import Networks, open_edges
from tests.fes.made_up import made_up_batch, made_up_noise
from tests.fes.untrained import guide_in

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SKIPS = "none", "features", "residual", "mask", "warp"
KINDS = {
    f"{blocks}-{skip}": ModelConfig(96, 1, 8, blocks=blocks, skip=skip, max_features=16, min_features=8)
    for blocks in ("strided", "residual")
    for skip in SKIPS
}
UNMASKED = [name for name, kind in KINDS.items() if kind.skip not in ("mask", "warp")]
"""A mask is cut off from what is drawn, which torch without CUDA refuses to do with a GPU's tensors."""
WHOLE = LossConfig(
    expression_weight=1.0,
    guide_weight=1.0,
    guide_limit=0.75,
    cycle_weight=0.1,
    return_weight=0.1,
    consistency_weight=0.1,
    light_weight=0.1,
)
SPARED = dataclasses.replace(WHOLE, paint_weight=0.1, strain_weight=0.1, strain_limit=0.2)


def networks_of(kind: ModelConfig, fading: bool) -> Networks:
    """Small networks for 96 px, whose blocks are new to ones that knew 48 px, or have long been theirs."""
    networks = Networks(kind, seed=0)
    if fading:
        open_edges(networks, kind, 48)
        fade(networks, 0.3)
    return networks


@contextlib.contextmanager
def on_a_gpu_in(half: torch.dtype) -> Iterator[None]:
    """Tensors without contents that say they lie on a GPU, under the rules of its autocast."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        torch.set_autocast_enabled("cuda", True)  # torch.autocast would look for a GPU
        torch.set_autocast_dtype("cuda", half)
        try:
            yield
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()


def moved(network: nn.Module) -> nn.Module:
    """The network with such tensors for its weights."""
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            weight = nn.Parameter(torch.empty(weight.shape, device="cuda"), requires_grad=False)
            module.register_parameter(name, weight)
    return network


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("fading", [False, True], ids=["grown up", "fading"])
@pytest.mark.parametrize("name", UNMASKED)
def test_every_network_passes_under_a_gpus_autocast(name: str, fading: bool, half: str) -> None:
    networks = networks_of(KINDS[name], fading)
    with on_a_gpu_in(HALVES[half]):
        moved(networks)
        x, label = torch.zeros(2, 1, 96, 96, device="cuda"), torch.zeros(2, dtype=torch.int64, device="cuda")
        code = networks.encoder(x)
        picture, score = networks.generator(code, label), networks.image_critic(x, label).score
        assert functional.group_norm(x, 1).dtype == torch.float32  # autocast is at work, and a GPU's
        assert {each.device.type for each in (code.z, picture, score)} == {"cuda"}
        assert picture.shape == x.shape


@pytest.fixture
def more_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms and what is enlarged answer in float32 under a CPU's autocast, as they do under a GPU's."""
    for name in ("group_norm", "interpolate"):
        original = getattr(functional, name)

        def answering(x: torch.Tensor, *args: object, original=original, **kwargs: object) -> torch.Tensor:
            if torch.is_autocast_enabled("cpu"):
                with torch.autocast("cpu", enabled=False):
                    return original(x.float(), *args, **kwargs)
            return original(x, *args, **kwargs)

        monkeypatch.setattr(functional, name, answering)


@pytest.mark.usefixtures("more_in_float32")
@pytest.mark.parametrize("fading", [False, True], ids=["grown up", "fading"])
@pytest.mark.parametrize("name", KINDS)
def test_steps_give_every_weight_a_gradient_where_norms_stay_in_float32(name: str, fading: bool) -> None:
    kind = KINDS[name]
    networks, weights = networks_of(kind, fading), SPARED if kind.skip == "warp" else WHOLE
    batch, single = made_up_batch(kind), Noise(*(part.float() for part in made_up_noise(kind)))
    guide = guide_in(torch.float32)
    for objective in (
        CriticObjective(networks, weights),
        AutoencoderObjective(networks, weights, guide=guide),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = objective(batch, single)
        loss.backward()
        learning = [each for each in objective.parameters() if each.requires_grad]
        assert learning
        assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in learning)

"""Players on a GPU, in each precision."""

import pytest
import torch
from torch import nn

from fes import draws
from fes.batch import Batch
from fes.config import LossConfig, ModelConfig
from fes.data.stream import Stream
from fes.draws import Noise
from fes.errors import InputError
from fes.hardware import Precision
from fes.learning.losses import gradient_norm
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.precision import DTYPES, FIRST_SCALE, check_precision
from shards.index import ShardIndex

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = "cuda"
STEPS = 6
WEIGHTS = LossConfig(expression_weight=1.0)  # so that every weight gets a gradient
in_each_precision = pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
in_each_half_precision = pytest.mark.parametrize("precision", ["bf16", "fp16"])
of_each_player = pytest.mark.parametrize("kind", [CriticObjective, AutoencoderObjective])

Work = tuple[Batch, Noise]


@pytest.fixture(autouse=True)
def only_precisions_that_the_gpu_has(request: pytest.FixtureRequest) -> None:
    precision = request.node.callspec.params.get("precision") if hasattr(request.node, "callspec") else None
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU only emulates bf16")


@pytest.fixture
def work(drawn_index: ShardIndex, tiny_model: ModelConfig) -> Work:
    """A batch and its noise, on the GPU."""
    batch = Stream([drawn_index.split("train")], seed=0, batch=16, window=64)[0]
    noise = draws.noise(0, 0, 16, tiny_model.latent_dim)
    return Batch(*(part.to(DEVICE) for part in batch)), Noise(*(part.to(DEVICE) for part in noise))


def player_of(kind: type[nn.Module], model: ModelConfig, precision: Precision) -> Player:
    objective = kind(Networks(model, seed=0).to(DEVICE), WEIGHTS)
    return Player(objective, torch.optim.Adam(objective.parameters(), 5e-4, (0.0, 0.9)), precision=precision)


def weights_of(player: Player) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in player.objective.parameters()]


def gradient_of(kind: type[nn.Module], model: ModelConfig, work: Work, precision: Precision) -> torch.Tensor:
    """All gradients of an objective on the first weights, as one vector."""
    objective = kind(Networks(model, seed=0).to(DEVICE), WEIGHTS)
    with torch.autocast(DEVICE, DTYPES[precision], enabled=precision != "no"):
        loss, _ = objective(*work)
    (loss * FIRST_SCALE).backward()
    return torch.cat([each.grad.flatten() for each in objective.parameters()]) / FIRST_SCALE


@in_each_precision
@of_each_player
def test_steps_are_finite_float32_and_move_the_weights(
    kind: type[nn.Module], precision: Precision, tiny_model: ModelConfig, work: Work
) -> None:
    player = player_of(kind, tiny_model, precision)
    for _ in range(STEPS):
        before = weights_of(player)
        measurements = player.step(*work)
        assert all(value.isfinite() and value.dtype == torch.float32 for value in measurements.values())
        after = weights_of(player)
        assert all(weight.isfinite().all() and weight.dtype == torch.float32 for weight in after)
        assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


@in_each_half_precision
@of_each_player
def test_half_precision_goes_the_way_of_float32(
    kind: type[nn.Module], precision: Precision, tiny_model: ModelConfig, work: Work
) -> None:
    exact, found = (gradient_of(kind, tiny_model, work, each) for each in ("no", precision))
    assert torch.cosine_similarity(exact, found, dim=0) > 0.99


@in_each_half_precision
def test_a_penalty_is_computed_in_float32_whatever_is_around_it(
    precision: Precision, tiny_model: ModelConfig, work: Work
) -> None:
    critic, label = Networks(tiny_model, seed=0).to(DEVICE).image_critic, work[0].label
    at = torch.rand(16, 1, 48, 48, device=DEVICE) * 2 - 1
    exact = gradient_norm(lambda x: critic(x, label).score, at)
    with torch.autocast(DEVICE, DTYPES[precision]):
        assert critic.features(at)[-1].dtype == DTYPES[precision]
        norm = gradient_norm(lambda x: critic(x, label).score, at)
    assert norm.dtype == torch.float32
    torch.testing.assert_close(norm, exact, rtol=1e-4, atol=1e-6)
    (gradient,) = torch.autograd.grad(norm.sum(), [critic.class_weight.weight])
    assert gradient.isfinite().all()


@of_each_player
def test_an_fp16_step_that_overflows_changes_nothing_but_the_scale(
    kind: type[nn.Module], tiny_model: ModelConfig, work: Work
) -> None:
    player = player_of(kind, tiny_model, "fp16")
    player.step(*work)
    state = player.state_dict()
    assert state["scaler"]["scale"] == FIRST_SCALE
    player.load_state_dict({**state, "scaler": {**state["scaler"], "scale": 2.0**120}})
    before = weights_of(player)
    player.step(*work)
    assert all(torch.equal(*pair) for pair in zip(before, weights_of(player), strict=True))
    assert player.state_dict()["scaler"]["scale"] == 2.0**119


def test_bf16_is_refused_exactly_where_it_would_be_emulated() -> None:
    device = torch.device(DEVICE, torch.cuda.current_device())
    if torch.cuda.get_device_capability(device) >= (8, 0):
        check_precision("bf16", device)
    else:
        with pytest.raises(InputError, match="only emulates it"):
            check_precision("bf16", device)

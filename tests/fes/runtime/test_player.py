"""A player's step: in pieces as in one, with clipped gradients, in half precision; on one process."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fes.batch import Batch
from fes.config import LossConfig, ModelConfig
from fes.draws import Noise, noise
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.precision import FIRST_SCALE

SIZE = 12
LAYERS = nn.Conv2d, nn.Linear
OBJECTIVES = [CriticObjective, AutoencoderObjective]
WEIGHTS = LossConfig(expression_weight=1.0)  # so that every weight gets a gradient


@pytest.fixture
def batch() -> Batch:
    rng = torch.Generator().manual_seed(2)
    image = torch.randint(256, (SIZE, 1, 48, 48), generator=rng, dtype=torch.uint8)
    label = torch.randint(-1, 7, (SIZE,), generator=rng)
    order = torch.randperm(SIZE, generator=rng)
    return Batch(image, label, image[order], label[order])


Make = Callable[..., Player]


@pytest.fixture
def player(tiny_model: ModelConfig) -> Make:
    """Makes a player on its first weights."""

    def make(
        kind: type[nn.Module] = CriticObjective, dtype: torch.dtype = torch.float64, **settings: object
    ) -> Player:
        networks = Networks(tiny_model, seed=1)
        # A head that knows nothing yet would teach the layers before its last nothing.
        nn.init.constant_(networks.image_critic.head.to_class.weight[:3], 0.1)
        objective = kind(networks.to(dtype), WEIGHTS)
        return Player(objective, torch.optim.Adam(objective.parameters(), 1e-3, (0.0, 0.9)), **settings)

    return make


def noise_of(step: int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(*(part.to(dtype) for part in noise(0, step, SIZE, 8)))


def step(player: Player, batch: Batch, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], dict]:
    """Takes a step; the gradients that the optimiser saw (none where it was not asked), and measurements."""
    gradients: list[Tensor] = []
    parameters = list(player.objective.parameters())
    hook = player.optimiser.register_step_pre_hook(
        lambda *_: gradients.extend(parameter.grad.clone() for parameter in parameters)
    )
    measurements = player.step(batch, noise_of(0, dtype))
    hook.remove()
    return gradients, measurements


def weights(player: Player) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in player.objective.parameters()]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def norm(gradients: list[Tensor]) -> float:
    return torch.cat([each.flatten() for each in gradients]).norm().item()


# ---- pieces


@pytest.mark.parametrize(
    ("micro_batch", "sizes"),
    [(6, [6] * 2), (5, [4] * 3), (4, [4] * 3), (1, [1] * 12), (12, [12]), (99, [12])],
)
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_batch_in_pieces_gives_the_gradients_and_measurements_of_the_whole(
    player: Make, batch: Batch, kind: type[nn.Module], micro_batch: int, sizes: list[int]
) -> None:
    expected, expected_measurements = step(player(kind), batch)
    taken = player(kind, micro_batch=micro_batch)
    seen = []
    taken.objective.register_forward_pre_hook(
        lambda _, inputs: seen.append([len(part) for each in inputs for part in each])
    )
    gradients, measurements = step(taken, batch)
    assert seen == [[size] * len(Batch._fields + Noise._fields) for size in sizes]
    assert_close(gradients, expected)
    assert_close(list(measurements.values()), list(expected_measurements.values()))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_weights_after_some_steps_in_pieces_are_those_of_whole_batches(
    player: Make, batch: Batch, kind: type[nn.Module]
) -> None:
    whole, pieces = player(kind), player(kind, micro_batch=4)
    for number in range(4):
        for each in (whole, pieces):
            each.step(batch, noise_of(number))
    for one, other in zip(weights(pieces), weights(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


# ---- clipping


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_gradients_are_shortened_as_one_vector_of_all_pieces(
    player: Make, batch: Batch, micro_batch: int | None
) -> None:
    whole, _ = step(player(), batch)
    length = norm(whole)
    clipped, _ = step(player(max_gradient_norm=length / 2, micro_batch=micro_batch), batch)
    assert norm(clipped) == pytest.approx(length / 2, rel=1e-5)
    for one, other in zip(clipped, whole, strict=True):
        torch.testing.assert_close(one, other / 2, rtol=1e-5, atol=1e-14)
    kept, _ = step(player(max_gradient_norm=length * 2, micro_batch=micro_batch), batch)
    assert_close(kept, whole)


def test_loss_scales_do_not_change_what_is_clipped(player: Make, batch: Batch) -> None:
    settings = {"dtype": torch.float32, "precision": "fp16", "micro_batch": 4}
    whole, _ = step(player(**settings, max_gradient_norm=1e9), batch, torch.float32)
    length = norm(whole)
    clipped, _ = step(player(**settings, max_gradient_norm=length / 2), batch, torch.float32)
    assert norm(clipped) == pytest.approx(length / 2, rel=1e-4)


# ---- half precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_half_precision_keeps_float32_weights_and_gives_nearly_the_same_gradients(
    player: Make, batch: Batch, kind: type[nn.Module], precision: str
) -> None:
    single = torch.float32
    expected, expected_measurements = step(player(kind, single), batch, single)
    half = player(kind, single, precision=precision)
    before = weights(half)
    gradients, measurements = step(half, batch, single)
    assert {each.dtype for each in [*gradients, *weights(half), *measurements.values()]} == {single}
    difference = norm([one - other for one, other in zip(gradients, expected, strict=True)])
    assert 0 < difference < 0.1 * norm(expected)
    assert sum(torch.equal(one, other) for one, other in zip(before, weights(half), strict=True)) <= 2
    for name, value in measurements.items():
        torch.testing.assert_close(value, expected_measurements[name], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("precision", "half"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("critic", ["image_critic", "latent_critic"])
def test_penalties_are_computed_in_float32_and_scores_in_half_of_that(
    player: Make, batch: Batch, critic: str, precision: str, half: torch.dtype
) -> None:
    taken = player(CriticObjective, torch.float32, precision=precision)
    layers = [
        each
        for name, each in getattr(taken.objective, critic).named_modules()
        if isinstance(each, LAYERS) and not name.startswith("head.")
    ]
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda _, __, result: seen.append((len(result), result.dtype)))
    taken.step(batch, noise_of(0, torch.float32))
    assert seen == [(2 * SIZE, half)] * len(layers) + [(SIZE, torch.float32)] * len(layers)


def test_an_overflow_skips_the_update_of_its_player_alone_and_halves_its_scale(
    player: Make, batch: Batch
) -> None:
    single = torch.float32
    critics, autoencoder = (player(kind, single, precision="fp16") for kind in OBJECTIVES)
    state = critics.state_dict()
    assert state["scaler"]["scale"] == FIRST_SCALE
    critics.load_state_dict({**state, "scaler": {**state["scaler"], "scale": 2.0**60}})
    before = weights(critics), weights(autoencoder)
    for each in (critics, autoencoder):
        step(each, batch, single)
    assert all(torch.equal(one, other) for one, other in zip(before[0], weights(critics), strict=True))
    assert not any(
        torch.equal(one, other) for one, other in zip(before[1], weights(autoencoder), strict=True)
    )
    assert critics.state_dict()["scaler"]["scale"] == 2.0**59
    assert autoencoder.state_dict()["scaler"]["scale"] == FIRST_SCALE


def test_a_loss_scale_is_saved_and_goes_on_from_there(player: Make, batch: Batch) -> None:
    single = torch.float32
    whole, stopped = (player(dtype=single, precision="fp16") for _ in range(2))
    for each in (whole, stopped):
        step(each, batch, single)
    assert stopped.state_dict()["scaler"]["_growth_tracker"] == 1
    going_on = player(dtype=single, precision="fp16")
    going_on.load_state_dict(stopped.state_dict())
    going_on.objective.load_state_dict(stopped.objective.state_dict())
    for each in (whole, going_on):
        step(each, batch, single)
    assert going_on.state_dict()["scaler"] == whole.state_dict()["scaler"]
    assert all(torch.equal(one, other) for one, other in zip(weights(whole), weights(going_on), strict=True))


@pytest.mark.parametrize(("then", "now", "scale"), [("no", "fp16", FIRST_SCALE), ("fp16", "no", None)])
def test_a_run_may_go_on_in_another_precision(player: Make, then: str, now: str, scale: float | None) -> None:
    going_on = player(dtype=torch.float32, precision=now)
    going_on.load_state_dict(player(dtype=torch.float32, precision=then).state_dict())
    assert going_on.state_dict()["scaler"].get("scale") == scale

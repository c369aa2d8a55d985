"""Both objectives against a straightforward reimplementation, in float64."""

import contextlib
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fes.batch import Batch, to_float
from fes.config import AugmentConfig, Config
from fes.draws import Noise
from fes.judge import new_judge
from fes.learning.guide import Guide
from fes.learning.objectives import AutoencoderObjective, CriticObjective, frozen
from fes.learning.players import bare_players
from fes.model.networks import Networks
from tests.fes.by_hand import gradients
from tests.fes.untrained import ALL, GUIDE, SKIPS, STAGES, WEIGHTS, GuidedObjective, guide_in, players_of

SPARED = dataclasses.replace(WEIGHTS, paint_weight=0.9, paint_free=0.05, strain_weight=0.7)
ADVERSARIES = "wgan-gp", "wgan-gp-one-sided", "r1-non-saturating", "r1-relativistic"
OPTIONAL = "expression", "guide", "cycle", "return", "consistency", "light", "feature"


def assert_all_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)


# ---- the terms


RECIPES = [
    *[(dataclasses.replace(WEIGHTS, adversary=each), "joint", "none", 0.0) for each in ADVERSARIES],
    *[(dataclasses.replace(WEIGHTS, **{f"{each}_weight": 0.9}), "joint", "none", 0.0) for each in OPTIONAL],
    *[(dataclasses.replace(ALL, guide_margin=each), "joint", "none", 0.7) for each in (0.2, 0.4)],
    *[
        (dataclasses.replace(ALL, guide_margin=0.0, guide_clear=each), "joint", "none", 0.7)
        for each in (2.1, 0.1)
    ],
    *[(dataclasses.replace(ALL, guide_limit=each), "joint", "mask", 0.7) for each in (0.25, 1e3)],
    *[
        (dataclasses.replace(ALL, guide_painting=each, guide_limit=0.25), "joint", "warp", 0.7)
        for each in (0.0, 0.3)
    ],
    *[(ALL, "joint", skip, 0.0) for skip in SKIPS],
    *[(dataclasses.replace(SPARED, paint_free=each), "joint", "warp", 0.0) for each in (0.05, 0.134)],
    (dataclasses.replace(SPARED, strain_weight=0.0), "joint", "mask", 0.0),
    (dataclasses.replace(SPARED, strain_limit=0.2), "joint", "warp", 0.0),
    (SPARED, "autoencoder", "warp", 0.0),
    (SPARED, "gan", "warp", 0.0),
    *[(ALL, stage, "features", 0.0) for stage in STAGES[:2]],
    (ALL, "opening", "mask", 0.0),
    (ALL, "closing", "none", 0.0),
    (dataclasses.replace(ALL, adversary="r1-relativistic"), "gan", "mask", 0.0),
    (ALL, "gan", "warp", 0.0),
    (dataclasses.replace(ALL, adversary="r1-relativistic"), "joint", "none", 0.7),
    (ALL, "gan", "none", 0.7),
]
of_each_recipe = pytest.mark.parametrize(("weights", "stage", "skip", "strength"), RECIPES)


@of_each_recipe
def test_critics_loss_and_gradients_are_those_written_out_by_hand(
    tiny_model, batch, noise, weights, stage, skip, strength
):
    networks, plain, players = players_of(tiny_model, weights, stage, skip, strength)
    loss, measured = players["critics"](batch, noise)
    expected, parts = plain.critics()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    critics = networks.image_critic, networks.latent_critic
    assert_all_close(gradients(loss, *critics), gradients(expected, *critics))
    told = {f"critic/{name}": value for name, value in parts.items() if not name.endswith("_error")}
    told |= {name: value / 7.0 for name, value in told.items() if name.endswith("_penalty")}
    count = 1 if stage in ("autoencoder", "gan") else 2
    assert len(told) == count + (stage != "autoencoder" and weights.expression_weight > 0)
    for name, value in told.items():
        torch.testing.assert_close(measured[name], value.detach(), rtol=1e-10, atol=1e-14)


@of_each_recipe
def test_autoencoders_loss_gradients_and_pulls_are_those_written_out_by_hand(
    tiny_model, batch, noise, weights, stage, skip, strength
):
    networks, plain, players = players_of(tiny_model, weights, stage, skip, strength)
    loss, measured = players["autoencoder"](batch, noise, measure=True)
    expected, terms = plain.autoencoder()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    own = networks.encoder, networks.generator
    assert_all_close(gradients(loss, *own), gradients(expected, *own))
    wanted = {f"autoencoder/{name}": value.detach() for name, value in terms.items()}
    wanted |= {
        f"pull/{name}": torch.tensor(pull, dtype=torch.float64) for name, pull in plain.pulls().items()
    }
    assert {name for name in measured if name.startswith("pull/")} == {f"pull/{name}" for name in terms}
    for name, value in wanted.items():
        torch.testing.assert_close(measured[name], value, rtol=1e-9, atol=1e-14)
    assert all(value > 0 for name, value in measured.items() if name.startswith("pull/"))


def test_a_weight_of_zero_leaves_the_bits_of_the_original_recipe(networks, batch, noise):
    """Written out with the three terms of the original alone, batch by batch."""
    loss, measured = AutoencoderObjective(networks, WEIGHTS)(batch, noise)
    assert not any(f"autoencoder/{name}" in measured for name in OPTIONAL)
    x = to_float(batch.image, torch.float64)
    code = networks.encoder(x)
    labels = torch.cat([batch.label, batch.partner_label])
    x_recon, x_swap = networks.generator(code.repeat(2), labels).chunk(2)
    expected = 3.0 * ((x_recon - x).flatten(1).abs().sum(1).mean() / 48)
    expected = expected + 0.3 * -networks.latent_critic(code.z).mean()
    expected = expected + 0.7 * -networks.image_critic(x_swap, batch.partner_label).score.mean()
    assert torch.equal(loss, expected)
    own = networks.encoder, networks.generator
    for found, wanted in zip(gradients(loss, *own), gradients(expected, *own), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", OPTIONAL)
def test_each_optional_term_moves_the_loss_and_the_gradients(networks, batch, noise, name):
    weights = dataclasses.replace(WEIGHTS, **{f"{name}_weight": 0.5})
    without, _ = AutoencoderObjective(networks, WEIGHTS)(batch, noise)
    loss, measured = GuidedObjective(networks, weights)(batch, noise)
    torch.testing.assert_close(loss - without, 0.5 * measured[f"autoencoder/{name}"], rtol=1e-9, atol=1e-12)
    own = networks.encoder, networks.generator
    pairs = zip(gradients(loss, *own), gradients(without, *own), strict=True)
    assert sum(not torch.equal(one, other) for one, other in pairs) > 10


def test_the_head_learns_by_itself_and_teaches_the_critics_score_nothing(networks, batch, noise):
    critic = networks.image_critic
    trunk = [p for name, p in critic.named_parameters() if not name.startswith("head.")]

    def slopes(weight: float) -> tuple[list[Tensor], list[Tensor]]:
        weights = dataclasses.replace(WEIGHTS, expression_weight=weight)
        loss, _ = CriticObjective(networks, weights)(batch, noise)
        own = torch.autograd.grad(loss, trunk, retain_graph=True)
        return gradients(loss, critic.head), list(own)

    (silent, without), (head, beside) = slopes(0.0), slopes(0.5)
    assert all(torch.equal(one, other) for one, other in zip(without, beside, strict=True))
    assert not any(slope.any() for slope in silent)
    assert all(slope.any() for slope in head)


# ---- gradients and precision


@pytest.mark.parametrize(
    ("objective", "own", "others"),
    [
        (CriticObjective, ("latent_critic", "image_critic"), ("encoder", "generator")),
        (GuidedObjective, ("encoder", "generator"), ("latent_critic", "image_critic")),
    ],
)
def test_only_the_players_own_networks_are_registered_and_get_gradients(
    networks, batch, noise, objective, own, others
):
    player = objective(networks, ALL)
    assert [name for name, _ in player.named_children()] == list(own)
    loss, _ = player(batch, noise)
    loss.backward()
    for name in own:
        assert all(p.grad is not None for p in getattr(networks, name).parameters()), name
    for name in others:
        assert all(p.grad is None for p in getattr(networks, name).parameters()), name
    assert all(p.requires_grad for p in networks.parameters())
    assert all(p.grad is None for p in GUIDE.judge.parameters())


def test_the_precision_of_the_noise_decides_that_of_the_loss(tiny_model, batch, noise):
    networks = Networks(tiny_model, seed=1)
    single = Noise(*(part.float() for part in noise))
    for objective in (CriticObjective, AutoencoderObjective):
        loss, _ = objective(networks, WEIGHTS)(batch, single)
        assert loss.dtype == torch.float32


@pytest.mark.parametrize(
    "objective", [CriticObjective, partial(AutoencoderObjective, guide=guide_in(torch.float32))]
)
def test_loss_under_bf16_autocast_stays_near_that_in_full_precision(tiny_model, batch, noise, objective):
    networks = Networks(tiny_model, seed=1)
    single = Noise(*(part.float() for part in noise))
    player = objective(networks, ALL)
    expected, _ = player(batch, single)
    with torch.autocast("cpu", torch.bfloat16):
        loss, told = player(batch, single)
    loss.backward()
    assert {each.dtype for each in told.values()} == {torch.float32}  # means are taken in that of pictures
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
    assert loss.item() != expected.item()  # autocast is at work
    assert all(torch.isfinite(p.grad).all() for p in player.parameters())


# ---- on a GPU


class Devices(TorchDispatchMode):
    """Notes every operation that has to do with a tensor on the CPU, or that fetches a number."""

    def __init__(self) -> None:
        super().__init__()
        self.at_the_cpu: list[str] = []

    def __torch_dispatch__(
        self, call: Any, kinds: Any, positional: tuple = (), named: dict | None = None
    ) -> Any:
        made = call(*positional, **(named or {}))
        tensors = [each for each in tree_leaves((positional, named, made)) if isinstance(each, Tensor)]
        if "_local_scalar_dense" in str(call) or any(each.device.type == "cpu" for each in tensors):
            self.at_the_cpu.append(str(call))
        return made


@pytest.fixture
def no_autocast(monkeypatch):
    """Switches autocast off, which knows nothing of the meta device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


@pytest.mark.usefixtures("no_autocast")
@of_each_recipe
def test_a_step_stays_on_its_device_and_asks_it_for_no_number(
    tiny_model, batch, noise, weights, stage, skip, strength
):
    """What it needs of the CPU would make a GPU wait, and could not be recorded."""
    elsewhere = Batch(*(each.to("meta") for each in batch)), Noise(*(each.to("meta") for each in noise))
    model = dataclasses.replace(tiny_model, skip=skip, blocks="residual" if skip == "warp" else "strided")
    with torch.device("meta"):
        networks = Networks(model, seed=1).double()
    config = Config("", Path(), loss=weights, augment=AugmentConfig(strength=strength))
    guide = Guide(new_judge("plain", 48, 1, seed=4).double().to("meta"), noise=0.5)
    for player in bare_players(config, networks, stage=stage, guide=guide).values():
        with Devices() as devices:
            loss, _ = player.objective(*elsewhere)
            loss.backward()
        assert loss.device.type == "meta"
        assert devices.at_the_cpu == []


def test_frozen_gives_back_what_it_took_also_after_an_error():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)

    def fail() -> None:
        with frozen(layer):
            assert not layer.weight.requires_grad
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad

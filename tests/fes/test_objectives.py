"""Both objectives against a straightforward reimplementation, in float64."""

import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fes.batch import Batch
from fes.config import AugmentConfig, Config, LossConfig, ModelConfig, OptimiserConfig
from fes.dials import Dials
from fes.draws import Noise
from fes.guide import Guide
from fes.judge import new_judge
from fes.networks import Networks
from fes.objectives import AutoencoderObjective, CriticObjective, frozen
from fes.pictures import to_float
from fes.players import bare_players
from fes.runtime.player import Player
from fes.stream import Stream
from shards.index import ShardIndex
from tests.fes.by_hand import (
    SIZE,
    ByHand,
    gradients,
    made_up_batch,
    made_up_noise,
    real,
    through_noise,
)

WEIGHTS = LossConfig(reconstruction_weight=3.0, image_weight=0.7, latent_weight=0.3, penalty_weight=7.0)
ALL = dataclasses.replace(
    WEIGHTS,
    expression_weight=0.6,
    guide_weight=0.8,
    cycle_weight=1.1,
    return_weight=0.8,
    consistency_weight=0.4,
    light_weight=0.35,
    feature_weight=5.0,
)
SPARED = dataclasses.replace(WEIGHTS, paint_weight=0.9, paint_free=0.05, strain_weight=0.7)
ADVERSARIES = "wgan-gp", "wgan-gp-one-sided", "r1-non-saturating", "r1-relativistic"
SKIPS = "none", "features", "residual", "mask", "warp"
STAGES = "autoencoder", "gan", "joint"
OPTIONAL = "expression", "guide", "cycle", "return", "consistency", "light", "feature"


def networks_of(model: ModelConfig) -> Networks:
    """In float64, with a head that tells expressions apart: a fresh one knows nothing."""
    networks = Networks(model, seed=1).double()
    rng = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in networks.image_critic.head.to_class.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.1)
    return networks


def guide_in(dtype: torch.dtype) -> Guide:
    """A guide that has learnt nothing, but is not indifferent."""
    judge = new_judge("plain", 48, 1, seed=4)
    with torch.no_grad():
        judge.classify.weight.mul_(30)
    return Guide(judge.to(dtype), 0.5)


GUIDE = guide_in(torch.float64)
GuidedObjective = partial(AutoencoderObjective, guide=GUIDE)


@pytest.fixture
def networks(tiny_model) -> Networks:
    return networks_of(tiny_model)


@pytest.fixture
def batch(tiny_model) -> Batch:
    return made_up_batch(tiny_model)


@pytest.fixture
def noise(tiny_model) -> Noise:
    return made_up_noise(tiny_model)


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


def players_of(model: ModelConfig, weights, stage, skip, strength) -> tuple[Networks, ByHand, dict]:
    networks = networks_of(dataclasses.replace(model, skip=skip))
    config = Config("", Path(), loss=weights, augment=AugmentConfig(strength=strength))
    players = bare_players(config, networks, stage=stage, guide=GUIDE)
    plain = ByHand(networks, weights, made_up_batch(model), made_up_noise(model), stage, strength, GUIDE)
    return networks, plain, {name: player.objective for name, player in players.items()}


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


@pytest.mark.parametrize(("skip", "weight"), [("none", 0.0), ("mask", 0.0), ("warp", 0.0), ("warp", 0.8)])
def test_how_much_is_painted_is_told_where_there_is_a_mask(tiny_model, batch, noise, skip, weight):
    networks = networks_of(dataclasses.replace(tiny_model, skip=skip))
    weights = dataclasses.replace(WEIGHTS, paint_weight=weight)
    _, measured = AutoencoderObjective(networks, weights)(batch, noise)
    assert ("autoencoder/painted" in measured) == (skip != "none")
    if skip != "none":
        code = networks.encoder(real(batch.image))
        masks = [networks.generator.drawing(code, label).mask for label in (batch.label, batch.partner_label)]
        covers = 0.02 + 0.98 * torch.cat(masks).sigmoid()
        torch.testing.assert_close(measured["autoencoder/painted"], covers.mean())


def test_gaps_are_those_of_the_mean_scores(networks, batch, noise):
    _, measured = CriticObjective(networks, WEIGHTS)(batch, noise)
    _, parts = ByHand(networks, WEIGHTS, batch, noise).critics()
    for critic in ("image", "latent"):
        torch.testing.assert_close(measured[f"critic/{critic}_gap"], -parts[f"{critic}_error"].detach())


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


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("weights", [WEIGHTS, ALL])
def test_every_weight_that_a_stage_trains_gets_a_gradient_at_each_of_its_steps(
    tiny_model, batch, noise, weights, stage, skip
):
    """Else ranks would wait for it."""
    _, _, players = players_of(tiny_model, weights, stage, skip, 0.0)
    for objective in players.values():
        objective(batch, noise)[0].backward()
        got = {name: p.grad is not None for name, p in objective.named_parameters()}
        assert got == {name: p.requires_grad for name, p in objective.named_parameters()}
        assert sum(got.values()) > 5


def test_unlabelled_pictures_teach_the_head_nothing_and_the_guide_pulls_at_none(networks, batch, noise):
    nothing = torch.full((SIZE,), -1)
    unlabelled = batch._replace(label=nothing, partner_label=nothing)
    head = networks.image_critic.head
    loss, measured = CriticObjective(networks, ALL)(unlabelled, noise)
    assert measured["critic/expression"] == 0
    assert all((slope == 0).all() for slope in gradients(loss, head))
    _, measured = GuidedObjective(networks, ALL)(unlabelled, noise, measure=True)
    for name in ("expression", "guide"):
        assert measured[f"autoencoder/{name}"] == measured[f"pull/{name}"] == 0


# ---- pulls and balance


@pytest.mark.parametrize("resolution", [48, 96])
def test_the_reconstruction_pulls_with_a_norm_of_one_at_any_resolution(tiny_model, resolution):
    model = dataclasses.replace(tiny_model, resolution=resolution)
    objective = AutoencoderObjective(networks_of(model), WEIGHTS)
    _, measured = objective(made_up_batch(model), made_up_noise(model), measure=True)
    assert measured["pull/reconstruction"].item() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_pulls_do_not_depend_on_how_a_batch_is_cut(tiny_model, batch, noise, micro_batch):
    def pulls(size: int | None) -> dict[str, Tensor]:
        objective = GuidedObjective(networks_of(tiny_model), ALL)
        optimiser = torch.optim.SGD(objective.parameters(), 0.0)
        return Player(objective, optimiser, micro_batch=size).step(batch, noise, measure=True)

    whole, cut = pulls(None), pulls(micro_batch)
    names = [name for name in whole if name.startswith("pull/")]
    assert len(names) == 10
    for name in names:
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-11, atol=0)


def test_measuring_pulls_changes_no_bit_of_loss_and_gradients(networks, batch, noise):
    objective = GuidedObjective(networks, ALL)
    (loss, without), (same, measured) = objective(batch, noise), objective(batch, noise, measure=True)
    assert torch.equal(loss, same)
    assert all(torch.equal(measured[name], value) for name, value in without.items())
    own = networks.encoder, networks.generator
    assert all(map(torch.equal, gradients(loss, *own), gradients(same, *own)))


def test_balanced_terms_pull_as_their_weights_say(networks, batch, noise):
    weights = dataclasses.replace(ALL, balance=True)
    dials = Dials(weights)
    objective = GuidedObjective(networks, weights, dials)
    loss, measured = objective(batch, noise, measure=True)
    plain = ByHand(networks, weights, batch, noise, guide=GUIDE)
    torch.testing.assert_close(loss, plain.autoencoder()[0], rtol=1e-12, atol=0)  # nothing measured yet
    dials.update(measured, lambda value: value, 1)
    scales = {name: min(10.0, max(0.1, 1 / pull)) for name, pull in plain.pulls().items()} | {"latent": 1.0}
    loss, _ = objective(batch, noise)
    torch.testing.assert_close(loss, plain.autoencoder(scales)[0], rtol=1e-10, atol=0)
    assert len(set(scales.values())) > 3


# ---- the rest of what is measured


def test_a_guide_with_a_margin_leaves_faces_alone_that_it_finds_clearer_than_their_partners(
    networks, batch, noise
):
    for margin, pulled in ((-1e3, False), (1e3, True)):
        weights = LossConfig(guide_weight=1.0, guide_margin=margin)
        _, told = GuidedObjective(networks, weights)(batch, noise, measure=True)
        assert (told["autoencoder/guide"] > 0) == (told["pull/guide"] > 0) == pulled


def test_accuracies_are_shares_of_what_the_head_and_the_guide_read_right(networks, batch, noise):
    head = networks.image_critic.head
    seen = head(real(batch.image)).argmax(1)
    asked = torch.tensor([4, 4, 4, 6])
    drawn = networks.generator(networks.encoder(real(batch.image)), asked)
    told = head(drawn).argmax(1)
    pairs = zip(drawn, noise.guide, strict=True)
    guided = GUIDE.judge.glance(torch.stack([through_noise(GUIDE, *each) for each in pairs])).argmax(1)
    batch = batch._replace(label=torch.where(torch.arange(SIZE) < 3, seen, -1), partner_label=asked)
    _, measured = CriticObjective(networks, ALL)(batch, noise)
    assert measured["critic/expression_accuracy"] == 3 / 4
    _, measured = GuidedObjective(networks, ALL)(batch, noise)
    shares = [(each == asked).double().mean() for each in (told, guided)]
    assert [measured[f"autoencoder/{name}_accuracy"] for name in ("expression", "guide")] == shares
    assert 0 < shares[0] < shares[1] < 1


def test_reconstruction_l1_is_the_mean_error_where_a_pixels_range_is_one(networks, batch, noise):
    _, measurements = AutoencoderObjective(networks, WEIGHTS)(batch, noise)
    with torch.no_grad():
        drawn = networks.generator(networks.encoder(real(batch.image)), batch.label)
    expected = ((drawn + 1) / 2 - batch.image.double() / 255).abs().mean()
    torch.testing.assert_close(measurements["autoencoder/reconstruction_l1"], expected)


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


@pytest.mark.parametrize("objective", [CriticObjective, AutoencoderObjective])
def test_measurements_are_detached_scalars_with_names_of_the_player(networks, batch, noise, objective):
    loss, measurements = objective(networks, WEIGHTS)(batch, noise)
    player = "critic" if objective is CriticObjective else "autoencoder"
    assert measurements[f"{player}/loss"] == loss
    for name, value in measurements.items():
        assert name.startswith(f"{player}/")
        assert value.shape == ()
        assert not value.requires_grad


@pytest.mark.parametrize("objective", [CriticObjective, GuidedObjective])
def test_a_batch_without_any_label_gives_a_finite_loss_and_gradients(networks, batch, noise, objective):
    nothing = torch.full((SIZE,), -1)
    unlabelled = batch._replace(label=nothing, partner_label=nothing)
    player = objective(networks, ALL)
    loss, _ = player(unlabelled, noise)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in player.parameters())
    labelled_loss, _ = player(batch, noise)
    assert labelled_loss != loss


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
        loss, _ = player(batch, single)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
    assert loss.item() != expected.item()  # autocast is at work
    assert all(torch.isfinite(p.grad).all() for p in player.parameters())


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


# ---- pictures without labels


def seen_by(critic: nn.Module, player: nn.Module, batch: Batch, noise: Noise) -> list[tuple]:
    """What the critic is shown while a player's loss is made: pictures, labels and its scores, by call."""
    calls = []
    hook = critic.register_forward_hook(
        lambda _, args, out: calls.append((*args, out.score.detach().clone()))
    )
    player(batch, noise)
    hook.remove()
    return calls


def test_the_critic_sees_equally_many_of_each_class_on_both_sides(networks, batch, noise):
    calls = seen_by(networks.image_critic, CriticObjective(networks, WEIGHTS), batch, noise)
    (pictures, labels, _), (_, between, _) = calls
    assert torch.equal(pictures[:SIZE], real(batch.image))
    assert not torch.equal(pictures[SIZE:], pictures[:SIZE])
    assert sorted(labels[:SIZE].tolist()) == sorted(labels[SIZE:].tolist()) == [-1, 0, 3, 6]
    assert torch.equal(between, labels[:SIZE])
    # The autoencoder is asked for the partners' classes, which are those of the batch in another order.
    ((_, asked, _),) = seen_by(networks.image_critic, AutoencoderObjective(networks, WEIGHTS), batch, noise)
    assert sorted(asked.tolist()) == [-1, 0, 3, 6]


def test_batches_of_labelled_and_unlabelled_sets_deal_the_same_classes_to_both_sides(
    networks, noise, drawn_folder, unlabelled_folder
):
    folders = drawn_folder, unlabelled_folder
    parts = [ShardIndex.load(folder).split("train").sized(48, 1) for folder in folders]
    stream = Stream(parts, weights=[0.5, 0.5], seed=0, batch=SIZE, window=64)
    mixed = 0
    for step in range(8):
        batch = stream[step]
        known = batch.label != -1
        mixed += bool(known.any() and not known.all())
        assert sorted(batch.label.tolist()) == sorted(batch.partner_label.tolist())
        (_, labels, _), _ = seen_by(networks.image_critic, CriticObjective(networks, WEIGHTS), batch, noise)
        assert torch.equal(*labels.chunk(2))
    assert mixed > 0


@pytest.mark.parametrize("labels", [[0, 3, -1, 6], [-1, -1, 2, -1], [-1, -1, -1, -1]])
def test_unlabelled_pictures_use_the_eighth_embedding_on_both_sides(networks, batch, noise, labels):
    label = torch.tensor(labels)
    batch = batch._replace(label=label, partner_label=label.flip(0))
    critic = CriticObjective(networks, WEIGHTS)
    (_, _, before), _ = seen_by(networks.image_critic, critic, batch, noise)
    with torch.no_grad():
        networks.image_critic.class_weight.weight[7] += 1
    (_, _, after), _ = seen_by(networks.image_critic, critic, batch, noise)
    for moved in (before != after).chunk(2):  # the real side, then the synthesised one
        assert torch.equal(moved, label == -1)


@pytest.mark.parametrize("labels", [[0, 3, -1, 6], [-1, -1, 2, -1], [-1, -1, -1, -1]])
def test_only_the_embeddings_of_classes_that_are_there_learn(networks, batch, noise, labels):
    label = torch.tensor(labels)
    batch = batch._replace(label=label, partner_label=label.flip(0))
    for objective, embedding in (
        (CriticObjective, networks.image_critic.class_weight),
        (AutoencoderObjective, networks.generator.norm.affine),
    ):
        loss, _ = objective(networks, WEIGHTS)(batch, noise)
        (slope,) = torch.autograd.grad(loss, embedding.weight)
        learning = slope.abs().sum(dim=1) > 0
        assert learning.nonzero().flatten().tolist() == sorted(set(label.remainder(8).tolist()))


def test_the_players_of_a_run_come_critics_first_each_with_adam_at_its_own_rate(networks):
    rates = OptimiserConfig(critic_rate=0.1, autoencoder_rate=0.2, beta1=0.3, beta2=0.4)
    players = bare_players(Config("", Path(), loss=WEIGHTS, optimiser=rates), networks)
    kinds = {name: type(player.objective) for name, player in players.items()}
    assert list(kinds.items()) == [("critics", CriticObjective), ("autoencoder", AutoencoderObjective)]
    for player, rate in zip(players.values(), (0.1, 0.2), strict=True):
        (group,) = player.optimiser.param_groups
        assert (type(player.optimiser), group["lr"], group["betas"]) == (torch.optim.Adam, rate, (0.3, 0.4))
        learning = [p for p in player.objective.parameters() if p.requires_grad]
        assert list(map(id, group["params"])) == list(map(id, learning))
        assert player.objective.weights is WEIGHTS

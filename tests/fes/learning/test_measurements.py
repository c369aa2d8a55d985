"""What the objectives measure beside their losses: how strongly terms pull, gaps, errors and shares."""

import dataclasses

import pytest
import torch
from torch import Tensor

from fes.config import LossConfig
from fes.learning.dials import Dials
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.runtime.player import Player
from tests.fes.by_hand import ByHand, gradients, through_noise
from tests.fes.made_up import SIZE, made_up_batch, made_up_noise, real
from tests.fes.untrained import ALL, GUIDE, WEIGHTS, GuidedObjective, networks_of

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


def test_a_guide_with_a_margin_leaves_faces_alone_that_it_finds_clearer_than_their_partners(
    networks, batch, noise
):
    for margin, pulled in ((-1e3, False), (1e3, True)):
        weights = LossConfig(guide_weight=1.0, guide_margin=margin)
        _, told = GuidedObjective(networks, weights)(batch, noise, measure=True)
        assert (told["autoencoder/guide"] > 0) == (told["pull/guide"] > 0) == pulled


# ---- the rest of what is measured


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


def test_scores_are_those_of_real_ones_and_slopes_are_told_as_their_mean_norm(networks, batch, noise):
    objective, code = CriticObjective(networks, WEIGHTS), networks.encoder(real(batch.partner_image))
    _, measured = objective(batch, noise)
    x_swap = networks.generator(code, batch.label)

    def judged(x: Tensor) -> Tensor:
        return networks.image_critic(x, batch.label).score

    for name, critic, true, made, share in (
        ("image", judged, real(batch.image), x_swap, noise.image_epsilon),
        ("latent", networks.latent_critic, noise.z_prior, code.z, noise.latent_epsilon),
    ):
        at = (share * true + (1 - share) * made).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(at).sum(), at)
        norm = slope.flatten(1).square().sum(1).sqrt().mean()
        torch.testing.assert_close(measured[f"critic/{name}_gradient_norm"], norm)
        torch.testing.assert_close(measured[f"critic/{name}_score"], critic(true).mean().detach())
    gap = objective.image_gap(batch, noise)
    torch.testing.assert_close(gap, measured["critic/image_gap"])
    assert not gap.requires_grad  # nothing of a graph is kept for what is only told


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


@pytest.mark.parametrize("objective", [CriticObjective, AutoencoderObjective])
def test_measurements_are_detached_scalars_with_names_of_the_player(networks, batch, noise, objective):
    loss, measurements = objective(networks, WEIGHTS)(batch, noise)
    player = "critic" if objective is CriticObjective else "autoencoder"
    assert measurements[f"{player}/loss"] == loss
    for name, value in measurements.items():
        assert name.startswith(f"{player}/")
        assert value.shape == ()
        assert not value.requires_grad

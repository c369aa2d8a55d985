"""Both objectives against a straightforward reimplementation, in float64."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fes.batch import Batch
from fes.config import Config, LossConfig, OptimiserConfig
from fes.draws import Noise
from fes.networks import Networks
from fes.objectives import AutoencoderObjective, CriticObjective, bare_players, frozen
from fes.stream import Stream
from shards.index import ShardIndex

SIZE = 4
WEIGHTS = LossConfig(reconstruction_weight=3.0, image_weight=0.7, latent_weight=0.3, penalty_weight=7.0)


@pytest.fixture
def networks(tiny_model) -> Networks:
    return Networks(tiny_model, seed=1).double()


@pytest.fixture
def batch() -> Batch:
    rng = torch.Generator().manual_seed(2)
    image = torch.randint(256, (SIZE, 1, 48, 48), generator=rng, dtype=torch.uint8)
    label = torch.tensor([0, 3, -1, 6])
    order = torch.tensor([2, 0, 3, 1])
    return Batch(image, label, image[order], label[order])


@pytest.fixture
def noise(tiny_model) -> Noise:
    rng = torch.Generator().manual_seed(3)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    z_prior = torch.randn(SIZE, tiny_model.latent_dim, generator=rng, dtype=torch.float64)
    return Noise(z_prior, uniform(SIZE, 1, 1, 1), uniform(SIZE, 1))


def real(image: torch.Tensor) -> torch.Tensor:
    return image.double() / 127.5 - 1


def gradient(critic, point: torch.Tensor) -> torch.Tensor:
    """The gradient of one sample's score, by itself."""
    point = point.detach()[None].requires_grad_()
    return torch.autograd.grad(critic(point).squeeze(), point, create_graph=True)[0]


def plain_critic_terms(networks: Networks, batch: Batch, noise: Noise) -> dict[str, torch.Tensor]:
    """The two gaps and the two penalties, sample by sample."""
    gaps = {"image": [], "latent": []}
    penalties = {"image": [], "latent": []}
    for i in range(SIZE):
        label = batch.label[i : i + 1]
        z = networks.encoder(real(batch.partner_image[i : i + 1])).detach()
        x_swap = networks.generator(z, label).detach()
        x_real, z_prior = real(batch.image[i : i + 1]), noise.z_prior[i : i + 1]
        score = networks.image_critic(x_real, label) - networks.image_critic(x_swap, label)
        gaps["image"].append(score.squeeze())
        gaps["latent"].append((networks.latent_critic(z_prior) - networks.latent_critic(z)).squeeze())
        e_image, e_latent = noise.image_epsilon[i].item(), noise.latent_epsilon[i].item()
        x_between = e_image * x_real[0] + (1 - e_image) * x_swap[0]
        z_between = e_latent * z_prior[0] + (1 - e_latent) * z[0]
        slopes = {
            "image": gradient(lambda x, label=label: networks.image_critic(x, label), x_between),
            "latent": gradient(networks.latent_critic, z_between),
        }
        for name, slope in slopes.items():
            penalties[name].append((slope.pow(2).sum().sqrt() - 1) ** 2)
    terms = {f"{name}_gap": sum(values) / SIZE for name, values in gaps.items()}
    return terms | {f"{name}_penalty": sum(values) / SIZE for name, values in penalties.items()}


def gradients(loss: torch.Tensor, *modules: nn.Module) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [p for module in modules for p in module.parameters()]))


def assert_all_close(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)


def test_critics_loss_and_gradients_are_those_written_out_by_hand(networks, batch, noise):
    loss, measurements = CriticObjective(networks, WEIGHTS)(batch, noise)
    terms = plain_critic_terms(networks, batch, noise)
    penalty = terms["image_penalty"] + terms["latent_penalty"]
    expected = 7.0 * penalty - terms["image_gap"] - terms["latent_gap"]
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    critics = networks.image_critic, networks.latent_critic
    assert_all_close(gradients(loss, *critics), gradients(expected, *critics))
    for name, value in terms.items():
        torch.testing.assert_close(measurements[f"critic/{name}"], value.detach(), rtol=1e-10, atol=1e-14)


def test_autoencoders_loss_and_gradients_are_those_written_out_by_hand(networks, batch, noise):
    loss, measurements = AutoencoderObjective(networks, WEIGHTS)(batch, noise)
    terms = []
    for i in range(SIZE):
        x, label = real(batch.image[i : i + 1]), batch.label[i : i + 1]
        target = batch.partner_label[i : i + 1]
        z = networks.encoder(x)
        distance = (networks.generator(z, label) - x).abs().sum() / 48  # the root of 48 * 48 values
        image_score = networks.image_critic(networks.generator(z, target), target).squeeze()
        terms.append(torch.stack([distance, image_score, networks.latent_critic(z).squeeze()]))
    reconstruction, image_score, latent_score = sum(terms) / SIZE
    expected = 3.0 * reconstruction - 0.7 * image_score - 0.3 * latent_score
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    players = networks.encoder, networks.generator
    assert_all_close(gradients(loss, *players), gradients(expected, *players))
    found = [
        measurements[f"autoencoder/{name}"] for name in ("reconstruction", "image_score", "latent_score")
    ]
    torch.testing.assert_close(torch.stack(found), (sum(terms) / SIZE).detach(), rtol=1e-10, atol=1e-14)


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
        (AutoencoderObjective, ("encoder", "generator"), ("latent_critic", "image_critic")),
    ],
)
def test_only_the_players_own_networks_are_registered_and_get_gradients(
    networks, batch, noise, objective, own, others
):
    player = objective(networks, WEIGHTS)
    assert [name for name, _ in player.named_children()] == list(own)
    loss, _ = player(batch, noise)
    loss.backward()
    for name in own:
        assert all(p.grad is not None for p in getattr(networks, name).parameters()), name
    for name in others:
        assert all(p.grad is None for p in getattr(networks, name).parameters()), name
    assert all(p.requires_grad for p in networks.parameters())


@pytest.mark.parametrize("objective", [CriticObjective, AutoencoderObjective])
def test_measurements_are_detached_scalars_with_names_of_the_player(networks, batch, noise, objective):
    loss, measurements = objective(networks, WEIGHTS)(batch, noise)
    player = "critic" if objective is CriticObjective else "autoencoder"
    assert measurements[f"{player}/loss"] == loss
    for name, value in measurements.items():
        assert name.startswith(f"{player}/")
        assert value.shape == ()
        assert not value.requires_grad


@pytest.mark.parametrize("objective", [CriticObjective, AutoencoderObjective])
def test_a_batch_without_any_label_gives_a_finite_loss_and_gradients(networks, batch, noise, objective):
    nothing = torch.full((SIZE,), -1)
    unlabelled = batch._replace(label=nothing, partner_label=nothing)
    player = objective(networks, WEIGHTS)
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


@pytest.mark.parametrize("objective", [CriticObjective, AutoencoderObjective])
def test_loss_under_bf16_autocast_stays_near_that_in_full_precision(tiny_model, batch, noise, objective):
    networks = Networks(tiny_model, seed=1)
    single = Noise(*(part.float() for part in noise))
    player = objective(networks, WEIGHTS)
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
    hook = critic.register_forward_hook(lambda _, args, score: calls.append((*args, score.detach().clone())))
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
        assert group["params"] == list(player.objective.parameters())
        assert player.objective.weights is WEIGHTS

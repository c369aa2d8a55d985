"""Pictures without labels in the objectives: a class of their own to critics, and nothing to the rest."""

import pytest
import torch
from torch import nn

from fes.batch import Batch
from fes.data.stream import Stream
from fes.draws import Noise
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from shards.index import ShardIndex
from tests.fes.by_hand import gradients
from tests.fes.made_up import SIZE, real
from tests.fes.untrained import ALL, WEIGHTS, GuidedObjective


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

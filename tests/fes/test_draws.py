"""Random draws are functions of their purpose, and shares are slices of the global draw."""

import numpy as np
import pytest
import torch

from fes.draws import AUGMENTATION_DRAWS, GUIDE_DRAWS, key, noise, numpy_rng, torch_rng


@pytest.mark.parametrize("share", [slice(0, 4), slice(4, 8), slice(6, 8)])
def test_a_share_is_the_slice_of_the_global_draw(share):
    whole, part = noise(3, 11, 8, 5), noise(3, 11, 8, 5, share)
    for of_all, of_share in zip(whole, part, strict=True):
        assert torch.equal(of_all[share], of_share)


def test_noise_has_the_shapes_that_the_objectives_want():
    shapes = [tuple(part.shape) for part in noise(0, 0, 6, 5, slice(0, 3))]
    assert shapes == [(3, 5), (3, 1, 1, 1), (3, 1), (3, AUGMENTATION_DRAWS), (3, GUIDE_DRAWS)]


def test_the_same_step_draws_the_same_whatever_was_drawn_before():
    first = noise(0, 5, 4, 3)
    torch.randn(7)
    noise(0, 6, 4, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, noise(0, 5, 4, 3), strict=True))


@pytest.mark.parametrize(("seed", "step"), [(0, 6), (1, 5)])
def test_another_step_or_seed_draws_otherwise(seed, step):
    for a, b in zip(noise(0, 5, 4, 3), noise(seed, step, 4, 3), strict=True):
        assert not torch.equal(a, b)


def test_the_two_epsilons_differ():
    drawn = noise(0, 0, 16, 2)
    assert not torch.equal(drawn.image_epsilon.flatten(), drawn.latent_epsilon.flatten())


def test_drawing_leaves_the_global_random_states_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    noise(0, 0, 4, 4)
    numpy_rng(0, "x").random(4)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_z_prior_is_standard_normal_and_the_others_are_uniform():
    drawn = noise(0, 0, 4096, 16)
    assert drawn.z_prior.mean().abs() < 0.02
    assert (drawn.z_prior.std() - 1).abs() < 0.02
    columns = [*drawn.augmentation.unbind(1), *drawn.guide.unbind(1)]
    for uniform in (drawn.image_epsilon, drawn.latent_epsilon, *columns):
        assert uniform.min() >= 0
        assert uniform.max() < 1
        assert (uniform.mean() - 0.5).abs() < 0.02
    apart = torch.corrcoef(torch.stack([drawn.image_epsilon.flatten(), *columns])).abs().triu(1)
    assert apart.max() < 0.07


def test_a_key_differs_by_each_of_its_parts_and_their_order():
    parts = [(0, "a", 1), (1, "a", 0), (0, "b", 1), (0, "a", 2), (0, "a", 1, 0), (0, "a1")]
    keys = [key(*each) for each in parts]
    assert len(set(keys)) == len(parts)
    assert all(0 <= each < 2**63 for each in keys)


def test_keys_and_draws_are_the_same_in_every_release_and_on_every_platform():
    assert key(0, "partner", 7) == 3090742640612633429
    assert numpy_rng(0, "partner", 7).permutation(8).tolist() == [3, 4, 6, 5, 0, 2, 1, 7]
    assert torch.randint(1000, (4,), generator=torch_rng(0, "z_prior", 7)).tolist() == [986, 199, 166, 247]


def test_the_noise_of_a_step_never_changes():
    """Else a run that goes on after an update of fes would not be the run it was."""
    drawn = noise(0, 7, 4, 3)
    found = [part.flatten()[1].item() for part in drawn]
    assert found == pytest.approx([0.851331, 0.726408, 0.575602, 0.599583, 0.593179], abs=1e-6)

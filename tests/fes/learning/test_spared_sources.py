"""What spares the source, how much is drawn over and how far it is torn, against closed forms, in float64."""

import pytest
import torch

from fes.learning.losses import paint_error, stiffness, strain_error


def test_paint_pulls_at_each_mask_that_covers_more_than_is_free_and_at_no_other():
    cover = torch.full((4, 1, 12, 12), 0.1, dtype=torch.float64)
    cover[1] = 0.5
    cover[2, :, :6] = 0.7  # 0.4 on the mean
    cover.requires_grad_()
    error = paint_error(cover, 0.2)
    torch.testing.assert_close(error.item(), (0.3 + 0.2) / 4 * 12)
    error.backward()
    norms = torch.linalg.vector_norm(cover.grad.flatten(1), dim=1) * 4
    torch.testing.assert_close(norms, torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64))


FLAT = torch.zeros(1, 1, 48, 48, dtype=torch.float64)


def moving(nodes, **slopes):
    """Displacements [1, 2, nodes, nodes] of those slopes, by what is moved and along what."""
    place = torch.arange(nodes, dtype=torch.float64) / nodes
    along = {"across": place.expand(nodes, nodes), "down": place[:, None].expand(nodes, nodes)}
    moved = [
        sum(slopes.get(f"{what}_{way}", 0.0) * at for way, at in along.items()) for what in ("across", "down")
    ]
    return torch.stack(moved)[None] + 0.05


@pytest.mark.parametrize("nodes", [24, 48])
def test_strain_is_what_is_stretched_sheared_and_swollen_at_any_number_of_nodes(nodes):
    def strain(**slopes):
        return strain_error(moving(nodes, **slopes), FLAT).item() / 0.1  # the stiffness of what has no edges

    assert strain() == pytest.approx(0.0, abs=1e-20)
    assert strain(across_across=-0.3, down_down=0.3) == pytest.approx(2 * 0.3**2)  # of the same area
    assert strain(across_across=-0.3, down_down=0.2) == pytest.approx(0.3**2 + 0.2**2 + 4 * 0.1**2)
    assert strain(across_down=0.1, down_across=0.1) == pytest.approx(2 * 0.1**2)
    assert strain(across_down=0.1, down_across=-0.1) == pytest.approx(2 * 0.1**2 / 4)  # turned


def test_what_strain_costs_counts_twice_at_its_limit_and_as_without_far_below_it():
    def cost(stretched, limit=None):
        aside = {"across_across": stretched, "down_down": -stretched}
        return strain_error(moving(24, **aside), FLAT, limit).item()

    limit = 0.2 * 0.2**0.5  # of 0.2 both ways, where the stiffness is that of what has no edges
    assert cost(0.2, limit) == pytest.approx(2 * cost(0.2))
    assert cost(0.4, limit) == pytest.approx(5 * cost(0.4))
    assert cost(0.002, limit) == pytest.approx(cost(0.002), rel=2e-4)


def test_the_strain_of_a_batch_is_the_mean_of_its_pictures():
    moved = torch.cat([moving(24, across_down=0.3, down_across=0.3), moving(24)])
    torch.testing.assert_close(strain_error(moved, FLAT.repeat(2, 1, 1, 1)).item(), 0.1 * 2 * 0.3**2 / 2)


@pytest.mark.parametrize("limit", [None, 0.2])
def test_a_picture_its_mirror_image_and_one_that_lies_on_its_side_are_strained_alike(limit):
    draws = torch.Generator().manual_seed(0)
    moved = torch.randn(2, 2, 24, 24, generator=draws, dtype=torch.float64) / 100
    source = torch.rand(2, 1, 48, 48, generator=draws, dtype=torch.float64)
    strain = strain_error(moved, source, limit)
    to_the_left = torch.tensor([-1.0, 1.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(strain_error(moved.flip(3) * to_the_left, source.flip(3), limit), strain)
    torch.testing.assert_close(strain_error(moved.flip(1).mT, source.mT, limit), strain)


def test_a_picture_is_stiff_at_its_edges_whatever_its_contrast_and_size():
    for side in (48, 96):
        x = torch.full((1, 3, side, side), -0.5, dtype=torch.float64)
        x[..., side // 2 :] = 0.5  # an edge down the middle
        found = stiffness(x, 24)
        torch.testing.assert_close(stiffness(0.1 * x, 24), found)
        at_edge = found[0, :, 10:14].amax(0) > 1
        assert at_edge.any()
        torch.testing.assert_close(found[0, :, :9], torch.full((24, 9), 0.1, dtype=torch.float64))
        torch.testing.assert_close(found[0, :, 15:], torch.full((24, 9), 0.1, dtype=torch.float64))


def test_what_is_stiff_of_colours_is_what_is_stiff_of_their_grey():
    x = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    grey = (x[:, :1] + x[:, 1:2] + x[:, 2:]) / 3
    torch.testing.assert_close(stiffness(x, 24), stiffness(grey, 24))

"""Pictures that are drawn, or made out of their source: bending against plain loops, and who learns."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor
from torch.nn import functional

from fes.model.drawing import REACH, Drawing, bend, passing


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Of both signs, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def faces(height: int = 8, width: int = 8) -> Tensor:
    return torch.tanh(numbers(2, 3, height, width, seed=4))


def between(row: list[float], place: float) -> float:
    """The value at a place of numbers that stand at 0, 1, 2 and so on, with straight lines between them."""
    place = min(max(place, 0.0), len(row) - 1.0)
    left = min(int(place), len(row) - 2)
    return row[left] + (place - left) * (row[left + 1] - row[left])


def at(picture: list[list[float]], down: float, across: float) -> float:
    return between([between(row, across) for row in picture], down)


def spline(nodes: np.ndarray) -> BSpline:
    """The uniform cubic B-spline of nodes at 0, 1, 2 and so on, the outermost of which go on for ever."""
    on = 3
    return BSpline(np.arange(len(nodes) + 2 * on + 4) - on - 2, np.pad(nodes, on, mode="edge"), 3)


def smoothly(nodes: np.ndarray, down: float, across: float) -> float:
    return spline(np.array([spline(row)(across) for row in nodes]))(down).item()


@pytest.mark.parametrize(("height", "width", "nodes"), [(8, 8, 4), (12, 12, 12), (6, 10, 5)])
def test_each_pixel_is_taken_from_where_the_flow_says(height, width, nodes):
    x, flow = faces(height, width), 2 * numbers(2, 2, nodes, nodes, seed=1)
    found = bend(x, flow)
    assert found.shape == x.shape
    for number in range(2):
        away = (REACH * torch.tanh(4 * flow[number])).numpy()
        for row in range(height):
            for column in range(width):
                node = (row + 0.5) / height * nodes - 0.5, (column + 0.5) / width * nodes - 0.5
                right, below = (smoothly(each, *node) for each in away)
                for channel in range(3):
                    wanted = at(x[number, channel].tolist(), row + below * height, column + right * width)
                    assert found[number, channel, row, column].item() == pytest.approx(wanted, abs=1e-12)


def test_without_a_flow_a_picture_stays_and_with_the_same_everywhere_it_moves():
    x = faces(8, 8)
    torch.testing.assert_close(bend(x, torch.zeros(2, 2, 4, 4, dtype=x.dtype)), x, rtol=0, atol=1e-15)
    half_pixel = math.atanh(1 / 16 / REACH) / 4
    right = torch.tensor([half_pixel, 0.0], dtype=x.dtype).reshape(1, 2, 1, 1).expand(2, 2, 4, 4)
    moved = bend(x, right)
    torch.testing.assert_close(moved[..., :-1], (x[..., :-1] + x[..., 1:]) / 2, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved[..., -1], x[..., -1], rtol=0, atol=1e-12)  # beyond, it is as its border


def test_a_flow_that_is_no_number_is_seen_in_its_own_picture_and_looks_for_no_place_outside():
    x = torch.rand(2, 3, 8, 8)
    flow = torch.zeros(2, 2, 4, 4)
    flow[1] = float("nan")
    still, lost = bend(x, flow)
    torch.testing.assert_close(still, x[0])
    assert lost.isnan().all()


def test_a_bent_picture_has_exact_slopes():
    x, flow = faces(6, 6), 0.3 * numbers(2, 2, 3, 3, seed=1)
    assert torch.autograd.gradcheck(bend, (x.requires_grad_(), flow.requires_grad_()))


def test_places_are_told_in_the_precision_of_pictures_whatever_that_of_the_flow_and_around():
    """Half precision would tell a place among the last nodes to an eighth of one."""
    x = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(4))
    half = (0.3 * numbers(1, 2, 24, 24)).bfloat16()
    shut = Drawing(torch.zeros(1, 1, 48, 48), x, torch.full((1, 1, 48, 48), -200.0), half)
    expected = bend(x, half.float()), shut._replace(flow=half.float()).carried_over(x)
    assert torch.equal(shut.displacement, REACH * torch.tanh(4 * half.float()))
    for around in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            found = bend(x, half), shut.carried_over(x)
        for one, wanted in zip(found, expected, strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, wanted)


def parts(skip: str) -> Drawing:
    """A drawing whose numbers all learn."""
    made = {"drawn": numbers(2, 3, 8, 8, seed=5)}
    if skip != "none":
        made["source"] = faces()
    if skip in ("mask", "warp"):
        made["mask"] = numbers(2, 1, 8, 8, seed=6)
    if skip == "warp":
        made["flow"] = 0.2 * numbers(2, 2, 4, 4, seed=7)
    return Drawing(**{name: value.requires_grad_() for name, value in made.items()})


def test_pictures_are_what_their_kind_says():
    drawn, source, mask, flow = parts("warp")
    share = 0.02 + 0.98 / (1 + (-mask).exp())
    torch.testing.assert_close(Drawing(drawn).picture(), drawn.tanh())
    torch.testing.assert_close(Drawing(drawn, source).picture(), (drawn + (0.99 * source).atanh()).tanh())
    masked = (1 - share) * source + share * drawn.tanh()
    torch.testing.assert_close(Drawing(drawn, source, mask).picture(), masked)
    warped = (1 - share) * bend(source, flow) + share * drawn.tanh()
    torch.testing.assert_close(Drawing(drawn, source, mask, flow).picture(), warped)
    torch.testing.assert_close(Drawing(drawn, None, mask, flow).picture(), drawn.tanh())


@pytest.mark.parametrize("painted", [0.0, 0.2, 1.0])
def test_paint_learns_its_share_and_what_bends_a_source_learns_all(painted):
    drawing = parts("warp")
    whole, some = drawing.picture(), drawing.picture(painted)
    assert torch.equal(whole, some)
    pull = numbers(*whole.shape, seed=8)

    def slopes(picture: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad((picture * pull).sum(), drawing, allow_unused=True)
        return {
            name: torch.zeros_like(of) if each is None else each
            for name, of, each in zip(drawing._fields, drawing, found, strict=True)
        }

    expected, found = slopes(whole), slopes(some)
    for name, slope in expected.items():
        share = painted if name in ("drawn", "mask") else 1.0
        torch.testing.assert_close(found[name], share * slope, rtol=1e-12, atol=1e-15)
        assert slope.abs().max() > 0


@pytest.mark.parametrize("skip", ["none", "residual", "mask"])
def test_where_nothing_bends_all_of_the_pull_reaches_what_is_drawn(skip):
    drawing = parts(skip)
    for painted in (0.0, 1.0):
        (slope,) = torch.autograd.grad(drawing.picture(painted).sum(), drawing.drawn)
        assert slope.abs().max() > 0


def test_halves_are_those_of_the_batch():
    drawing = parts("warp")
    first, second = drawing.halves()
    assert torch.equal(torch.cat([first.picture(), second.picture()]), drawing.picture())
    assert Drawing(drawing.drawn).halves()[1].source is None


def test_a_share_of_a_gradient_passes_and_the_values_do_not_change():
    x = numbers(5).requires_grad_()
    assert torch.equal(passing(x, 0.3), x)
    assert passing(x, 1.0) is x
    (slope,) = torch.autograd.grad(passing(x, 0.3).sum(), x)
    torch.testing.assert_close(slope, torch.full_like(x, 0.3))


@pytest.mark.parametrize("skip", ["none", "residual", "mask", "warp"])
def test_a_mirrored_drawing_draws_the_mirror_image(skip):
    drawing = parts(skip)
    torch.testing.assert_close(drawing.mirrored().picture(), drawing.picture().flip(3), rtol=0, atol=1e-12)
    torch.testing.assert_close(drawing.mirrored().mirrored().picture(), drawing.picture())


def test_an_average_lies_halfway_in_all_that_is_drawn():
    one = parts("warp")
    other = one._replace(drawn=one.drawn + 1, mask=one.mask - 2, flow=one.flow * 3)
    found = one.averaged(other)
    assert torch.equal(found.source, one.source)
    torch.testing.assert_close(found.drawn, one.drawn + 0.5)
    torch.testing.assert_close(found.mask, one.mask - 1)
    torch.testing.assert_close(found.flow, one.flow * 2)
    assert Drawing(one.drawn).averaged(Drawing(one.drawn)).mask is None


def drawing(flow: bool = True, side: int = 8) -> Drawing:
    """Of two grey pictures."""
    source, bends = torch.tanh(numbers(2, 1, side, side, seed=5)), 0.3 * numbers(2, 2, 4, 4, seed=8)
    drawn, mask = numbers(2, 1, side, side, seed=6), numbers(2, 1, side, side, seed=7)
    return Drawing(drawn, source, mask, bends if flow else None)


@pytest.mark.parametrize("flow", [False, True])
def test_a_change_that_is_carried_over_to_its_own_source_is_the_picture(flow):
    one = drawing(flow)
    torch.testing.assert_close(one.carried_over(one.source), one.picture(), rtol=0, atol=1e-14)


def test_a_change_in_colours_is_carried_over_to_its_own_source_in_its_colours():
    one = parts("warp")
    torch.testing.assert_close(one.carried_over(one.source), one.picture(), rtol=0, atol=1e-14)


def test_a_change_of_a_grey_face_is_carried_over_to_each_channel_of_its_colours():
    one = drawing()
    found = one.carried_over(one.source.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, one.picture().expand(-1, 3, -1, -1), rtol=0, atol=1e-14)


def test_a_change_in_colours_of_a_grey_picture_is_their_mean():
    grey = drawing(flow=False)
    tints = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64).reshape(1, 3, 1, 1)
    source = grey.source.expand(-1, 3, -1, -1)
    coloured = Drawing(torch.atanh(torch.tanh(grey.drawn) * tints * 0.6), source, grey.mask)
    plain = Drawing(torch.atanh(torch.tanh(grey.drawn) * 0.6), grey.source, grey.mask)
    found = coloured.carried_over(grey.source)
    torch.testing.assert_close(found, plain.carried_over(grey.source), rtol=0, atol=1e-14)


def test_what_is_fine_goes_as_far_as_it_is_drawn_over_and_what_is_drawn_comes():
    level, drawn, logit = torch.full((1, 1, 4, 4), 0.2), torch.full((1, 1, 4, 4), -0.7), 0.4
    grain = 0.1 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)  # of each cell's mean 0
    one = Drawing(torch.atanh(drawn), level, torch.full((1, 1, 4, 4), logit), torch.zeros(1, 2, 4, 4))
    cover = one.cover[0, 0, 0, 0]
    found = one.carried_over(0.2 + grain[None, None])
    wanted = 0.2 + (1 - cover) * grain + cover * (-0.7 - 0.2)
    torch.testing.assert_close(found[0, 0], wanted, rtol=0, atol=1e-6)


def test_what_is_fine_moves_as_its_source_does():
    right = torch.tensor([math.atanh(1 / 8 / REACH * 0.9), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4) / 4
    shut = torch.full((1, 1, 8, 8), -30.0)
    fine = torch.tanh(numbers(1, 3, 32, 32, seed=2)).float()
    found = Drawing(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), shut, right).carried_over(fine)
    moved = bend(fine, right)
    assert (found - moved).abs().max() < 0.1  # a mask is never quite shut
    assert (found - fine).abs().max() > 0.5


def test_a_change_arrives_as_far_as_it_is_let():
    one, fine = drawing(), torch.tanh(numbers(2, 3, 24, 24, seed=3))
    assert torch.equal(one.carried_over(fine, torch.ones(24, 24)), one.carried_over(fine))
    found = one.carried_over(fine, torch.zeros(24, 24))
    torch.testing.assert_close(found, fine, rtol=0, atol=1e-14)
    half = torch.ones(24, 24)
    half[:, :12] = 0
    found = one.carried_over(fine, half)
    torch.testing.assert_close(found[..., :12], fine[..., :12], rtol=0, atol=1e-14)
    assert torch.equal(found[..., 12:], one.carried_over(fine)[..., 12:])


def test_to_a_picture_with_fewer_pixels_a_change_comes_as_its_mean():
    one = drawing(flow=False, side=48)
    coarse = functional.avg_pool2d(one.source, 3)
    tinted = torch.tanh(one.drawn) - one.source + functional.interpolate(coarse, (48, 48), mode="bicubic")
    laid_over, cover = functional.avg_pool2d(one.cover * tinted, 3), functional.avg_pool2d(one.cover, 3)
    wanted = (1 - cover) * coarse + laid_over
    torch.testing.assert_close(one.carried_over(coarse), wanted, rtol=0, atol=1e-12)


def test_what_is_drawn_behind_a_shut_mask_does_not_shine_through_beside_an_open_one():
    source, mask = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), -30.0)
    mask[..., :4] = 2.0
    drawn = torch.where(mask > 0, 0.0, 10.0)  # white, behind a mask that is shut
    found = Drawing(drawn, source, mask).carried_over(torch.zeros(1, 1, 64, 64))
    assert found.abs().max() < 0.03


@pytest.mark.parametrize("size", [(50, 50), (61, 40)])
def test_photographs_are_bent_at_once_as_faces_that_learn_are(size):
    one = drawing()._replace(mask=torch.full((2, 1, 8, 8), -200.0, dtype=torch.float64))
    fine = torch.tanh(numbers(2, 3, *size, seed=3))
    tinted = torch.tanh(one.drawn) - bend(one.source, one.flow)
    tinted = tinted + bend(functional.interpolate(fine, (8, 8), mode="area"), one.flow)
    laid_over = functional.interpolate(0.02 * tinted, size, mode="bicubic")
    wanted = 0.98 * bend(fine, one.flow) + laid_over
    torch.testing.assert_close(one.carried_over(fine), wanted, rtol=0, atol=1e-12)


def test_half_of_a_change_moves_half_as_far():
    right = torch.full((1, 2, 4, 4), math.atanh(1 / 4 / REACH * 0.4) / 4, dtype=torch.float64)
    right[:, 1] = 0
    shut = torch.full((1, 1, 8, 8), -200.0, dtype=torch.float64)
    ramp = torch.linspace(-0.5, 0.5, 40, dtype=torch.float64).expand(1, 1, 40, 40)
    one = Drawing(torch.zeros_like(shut), torch.zeros_like(shut), shut, right)
    whole, half = (one.carried_over(ramp, torch.full((40, 40), share)) for share in (1.0, 0.5))
    inside = (..., slice(8, 30))
    moved = [(found - ramp)[inside].mean().item() for found in (whole, half)]
    assert moved[0] > 0.05
    assert moved[1] == pytest.approx(moved[0] / 2, rel=0.05)


def test_nothing_is_carried_over_where_all_is_drawn():
    with pytest.raises(ValueError, match="nothing of its source"):
        Drawing(numbers(1, 1, 8, 8)).carried_over(faces()[:1, :1])


def test_drawings_of_a_batch_are_taken_apart():
    one = drawing(flow=False)
    first, second = one.apart()
    torch.testing.assert_close(torch.cat([first.picture(), second.picture()]), one.picture())
    assert first.flow is None

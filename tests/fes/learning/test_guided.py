"""A guide pulls as far as real faces go, and no face harder than it may."""

import torch
from torch import Tensor

from fes.config import LossConfig
from fes.learning.guided import guided_error

LABEL = torch.tensor([0, 0, 0, -1])


def read(x: Tensor) -> Tensor:
    """Logits of two classes: the first pixel, and 0."""
    return torch.stack([x[:, 0, 0, 0], torch.zeros_like(x[:, 0, 0, 0])], 1)


def faces(*clear: float) -> Tensor:
    """Pictures of 2x2 in which the first class shows so clearly."""
    x = torch.zeros(len(clear), 1, 2, 2, dtype=torch.float64)
    x[:, 0, 0, 0] = torch.tensor(clear, dtype=torch.float64)
    return x


def refuse() -> Tensor:
    raise AssertionError("partners are not needed")


def pulled(weights: LossConfig, drawn: Tensor, partners) -> list[float]:
    """How strongly each face is pulled towards its class."""
    x = drawn.clone().requires_grad_()
    error, _ = guided_error(weights, read, x, x, partners, LABEL)
    (gradient,) = torch.autograd.grad(error, x)
    return [-value * len(x) for value in gradient[:, 0, 0, 0].tolist()]


def test_without_a_margin_every_labelled_face_is_pulled_and_partners_are_not_looked_at():
    drawn = faces(-1.0, 0.0, 2.0, 0.0)
    found = pulled(LossConfig(), drawn, refuse)
    expected = (1 - drawn[:, 0, 0, 0].sigmoid()) * (LABEL >= 0)  # of -log sigmoid
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected)


def test_a_face_that_is_as_clear_as_its_partner_is_left_alone_and_a_margin_asks_for_more():
    drawn, partners = faces(-1.0, 0.0, 2.0, 0.0), faces(1.0, -0.5, 1.9, 0.0)

    def at(margin: float) -> list[bool]:
        return [pull > 0 for pull in pulled(LossConfig(guide_margin=margin), drawn, lambda: partners)]

    assert at(0.0) == [True, False, False, False]
    assert at(0.1) == [True, False, True, False]  # -log sigmoid: 0.127 beside 0.139 less 0.1
    assert at(1.0) == [True, True, True, False]


def test_a_face_whose_partner_is_unclear_is_pulled_until_it_is_clear_itself():
    drawn, partners = faces(-1.0, 0.0, 2.0, 0.0), faces(1.0, -3.0, -3.0, 0.0)

    def at(clear: float | None) -> list[bool]:
        weights = LossConfig(guide_margin=0.0, guide_clear=clear)
        return [pull > 0 for pull in pulled(weights, drawn, lambda: partners)]

    assert at(None) == [True, False, False, False]
    assert at(0.4) == [True, True, False, False]  # -log sigmoid: 0.693 and 0.127
    assert at(0.1) == [True, True, True, False]
    assert at(0.0) == [True, True, True, False]  # a bound like others: what is bounded by 0 is never clear


def test_a_limit_shortens_only_what_exceeds_it():
    found = pulled(LossConfig(guide_limit=0.4), faces(-5.0, 0.0, 2.0, 0.0), refuse)
    torch.testing.assert_close(found, [0.4, 0.4, 1 - torch.tensor(2.0).sigmoid().item(), 0.0])


def test_the_share_of_faces_read_as_asked_is_told():
    for x, share in ((faces(1.0, 1.0, -1.0, 1.0), 0.5), (faces(1.0, -1.0, -1.0, -1.0), 0.25)):
        _, accuracy = guided_error(LossConfig(), read, x, x, refuse, LABEL)
        assert accuracy.item() == share  # the last has no label, and counts as misread

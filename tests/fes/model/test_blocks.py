"""What the generator normalises by class is what each sample's groups say, whatever is beside it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fes.model.blocks import CONDITIONS, ConditionalUnit, norm

FEATURES = 16  # two groups
LABEL = torch.tensor([3, -1, 0])
WEIGHTS = torch.rand(3, CONDITIONS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_hand(unit: ConditionalUnit, x: Tensor, label: Tensor) -> Tensor:
    """One sample and one group after the other."""
    samples = []
    for sample, condition in zip(x, label, strict=True):
        weights = unit.affine.weight
        row = weights[condition] if condition.ndim == 0 else condition @ weights  # -1 is the last one
        normalised = []
        for group in sample.split(FEATURES // 2):
            variance = group.var(correction=0)
            normalised.append((group - group.mean()) / (variance + 1e-5).sqrt())
        h = torch.cat(normalised) * row[:FEATURES, None, None] + row[FEATURES:, None, None]
        samples.append(functional.leaky_relu(h, 0.2))
    return torch.stack(samples)


@pytest.mark.parametrize("label", [LABEL, WEIGHTS], ids=["classes", "weights"])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("samples", "side"), [(3, 6), (3, 3), (1, 6)])
def test_a_unit_normalises_groups_and_scales_and_shifts_them_by_class(label, order, samples, side):
    torch.manual_seed(0)
    unit, label = ConditionalUnit(FEATURES).double(), label[:samples]
    x = torch.randn(samples, FEATURES, side, side, dtype=torch.float64)
    x = x.to(memory_format=order).requires_grad_()
    found, expected = unit(x, label), by_hand(unit, x, label)
    torch.testing.assert_close(found, expected)
    pulled = torch.randn_like(found)
    learning = [x, unit.affine.weight]
    gradients = (torch.autograd.grad(each, learning, pulled) for each in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_under_autocast_it_normalises_and_answers_in_float32():
    torch.manual_seed(0)
    unit, x = ConditionalUnit(FEATURES), torch.randn(3, FEATURES, 6, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = unit(x, LABEL)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, unit(x.float(), LABEL), rtol=0, atol=0)


@pytest.mark.parametrize(("features", "groups"), [(4, 1), (8, 1), (16, 2), (17, 1), (20, 2), (36, 4)])
def test_any_number_of_features_can_be_normalised(features, groups):
    assert norm(features).num_groups == ConditionalUnit(features).groups == groups

"""What the generator normalises by class is what each sample's groups say, whatever is beside it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fes.blocks import CONDITIONS, ConditionalUnit

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
def test_a_conditional_unit_normalises_groups_and_scales_and_shifts_them_by_class(label, order):
    torch.manual_seed(0)
    unit = ConditionalUnit(FEATURES).double()
    x = torch.randn(3, FEATURES, 6, 6, dtype=torch.float64).to(memory_format=order).requires_grad_()
    found, expected = unit(x, label), by_hand(unit, x, label)
    torch.testing.assert_close(found, expected)
    pulled = torch.randn_like(found)
    learning = [x, unit.affine.weight]
    gradients = (torch.autograd.grad(each, learning, pulled) for each in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)

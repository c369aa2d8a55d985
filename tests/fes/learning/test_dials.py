"""Dials: where measurements move them, how far, and that they go on from a state."""

import io

import pytest
import torch

from fes.config import AugmentConfig, LossConfig
from fes.draws import noise
from fes.learning.adaptive import AdaptiveStrength
from fes.learning.augment import augment
from fes.learning.dials import MOST, Dials

BALANCED = LossConfig(balance=True)


def pulls(**values: float) -> dict[str, torch.Tensor]:
    return {f"pull/{name}": torch.tensor(value) for name, value in values.items()}


def alone(value: torch.Tensor) -> torch.Tensor:
    return value


def gaps(train: float, held_out: float) -> dict[str, torch.Tensor]:
    return {"critic/image_gap": torch.tensor(train), "critic/held_out_gap": torch.tensor(held_out)}


def test_scales_are_the_inverse_of_a_smoothed_pull_that_begins_with_the_first():
    dials, mean = Dials(BALANCED), None
    assert dials.scale("cycle") == 1.0
    for pull in (0.5, 2.0, 1.0, 0.25):
        dials.update(pulls(cycle=pull), alone, 1)
        mean = pull if mean is None else 0.9 * mean + 0.1 * pull
        torch.testing.assert_close(dials.scale("cycle").item(), 1 / mean, rtol=1e-14, atol=0)
    assert dials.scale("image") == 1.0  # it was never measured


def test_scales_are_bounded_on_both_sides_and_finite_where_a_term_pulls_not_at_all():
    dials = Dials(BALANCED)
    dials.update(pulls(expression=0.0, cycle=1e-9, image=1e9, feature=0.5), alone, 1)
    found = {name: float(dials.scale(name)) for name in ("expression", "cycle", "image", "feature")}
    assert found == {"expression": MOST, "cycle": MOST, "image": 1 / MOST, "feature": 2.0}
    assert MOST == 10  # as `loss.balance` tells people


def test_terms_that_do_not_pull_at_pictures_and_terms_without_balance_stay_as_they_are():
    balanced, plain = Dials(BALANCED), Dials(LossConfig())
    for dials in (balanced, plain):
        dials.update(pulls(latent=0.5, paint=0.5, strain=0.5, image=0.5), alone, 1)
    assert [float(balanced.scale(name)) for name in ("latent", "paint", "strain", "image")] == [1, 1, 1, 2]
    assert plain.scale("image") == 1.0


def test_dials_move_by_the_mean_over_ranks():
    dials = Dials(BALANCED, AugmentConfig(adapt_kimg=1.0, strength=0.5))
    dials.update(pulls(image=0.5), lambda value: value + 1.5, 1)
    torch.testing.assert_close(dials.scale("image").item(), 0.5)
    # By this rank's own the held-out pictures are worth as much as those trained on, by all ranks' less.
    dials.update(gaps(1.0, 1.0), lambda value: value - torch.tensor([0.0, 0.9]), 100)
    torch.testing.assert_close(dials.strength.item(), 0.6)
    # On the target, and by less than single precision tells beside it: means are taken in double.
    dials.update(gaps(1.0, 0.5), lambda value: value + torch.tensor([0.0, 1e-9]), 100)
    torch.testing.assert_close(dials.strength.item(), 0.5)


def test_the_strength_moves_as_adaptive_strength_does_and_only_by_steps_that_saw_held_out_pictures():
    dials = Dials(LossConfig(), AugmentConfig(adapt_kimg=0.5, strength=0.4))
    plain = AdaptiveStrength(0.5, 0.4)
    seen = []
    for train, held_out in ((2.0, 0.0), (2.0, 0.5), (0.5, 0.4), (-1.0, -1.0)):
        told = gaps(train, held_out)
        known = dials.update(told, alone, 36)
        expected = plain.update(torch.tensor(train), torch.tensor(held_out), 36)
        assert known["augment/overfitting"] == pytest.approx(expected.item())
        assert torch.equal(dials.strength, plain.strength)
        assert torch.equal(known["augment/strength"], plain.strength)
        seen.append(dials.strength.item())
        del told["critic/held_out_gap"]
        assert dials.update(told, alone, 36) == {}
        assert dials.strength.item() == seen[-1]
    assert len(set(seen)) > 2


def test_augmentation_follows_the_strength():
    drawn = noise(0, 0, 4, 8)
    x = torch.rand(4, 1, 48, 48) * 2 - 1
    assert torch.equal(Dials(LossConfig()).augmented(x, drawn), x)
    fixed = Dials(LossConfig(), AugmentConfig(strength=0.7))
    assert not fixed.adapts
    expected = augment(x, drawn.augmentation, 0.7)
    assert not torch.equal(expected, x)
    assert torch.equal(fixed.augmented(x, drawn), expected)
    moving = Dials(LossConfig(), AugmentConfig(strength=0.7, adapt_kimg=1.0))
    assert moving.adapts
    assert torch.equal(moving.augmented(x, drawn), expected)
    moving.update(gaps(1.0, 1.0), alone, 500)
    torch.testing.assert_close(moving.strength.item(), 0.2)
    assert torch.equal(moving.augmented(x, drawn), augment(x, drawn.augmentation, 0.2))
    assert not torch.equal(moving.augmented(x, drawn), expected)


def test_dials_move_where_weights_balance_themselves_or_the_strength_adapts():
    fixed, adaptive = AugmentConfig(strength=0.7), AugmentConfig(adapt_kimg=1.0)
    assert not Dials(LossConfig(), fixed).move
    assert Dials(LossConfig(), adaptive).move
    assert Dials(BALANCED, fixed).move


def test_dials_go_on_from_a_state_with_the_same_bits():
    setting = AugmentConfig(adapt_kimg=0.5, strength=0.4)

    def move(dials: Dials, numbers: range) -> Dials:
        for number in numbers:
            dials.update(pulls(image=0.3 + number / 7, cycle=1.1 ** (-number)), alone, 1)
            dials.update(gaps(1.5, 0.5 + number % 2), alone, 36)
        return dials

    whole, stopped = move(Dials(BALANCED, setting), range(7)), move(Dials(BALANCED, setting), range(4))
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    resumed = Dials(BALANCED, setting)
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    move(resumed, range(4, 7))
    for name in ("image", "cycle"):
        assert torch.equal(resumed.scale(name), whole.scale(name))
    assert torch.equal(resumed.strength, whole.strength)


def test_a_state_does_not_follow_later_moves():
    dials = Dials(BALANCED, AugmentConfig(adapt_kimg=0.5, strength=0.4))
    dials.update(pulls(image=0.5), alone, 1)
    state = dials.state_dict()
    before = dict(state["pulls"])
    dials.update(pulls(image=5.0), alone, 1)
    assert torch.equal(state["pulls"]["image"], before["image"])


def test_a_state_from_before_balance_or_adaptive_strength_may_be_gone_on_from():
    dials = Dials(BALANCED, AugmentConfig(adapt_kimg=0.5, strength=0.4))
    dials.load_state_dict(Dials(LossConfig()).state_dict())
    assert dials.scale("image") == 1.0
    torch.testing.assert_close(dials.strength.item(), 0.4)

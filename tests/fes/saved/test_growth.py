"""Networks taken over from another run: the same pictures at first, for other sizes and colours."""

import dataclasses
import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from fes.config import Config, ModelConfig
from fes.errors import InputError
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.saved.growth import Taken, read_other, table, take_over, told
from fes.saved.snapshot import save_snapshot, snapshot_path
from fes.saved.state import Parts, save_state

KINDS = list(itertools.product(("strided", "residual"), ("none", "features", "residual", "mask", "warp")))
LABEL = torch.tensor([0, 6, -1])


def a_run(config: Config, model: ModelConfig) -> Networks:
    """Writes a snapshot and a state of networks that have learnt something; returns the networks."""
    config = dataclasses.replace(config, model=model)
    config.run.mkdir()
    networks = Networks(model, seed=3)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    ema = Ema(networks, 20.0)
    save_snapshot(snapshot_path(config.run, 1.0), ema, config, 1.0, {})
    about = {"step": 3, "kimg": 1.0, "config": config, "fingerprint": "data"}
    save_state(config.run, Parts(networks, ema.average, {}), {}, **about)
    return networks


def grown(config: Config, model: ModelConfig) -> tuple[Networks, list[Taken]]:
    networks = Networks(model, seed=0)
    return networks, take_over(networks, read_other(config.run), model)


def pictures(channels: int, resolution: int) -> Tensor:
    shape = len(LABEL), channels, resolution, resolution
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) * 1.9 - 0.95


def drawn(networks: Networks, x: Tensor) -> Tensor:
    with torch.no_grad():
        return networks.generator(networks.encoder(x), LABEL)


def enlarged(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor)


def assert_draws_as(new: Networks, old: Networks, small: Tensor, x: Tensor) -> None:
    """Of `x`, `small` enlarged, the new network draws what the old one draws of `small`, enlarged."""
    factor = x.shape[-1] // small.shape[-1]
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-5)
    with torch.no_grad():
        before, now = (
            each.generator.drawing(each.encoder(of), LABEL) for each, of in ((old, small), (new, x))
        )
    if before.flow is None:
        close(now.picture(), enlarged(before.picture(), factor).expand_as(x))
        return
    # What is bent is the large picture itself, with its own detail, not the small one in squares.
    close(now.flow, before.flow)
    close(now.drawn, enlarged(before.drawn, factor).expand_as(x))
    close(now.mask, enlarged(before.mask, factor))
    assert before.flow.tanh().abs().max() > 0.01


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(("blocks", "skip"), KINDS)
def test_a_grown_network_draws_at_first_what_the_old_one_draws_enlarged(
    tiny_config, tiny_model, blocks, skip, factor
):
    model = dataclasses.replace(tiny_model, blocks=blocks, skip=skip)
    old = a_run(tiny_config, model)
    new, _ = grown(tiny_config, dataclasses.replace(model, resolution=48 * factor))
    small = pictures(1, 48)
    assert_draws_as(new, old, small, enlarged(small, factor))
    with torch.no_grad():
        score = new.image_critic(enlarged(small, factor), LABEL).score
        torch.testing.assert_close(score, old.image_critic(small, LABEL).score, rtol=0, atol=1e-5)
        logits = new.image_critic.head(enlarged(small, factor))
        torch.testing.assert_close(logits, old.image_critic.head(small), rtol=0, atol=1e-5)


@pytest.mark.parametrize("skip", ["none", "features", "mask"])
def test_of_any_large_picture_the_grown_network_draws_what_the_old_one_does_of_its_means(
    tiny_config, tiny_model, skip
):
    model = dataclasses.replace(tiny_model, skip=skip)
    old = a_run(tiny_config, model)
    new, _ = grown(tiny_config, dataclasses.replace(model, resolution=96))
    x = pictures(1, 96)
    means = functional.avg_pool2d(drawn(new, x), 2)
    torch.testing.assert_close(means, drawn(old, functional.avg_pool2d(x, 2)), rtol=0, atol=1e-5)
    if skip == "mask":  # what the mask lets through keeps the detail of the large picture
        assert (drawn(new, x) - enlarged(means, 2)).abs().max() > 0.01


@pytest.mark.parametrize("blocks", ["strided", "residual"])
def test_a_grown_network_that_bends_a_large_picture_draws_nearly_what_the_old_one_draws_of_its_means(
    tiny_config, tiny_model, blocks
):
    """A picture is bent with the detail that it has, and its means are not quite the bent means."""
    model = dataclasses.replace(tiny_model, blocks=blocks, skip="warp")
    old = a_run(tiny_config, model)
    new, _ = grown(tiny_config, dataclasses.replace(model, resolution=96))
    x = functional.interpolate(pictures(1, 6), size=96, mode="bicubic").clamp(-1, 1)
    means, wanted = functional.avg_pool2d(drawn(new, x), 2), drawn(old, functional.avg_pool2d(x, 2))
    assert (means - wanted).abs().mean() < 0.015
    assert (means - functional.avg_pool2d(x, 2)).abs().mean() > 0.1


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("blocks", "skip"), KINDS)
def test_grey_weights_serve_three_equal_colours_and_the_other_way_round(
    tiny_config, tiny_model, blocks, skip, factor
):
    grey = dataclasses.replace(tiny_model, blocks=blocks, skip=skip)
    colour = dataclasses.replace(grey, channels=3, resolution=48 * factor)
    old = a_run(tiny_config, grey)
    new, rows = grown(tiny_config, colour)
    small = pictures(1, 48)
    x = enlarged(small, factor).expand(-1, 3, -1, -1)
    assert_draws_as(new, old, small, x)
    with torch.no_grad():
        score = new.image_critic(x, LABEL).score
    torch.testing.assert_close(score, old.image_critic(small, LABEL).score, rtol=0, atol=1e-5)
    assert sum(row.fate == "resized" for row in rows) == 5  # three weights and a bias at pictures, the head's

    save_snapshot(tiny_config.run / "colour.safetensors", Ema(new, 20.0), _with(tiny_config, colour), 2.0, {})
    back = Networks(dataclasses.replace(grey, resolution=48 * factor), seed=0)
    other = read_other(tiny_config.run / "colour.safetensors")
    if factor == 1:
        take_over(back, other, dataclasses.replace(grey, resolution=48))
        assert_draws_as(back, old, small, small)


def test_what_draws_three_colours_draws_their_mean_in_grey_and_its_mask_stays(tiny_config, tiny_model):
    colour = dataclasses.replace(tiny_model, channels=3, skip="mask")
    there = a_run(tiny_config, colour).generator.to_image
    here = grown(tiny_config, dataclasses.replace(colour, channels=1))[0].generator.to_image
    red, green, blue, mask = there.bias.detach()
    assert len({red.item(), green.item(), blue.item()}) == 3
    torch.testing.assert_close(here.bias.detach(), torch.stack([(red + green + blue) / 3, mask]))
    red, green, blue, mask = there.weight.detach().unbind(1)
    torch.testing.assert_close(here.weight.detach(), torch.stack([(red + green + blue) / 3, mask], 1))


def test_what_draws_three_colours_without_a_mask_draws_their_mean_in_grey(tiny_config, tiny_model):
    colour = dataclasses.replace(tiny_model, channels=3)
    there = a_run(tiny_config, colour).generator.to_image
    here = grown(tiny_config, dataclasses.replace(colour, channels=1))[0].generator.to_image
    assert len({*there.bias.tolist()}) == 3
    torch.testing.assert_close(here.bias.detach(), there.bias.detach().mean()[None])
    torch.testing.assert_close(here.weight.detach(), there.weight.detach().mean(1, keepdim=True))


def test_critics_are_those_of_the_newest_state(tiny_config, tiny_model):
    networks = a_run(tiny_config, tiny_model)
    with torch.no_grad():
        networks.image_critic.class_weight.weight.fill_(7.0)
    config = dataclasses.replace(tiny_config, model=tiny_model)
    about = {"step": 6, "kimg": 2.0, "config": config, "fingerprint": "data"}
    save_state(config.run, Parts(networks, Ema(networks, 20.0).average, {}), {}, **about)
    new, _ = grown(tiny_config, tiny_model)
    assert (new.image_critic.class_weight.weight == 7.0).all()


def _with(config: Config, model: ModelConfig) -> Config:
    return dataclasses.replace(config, model=model)


def test_every_tensor_is_in_the_table_once_with_what_became_of_it(tiny_config, tiny_model):
    model = dataclasses.replace(tiny_model, skip="mask")
    old = a_run(tiny_config, model)
    new, rows = grown(tiny_config, dataclasses.replace(model, resolution=96))
    here, there = new.state_dict(), old.state_dict()
    assert [row.name for row in rows] == list(
        here
    )  # nothing is left out: the edges are the layers at pictures
    for row in rows:
        assert row.here == tuple(here[row.name].shape)
        if row.fate == "copied" and ".edges." not in row.name:
            assert torch.equal(here[row.name], there[row.name])
    fates = {row.name: row.fate for row in rows}
    assert fates["encoder.features.edges.48.weight"] == "copied"
    assert (
        fates["encoder.features.from_image.weight"]
        == fates["generator.blocks.block48.upsample.weight"]
        == "new"
    )
    assert fates["generator.joins.block48.weight"] == "new"
    assert fates["latent_critic.layers.0.weight"] == fates["generator.joins.block24.weight"] == "copied"
    lines = table(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert (
        lines[-1]
        == told(rows)
        == f"{sum(each == 'copied' for each in fates.values())} copied, 0 resized, "
        + (f"{sum(each == 'new' for each in fates.values())} new, 0 left out")
    )


def test_a_snapshot_alone_leaves_the_critics_new_and_what_still_faded_in_there_is_left_out(
    tiny_config, tiny_model
):
    a_run(tiny_config, tiny_model)
    large = dataclasses.replace(tiny_model, resolution=96)
    middle, _ = grown(tiny_config, large)
    file = tiny_config.run / "fading.safetensors"
    save_snapshot(file, Ema(middle, 20.0), _with(tiny_config, large), 2.0, {})
    networks = Networks(large, seed=0)
    rows = take_over(networks, read_other(file), large)
    assert {row.fate for row in rows if "_critic" in row.name} == {"new"}
    assert {row.name for row in rows if row.fate == "left out"} == {
        "encoder.features.edges.48.weight",
        "encoder.features.edges.48.bias",
        "generator.edges.48.weight",
        "generator.edges.48.bias",
    }


def test_weights_of_half_precision_can_be_taken(tiny_config, tiny_model):
    from fes.saved.snapshot import export_snapshot

    old = a_run(tiny_config, tiny_model)
    export_snapshot([tiny_config.run], tiny_config.run / "half.safetensors")
    networks = Networks(tiny_model, seed=0)
    take_over(networks, read_other(tiny_config.run / "half.safetensors"), tiny_model)
    x = pictures(1, 48)
    torch.testing.assert_close(drawn(networks, x), drawn(old, x), rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("there", "here", "sentence"),
    [
        (
            {"max_features": 64, "skip": "mask"},
            {},
            "has networks of another make, which cannot be bridged: give --model.skip mask "
            "--model.max-features 64, as it has",
        ),
        (
            {"latent_dim": 16},
            {},
            "another make, which cannot be bridged: give --model.latent-dim 16, as it has",
        ),
        (
            {"blocks": "residual"},
            {},
            "another make, which cannot be bridged: give --model.blocks residual, as",
        ),
        (
            {"latent_critic_features": 8},
            {},
            "make, which cannot be bridged: give --model.latent-critic-features 8",
        ),
        ({"resolution": 96}, {}, "has networks for 96 px, more than --model.resolution 48"),
        (
            {},
            {"resolution": 64},
            "has networks for 48 px, which do not double to --model.resolution 64: take 96, 192 and so on",
        ),
        (
            {"min_features": 16},
            {"min_features": 8},
            "is (16, 1, 4, 4) there and (8, 1, 4, 4) here, which cannot be bridged: give "
            "--model.min-features 16, as it has",
        ),
        (
            {"min_features": 16, "skip": "warp"},
            {"min_features": 8},
            "cannot be bridged: give --model.skip warp --model.min-features 16, as it has",
        ),
    ],
)
def test_what_cannot_be_bridged_is_one_sentence(tiny_config, tiny_model, there, here, sentence):
    a_run(tiny_config, dataclasses.replace(tiny_model, **there))
    with pytest.raises(InputError) as told_to_user:
        grown(tiny_config, dataclasses.replace(tiny_model, **here))
    assert str(told_to_user.value).startswith(f"--init-from {tiny_config.run}")
    assert sentence in str(told_to_user.value)


def test_what_is_no_run_and_no_snapshot_is_one_sentence(tiny_config, tmp_path: Path):
    with pytest.raises(InputError, match="no snapshot and no run at"):
        read_other(tmp_path / "none")
    file = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    assert load_file(file)
    with pytest.raises(InputError, match="not a snapshot that fes made"):
        read_other(file)
    assert read_other(None) is None

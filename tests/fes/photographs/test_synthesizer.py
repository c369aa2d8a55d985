"""One face in, seven expressions out, or one expression by degrees."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from torch import nn
from torch.nn import functional

from fes.batch import to_float, to_uint8
from fes.config import Config, ModelConfig
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.photographs.photograph import Fine, Photograph
from fes.photographs.synthesizer import STRENGTHS, Synthesizer, all_expressions, between, synthesize
from fes.pictures import sheet
from fes.saved.snapshot import Snapshot, export_snapshot, load_snapshot, save_snapshot
from shards.drawing.faces import render

CLASSES = len(EXPRESSIONS)
HAPPY, SAD = EXPRESSIONS.index("happy"), EXPRESSIONS.index("sad")


class Shift(nn.Module):
    """A generator whose classes can be told apart: each adds its label times ten to the grey."""

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        if label.is_floating_point():
            label = label @ torch.arange(CLASSES + 1.0)
        return z + label.reshape(-1, 1, 1, 1) * 10 / 127.5


@pytest.fixture
def faces() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 180, (3, 1, 48, 48), dtype=torch.uint8, generator=rng)


@pytest.fixture
def shifting(tiny_model) -> Synthesizer:
    return Synthesizer(Snapshot(nn.Identity(), Shift(), tiny_model, 1.0, {}))


@pytest.fixture(scope="module")
def trained(drawn_index, drawn_judge, tiny_model) -> Networks:
    """Encoder and generator that have learnt for some seconds how drawn people look with each expression,
    from their true pictures and the judge."""
    split = drawn_index.split("train")
    numbers = np.unique([split.details(p)["numbers"] for p in range(split.samples)], axis=0)
    drawn = render(np.repeat(numbers, CLASSES, 0), np.tile(np.arange(CLASSES), len(numbers)), 48)
    x = to_float(torch.from_numpy(rearrange(drawn, "(p e) h w c -> p e c h w", e=CLASSES)))
    networks, rng = Networks(tiny_model, seed=0), torch.Generator().manual_seed(0)
    weights = [*networks.encoder.parameters(), *networks.generator.parameters()]
    optimiser = torch.optim.Adam(weights, 1e-2)
    for _ in range(80):
        person = torch.randint(len(x), (16,), generator=rng)
        shown, label = torch.randint(CLASSES, (2, 16), generator=rng)
        made = networks.generator(networks.encoder(x[person, shown]), label)
        loss = (made - x[person, label]).abs().mean() + 0.3 * functional.cross_entropy(
            drawn_judge(made), label
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return networks


@pytest.fixture(scope="module")
def held_out(drawn_index) -> tuple[torch.Tensor, torch.Tensor]:
    """Every other face of the test, uint8 [n, 1, 48, 48], and what they show, int64 [n]."""
    split = drawn_index.split("test")
    faces = np.stack([split.image(position) for position in range(0, split.samples, 2)])
    return torch.from_numpy(faces), torch.tensor(split.labels[::2], dtype=torch.int64)


def test_pictures_go_through_encoder_and_generator(snapshot_file, faces):
    snapshot = Synthesizer.load(snapshot_file).snapshot
    label = torch.tensor([0, 3, 6])
    drawn = synthesize(snapshot.encoder, snapshot.generator, faces, label)
    assert (drawn.dtype, drawn.shape) == (torch.uint8, faces.shape)
    with torch.no_grad():
        expected = to_uint8(snapshot.generator(snapshot.encoder(to_float(faces)), label))
    assert torch.equal(drawn, expected)


def test_all_expressions_stand_after_their_source_in_the_order_of_the_classes(shifting, faces):
    rows = all_expressions(shifting.snapshot.encoder, shifting.snapshot.generator, faces)
    assert rows.shape == (3, 8, 1, 48, 48)
    assert torch.equal(rows[:, 0], faces)
    for label in range(len(EXPRESSIONS)):
        assert torch.equal(rows[:, 1 + label], faces + 10 * label)


def test_one_expression_of_one_face(shifting, faces):
    picture = faces[0].numpy()
    assert np.array_equal(shifting.one(picture, 4), picture + 40)


@pytest.mark.parametrize("label", [-1, 7])
def test_an_expression_that_is_none_is_refused(shifting, faces, label):
    with pytest.raises(InputError, match=f"no expression has the number {label}"):
        shifting.one(faces[0].numpy(), label)


def centres(page: Image.Image) -> list[int]:
    """The grey in the middle of each tile of a row."""
    greys = np.asarray(page)
    return [int(greys[18 + 72, left + 72]) for left in range(0, page.width, 148)]


def test_a_sheet_shows_the_source_and_seven_large_captioned_tiles(shifting):
    page = shifting.sheet(np.full((1, 48, 48), 50, np.uint8))
    assert page.size == (8 * (144 + 4) - 4, 18 + 144)
    assert centres(page) == [50, 50, 60, 70, 80, 90, 100, 110]
    greys = np.asarray(page)
    assert all(greys[:18, place * 148 : place * 148 + 144].min() < 128 for place in range(8))


def test_a_sheet_tells_its_strength_above_its_columns_where_it_is_below_1(shifting):
    picture, own = np.full((1, 48, 48), 50, np.uint8), torch.eye(CLASSES)[4]
    rows = np.repeat(picture[None, None], 8, axis=1)
    for strength, captions in (
        (1.0, ("source", *EXPRESSIONS)),
        (0.5, ("source", *(f"{name} 0.5" for name in EXPRESSIONS))),
    ):
        page = np.asarray(shifting.sheet(picture, own, strength))
        assert np.array_equal(page[:18], np.asarray(sheet(rows, captions, 144))[:18])


def test_a_picture_file_is_read_as_the_networks_want_it(snapshot_file, face_png, drawn_index):
    photograph = Photograph.read(face_png)
    picture = Synthesizer.load(snapshot_file.parent).see(photograph)
    assert np.array_equal(picture, drawn_index.split("test").image(0))
    assert Synthesizer.load(snapshot_file).see(photograph.around((8, 8, 32))).shape == (1, 48, 48)


def test_the_way_from_one_expression_to_another_is_straight():
    own = torch.tensor([[0.0, 0, 0, 0.75, 0.25, 0, 0]]).expand(3, -1)
    found = between(own, torch.tensor([HAPPY, HAPPY, 0]), torch.tensor([0.0, 0.5, 1.0]))
    assert found.tolist() == [
        [0, 0, 0, 0.75, 0.25, 0, 0, 0],
        [0, 0, 0, 0.875, 0.125, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_sheets_single_faces_and_strips_are_drawn_at_a_strength(shifting):
    picture, own = np.full((1, 48, 48), 50, np.uint8), torch.eye(CLASSES)[4]
    assert centres(shifting.sheet(picture, own, 0.5)) == [50, 70, 75, 80, 85, 90, 95, 100]
    assert shifting.one(picture, 0, own, 0.25).max() == 80
    strip = shifting.strip(picture, 0, own)
    assert centres(strip) == [50, 90, 80, 70, 60, 50]
    assert np.asarray(strip)[:18].min() < 128
    with pytest.raises(ValueError, match="needs to know what the picture shows"):
        shifting.one(picture, 0, strength=0.5)


def test_strength_0_draws_the_own_expression_and_1_the_one_asked_for_to_the_bit(trained, held_out):
    image, label = held_out
    draw = (trained.encoder, trained.generator, image)
    own, target = functional.one_hot(label, CLASSES).float(), (label + 1) % CLASSES
    for strength, expected in ((torch.zeros(len(label)), label), (torch.ones(len(label)), target)):
        assert torch.equal(synthesize(*draw, between(own, target, strength)), synthesize(*draw, expected))


@pytest.mark.parametrize("told", [True, False], ids=["source told", "source read"])
def test_the_stronger_an_expression_the_more_the_judge_sees_of_it(trained, held_out, drawn_judge, told):
    image, label = held_out
    own = functional.one_hot(label, CLASSES).float() if told else drawn_judge.probabilities(image)
    for target in range(CLASSES):
        others = label != target
        seen = seen_by_strength(trained, image[others], own[others], target, drawn_judge.probabilities)
        assert (seen.diff() >= -1e-3).all(), (EXPRESSIONS[target], seen)
        assert seen[-1] > seen[0] + 0.3, (EXPRESSIONS[target], seen)


def seen_by_strength(
    networks: Networks,
    image: torch.Tensor,
    own: torch.Tensor,
    target: int,
    probabilities: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """The mean probability of the target at each strength, [strengths]."""
    label, seen = torch.full((len(image),), target), []
    for strength in STRENGTHS:
        condition = between(own, label, torch.full((len(image),), strength))
        seen.append(
            probabilities(synthesize(networks.encoder, networks.generator, image, condition))[:, target]
        )
    return torch.stack(seen).mean(1)


def test_half_precision_moves_no_grey_by_more_than_two(trained, tiny_model, held_out, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_snapshot(whole, Ema(trained, 20.0), Config(data="", run=tmp_path, model=tiny_model), 1.0, {})
    export_snapshot([whole], half)
    drawn = [
        all_expressions(each.encoder, each.generator, held_out[0]).int()
        for each in map(load_snapshot, (whole, half))
    ]
    difference = (drawn[0] - drawn[1]).abs()
    assert 0 < difference.max() <= 2
    assert difference.float().mean() < 0.1


def test_a_bent_face_is_what_it_and_its_mirror_image_are_on_average(faces, tiny_model):
    networks = Networks(dataclasses.replace(tiny_model, skip="warp"), seed=0)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([HAPPY, SAD, HAPPY])
    found = synthesize(networks.encoder, networks.generator, faces, label)
    mirrored = synthesize(networks.encoder, networks.generator, faces.flip(3), label)
    assert (found.int() - mirrored.flip(3).int()).abs().max() <= 1
    with torch.no_grad():
        alone = to_uint8(networks.generator(networks.encoder(to_float(faces)), label))
    assert (found.int() - alone.int()).abs().max() > 1


def changing(model: ModelConfig) -> Synthesizer:
    """Networks that change a face a little, at random."""
    networks = Networks(model, seed=0)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in networks.generator.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=rng))
    return Synthesizer(Snapshot(networks.encoder, networks.generator, model, 1.0, {}))


@pytest.fixture
def bending(tiny_model) -> Synthesizer:
    """Networks that bend and draw over a face a little, at random."""
    return changing(dataclasses.replace(tiny_model, blocks="residual", skip="warp"))


@pytest.mark.parametrize("skip", ["mask", "warp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("side", [20, 48, 130])
def test_photographs_grey_or_in_colour_are_retouched_by_networks_that_see_grey_or_colours(
    tiny_model, skip, channels, colours, side
):
    model = dataclasses.replace(tiny_model, blocks="residual", skip=skip, channels=channels)
    synthesizer = changing(model)
    rng = np.random.default_rng(0)
    shot = Photograph(Path("me.png"), rng.integers(60, 200, (side, side, colours), dtype=np.uint8))
    picture = synthesizer.see(shot)
    assert picture.shape == (channels, 48, 48)
    found = synthesizer.one(picture, HAPPY, fine=shot.place())
    assert found.shape == (colours, side, side)
    # As far from its source, on the whole, as what the network draws itself.
    moved = found.astype(int).mean() - shot.pixels.mean()
    drawn = synthesizer.one(picture, HAPPY).astype(int).mean() - picture.mean()
    assert np.abs(drawn) > 1
    assert moved == pytest.approx(drawn, abs=1)
    assert (found.transpose(1, 2, 0) != shot.pixels).mean() > 0.5


def test_the_share_that_is_drawn_over_is_the_mean_of_the_mask(bending, faces):
    encoder, generator = bending.snapshot.encoder, bending.snapshot.generator
    x, label = to_float(faces[:1]).expand(CLASSES, -1, -1, -1), torch.arange(CLASSES)
    with torch.no_grad():
        here = generator.drawing(encoder(x), label)
        mirrored = generator.drawing(encoder(x.flip(3)), label).mask.flip(3)
    logits = (here.mask + mirrored) / 2
    wanted = (0.02 + 0.98 * logits.sigmoid()).mean().item()
    assert bending.cover(faces[0].numpy()) == pytest.approx(wanted, abs=1e-6)


def test_a_face_in_its_own_few_pixels_is_retouched_as_it_is_drawn(bending, faces):
    face = faces[0].numpy()
    assert bending.retouches
    for label in (HAPPY, SAD):
        drawn = bending.one(face, label)
        assert np.abs(drawn.astype(int) - face).max() > 5
        assert np.abs(bending.one(face, label, fine=Fine(face)).astype(int) - drawn).max() <= 1
    sheets = [np.asarray(bending.sheet(face, fine=fine)).astype(int) for fine in (None, Fine(face))]
    assert np.abs(sheets[0] - sheets[1]).max() <= 2


def test_a_photograph_is_retouched_in_its_own_pixels_and_colours(bending, faces):
    fine = np.random.default_rng(0).integers(0, 256, (3, 160, 160), dtype=np.uint8)
    found = bending.one(faces[0].numpy(), HAPPY, fine=Fine(fine))
    assert found.shape == fine.shape
    stays = torch.zeros(160, 160)
    assert np.array_equal(bending.one(faces[0].numpy(), HAPPY, fine=Fine(fine, stays)), fine)
    own = functional.one_hot(torch.tensor(SAD), CLASSES).float()
    assert bending.strip(faces[0].numpy(), HAPPY, own, Fine(fine)).size == (6 * 164 - 4, 18 + 160)
    assert bending.strip(faces[0].numpy(), HAPPY, own, Fine(fine)).mode == "RGB"


def test_networks_that_draw_every_pixel_do_not_retouch(shifting):
    assert not shifting.retouches

"""One face in, seven expressions out."""

import numpy as np
import pytest
import torch
from torch import nn

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.pictures import to_float, to_uint8
from fes.snapshot import Snapshot
from fes.synthesizer import Synthesizer, all_expressions, synthesize


class Shift(nn.Module):
    """A generator whose classes can be told apart: each adds its label times ten to the grey."""

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return z + label.reshape(-1, 1, 1, 1) * 10 / 127.5


@pytest.fixture
def faces() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 180, (3, 1, 48, 48), dtype=torch.uint8, generator=rng)


@pytest.fixture
def shifting(tiny_model) -> Synthesizer:
    return Synthesizer(Snapshot(nn.Identity(), Shift(), tiny_model, 1.0, {}))


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


def test_a_sheet_shows_the_source_and_seven_large_captioned_tiles(shifting, faces):
    page = shifting.sheet(np.full((1, 48, 48), 50, np.uint8))
    assert page.size == (8 * (144 + 4) - 4, 18 + 144)
    greys = np.asarray(page)
    centres = [int(greys[18 + 72, place * 148 + 72]) for place in range(8)]
    assert centres == [50, 50, 60, 70, 80, 90, 100, 110]
    assert all(greys[:18, place * 148 : place * 148 + 144].min() < 128 for place in range(8))


def test_a_picture_file_is_read_as_the_networks_want_it(snapshot_file, face_png, drawn_index):
    picture = Synthesizer.load(snapshot_file.parent).read(face_png)
    assert np.array_equal(picture, drawn_index.split("test").image(0))

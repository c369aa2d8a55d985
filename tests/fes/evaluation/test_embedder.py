"""Networks of ONNX files as what tells people apart."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fes.errors import InputError
from fes.evaluation.embedder import OnnxEmbedder
from fes.evaluation.evaluator import Evaluator
from tests.fes.evaluation.generators import SOURCE, Copy
from tests.fes.evaluation.onnx_file import DOUBLE, flatten


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def image() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, 1, 8, 8), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("batch", ["n", 1, 2, 3])
def test_pictures_are_given_as_the_network_reads_them(tmp_path, image, batch):
    pytest.importorskip("onnxruntime")
    grey = OnnxEmbedder(written(tmp_path / "grey.onnx", flatten((batch, 1, 8, 8)))).embed(image)
    assert (grey.shape, grey.dtype) == ((5, 64), np.float32)
    assert grey == pytest.approx(image.flatten(1).numpy() / 127.5 - 1, abs=1e-6)
    colour = OnnxEmbedder(written(tmp_path / "colour.onnx", flatten((batch, 3, 8, 8)))).embed(image)
    assert colour == pytest.approx(np.tile(grey, 3), abs=1e-6)
    last = OnnxEmbedder(written(tmp_path / "last.onnx", flatten((batch, 8, 8, 3)))).embed(image)
    assert last == pytest.approx(np.repeat(grey, 3, axis=1), abs=1e-6)
    tall = OnnxEmbedder(written(tmp_path / "tall.onnx", flatten((batch, 1, 16, 4)))).embed(image)
    assert tall.shape == (5, 64)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"not onnx", "is no ONNX network that can be used"),
        (flatten(("n", 512)), r"reads x: tensor\(float\) \['n', 512\]: an embedder reads one tensor"),
        (flatten(("n", 3, 8, 8), DOUBLE), r"reads x: tensor\(double\).*: an embedder reads one tensor"),
        (flatten(("n", 8, 8, 8)), "reads pictures of shape .*: an embedder has 1 or 3 channels"),
        (flatten(("n", 3, "h", "w")), "reads pictures of shape .* a height and a width that are fixed"),
        (flatten(("n", 3, 8, 8), node="GlobalMaxPoolOfNobody"), "is no ONNX network that can be used"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, content, told):
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match=told) as caught:
        OnnxEmbedder(written(tmp_path / "file.onnx", content))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no embedder at"):
        OnnxEmbedder(tmp_path / "none.onnx")


def test_people_are_told_apart_by_it(tmp_path, faces, drawn_judge):
    pytest.importorskip("onnxruntime")
    embedder = OnnxEmbedder(written(tmp_path / "pixels.onnx", flatten(("n", 1, 48, 48))))
    found, _ = Evaluator(faces, drawn_judge, embedder=embedder).evaluate(SOURCE, Copy(), seconds=0)
    assert found["identity_rank1_among_sources"] == 1
    assert found["identity_cosine"] == pytest.approx(1)


def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"an embedder needs onnxruntime: pip install 'fes\[onnx\]'"):
        OnnxEmbedder(tmp_path / "any.onnx")

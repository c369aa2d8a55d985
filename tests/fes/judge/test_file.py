"""The file of a judge: all that it held comes back, and other files are refused in one sentence."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fes.batch import to_float
from fes.errors import InputError
from fes.judge import Facts, JudgeConfig, load_judge, new_judge, save_judge
from fes.judge.file import FORMAT

ABOUT = {"kind": "plain", "resolution": 48, "channels": 1, "facts": None}


def test_a_judge_comes_back_from_its_file_with_its_facts(drawn_judge, drawn_index, tmp_path):
    path, test = tmp_path / "judge.safetensors", drawn_index.split("test")
    untrained = new_judge("residual", 48, 1, seed=0)
    save_judge(path, untrained)
    assert (load_judge(path).kind, load_judge(path).facts) == ("residual", None)
    counts = drawn_judge.confusion([test])
    facts = Facts.of(counts, drawn_index.fingerprint, asdict(JudgeConfig()))
    drawn_judge.facts = facts
    try:
        save_judge(path, drawn_judge)
    finally:
        drawn_judge.facts = None  # it is everyone's
    found = load_judge(path)
    assert (found.kind, found.resolution, found.channels, found.training) == ("plain", 48, 1, False)
    assert found.facts == facts
    assert found.facts.accuracy == np.trace(counts) / counts.sum()
    x = to_float(torch.from_numpy(test.image(3)))[None]
    assert torch.equal(found(x), drawn_judge(x))


def test_half_precision_is_half_the_file_and_comes_back_as_float32(drawn_judge, drawn_index, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    save_judge(whole, drawn_judge)
    save_judge(half, drawn_judge, half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    found = load_judge(half)
    assert {value.dtype for value in found.parameters()} == {torch.float32}
    image = torch.from_numpy(drawn_index.split("test").image(3))[None]
    difference = (found.probabilities(image) - drawn_judge.probabilities(image)).abs().max()
    assert 0 < difference < 0.01


def test_what_is_no_judge_is_refused(snapshot_file, tmp_path):
    (tmp_path / "text").write_text("judge")
    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    for path in (tmp_path / "none", tmp_path / "text", tmp_path / "other", tmp_path, snapshot_file):
        with pytest.raises(InputError, match=r"judge.*'fes judge train' makes one") as caught:
            load_judge(path)
        assert "\n" not in str(caught.value)


def test_a_judge_of_the_first_format_is_told_from_other_files(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "old", {"format": "fes-judge-1", "judge": "{}"})
    with pytest.raises(
        InputError, match=r"old is a judge of an older version .*'fes judge train' makes a new"
    ):
        load_judge(tmp_path / "old")


def test_a_damaged_judge_is_refused(drawn_judge, tmp_path):
    path = tmp_path / "judge.safetensors"
    save_judge(path, drawn_judge)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is not a judge"):
        load_judge(path)


@pytest.mark.parametrize(
    "about",
    [
        None,
        "{",
        "[" * 100_000,
        "3",
        '{"resolution": 48}',
        json.dumps(ABOUT | {"resolution": "48"}),
        json.dumps(ABOUT | {"resolution": -1}),
        json.dumps(ABOUT | {"channels": 3}),
        json.dumps(ABOUT | {"kind": "residual"}),
        json.dumps(ABOUT | {"kind": ["plain"]}),
        json.dumps(ABOUT | {"facts": {"accuracy": 0.5}}),
        json.dumps(ABOUT | {"facts": {"accuracy": 0.5, "confusion": [[1]], "data": "", "config": {}}}),
    ],
)
def test_a_judge_whose_description_is_missing_or_anothers_is_refused(drawn_judge, tmp_path, about):
    metadata = {"format": FORMAT} | ({} if about is None else {"judge": about})
    tensors = {name: tensor.contiguous() for name, tensor in drawn_judge.state_dict().items()}
    save_file(tensors, tmp_path / "judge", metadata)
    with pytest.raises(InputError, match="is a damaged judge") as caught:
        load_judge(tmp_path / "judge")
    assert "\n" not in str(caught.value)


def test_a_judge_with_the_tensors_of_another_is_refused(tmp_path):
    metadata = {"format": FORMAT, "judge": json.dumps(ABOUT)}
    save_file({"a": torch.zeros(2)}, tmp_path / "judge", metadata)
    with pytest.raises(InputError, match="is a damaged judge"):
        load_judge(tmp_path / "judge")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        save_judge(tmp_path / "none" / "judge", new_judge("plain", 48, 1, seed=0))

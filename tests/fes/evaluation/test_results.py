"""What an evaluation leaves, and when it need not be made again."""

import json

import pytest
import torch

from fes.errors import InputError
from fes.evaluation.results import is_there, place_of, told, write_results
from fes.expressions import EXPRESSIONS

SHOWN = torch.zeros(2, 8, 1, 48, 48, dtype=torch.uint8)


def test_an_evaluation_is_there_where_it_was_made_with_the_same_and_is_whole(tmp_path):
    path, made = tmp_path / "new" / "snapshot-000001.500", {"judge": "a", "faces": 9}
    assert not is_there(path, made)
    write_results(path, made, {"faces": 9, "faces_asked": 9}, SHOWN)
    assert is_there(path, made)
    assert not is_there(path, made | {"judge": "b"})
    assert {each.name for each in path.parent.iterdir()} == {f"{path.name}.json", f"{path.name}.png"}
    write_results(path, made, {"faces": 8, "faces_asked": 9}, SHOWN)  # without time for all of them
    assert not is_there(path, made)
    for damaged in ("{", "[]", json.dumps({"made_with": made})):
        (tmp_path / "new" / f"{path.name}.json").write_text(damaged)
        assert not is_there(path, made)


def test_no_evaluation_takes_the_place_of_one_that_was_made_with_something_else(tmp_path):
    path = tmp_path / "a-test"
    figures = {"faces": 2, "faces_asked": 2}
    for data, name in (("one", "a-test"), ("other", "a-test-2"), ("third", "a-test-3")):
        made = {"data": data}
        assert place_of(path, made) == tmp_path / name
        write_results(tmp_path / name, made, figures, SHOWN)
        assert place_of(path, made) == tmp_path / name
    (tmp_path / "b-test.json").write_text("no evaluation")
    assert place_of(tmp_path / "b-test", {}) == tmp_path / "b-test"


def test_figures_that_are_not_known_are_left_out_of_what_is_told():
    some = dict.fromkeys(EXPRESSIONS, 0.5) | {"sad": None}
    figures = {"kimg": 3.0, "faces": 2, "seconds": 1.0, "gallery": 2}
    for name in (
        "expression_accuracy",
        "judge_accuracy",
        "target_probability",
        "identity_rank1",
        "identity_cosine",
    ):
        figures |= {name: 0.25, f"{name}_by_class": some}
    figures |= {"reconstruction_l1": 0.125, "reconstruction_ssim": 0.5, "truth_l1": None}
    lines = told("snapshot", figures).splitlines()
    assert lines[0] == "snapshot: 3 kimg, 2 faces, 1.0 s"
    assert lines[2].split() == ["read", "as", "asked", "0.250", *["0.500"] * 4, "-", "0.500", "0.500"]
    assert lines[-1].endswith("L1 0.1250, SSIM 0.500")
    assert len({len(line) for line in lines[1:-1]}) == 1


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        write_results(tmp_path / "file" / "x", {}, {}, SHOWN)

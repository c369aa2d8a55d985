"""`fes evaluate` as people type it: what it measures, what it leaves, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from fes.cli import main
from fes.files import sha256_of
from fes.judge import Facts, Judge, load_judge, new_judge, save_judge
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.saved.snapshot import save_snapshot
from tests.fes.sentences import sentence


@pytest.fixture(scope="module")
def judge_file(drawn_judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    save_judge(path, drawn_judge)
    return path


@pytest.fixture
def asked(drawn_folder, snapshot_file, judge_file, tmp_path) -> list[str]:
    """Asks for the two snapshots of a run in `tmp_path/run`."""
    (tmp_path / "run").mkdir()
    for kimg in ("000000.000", "000050.000"):
        shutil.copy(snapshot_file, tmp_path / "run" / f"snapshot-{kimg}.safetensors")
    words = {"--run": tmp_path / "run", "--data": drawn_folder, "--judge": judge_file, "--faces": 2}
    return ["evaluate", *(str(word) for pair in words.items() for word in pair)]


def measured(capsys) -> list[str]:
    """The snapshots that the command has just told of."""
    lines = capsys.readouterr().out.splitlines()
    return [line.partition(":")[0] for line in lines if line.startswith("snapshot-")]


def test_each_snapshot_is_measured_once_newest_first(asked, tmp_path, capsys, judge_file, drawn_judge):
    main([*asked, "--newest"])
    progress, _, told = capsys.readouterr().out.partition("\n")
    assert re.fullmatch(r"measuring: 2/2 faces, [\d.]+ faces/s", progress)
    assert told.startswith("snapshot-000050.000: 0 kimg, 2 faces, ")
    assert "read as asked" in told
    assert "error to the true face" in told
    folder = tmp_path / "run" / "evaluation"
    names = {f"snapshot-000050.000-test.{end}" for end in ("json", "png")}
    assert {path.name for path in folder.iterdir()} == names
    main(asked)
    assert measured(capsys) == ["snapshot-000000.000"]
    assert len([*folder.iterdir()]) == 4
    main(asked)
    assert capsys.readouterr().out.startswith("measured so before, see ")
    save_judge(tmp_path / "second", drawn_judge, half=True)
    main([*asked, "--second-judge", str(tmp_path / "second")])  # with other means it is another evaluation
    assert measured(capsys) == ["snapshot-000050.000", "snapshot-000000.000"]
    first = json.loads((folder / "snapshot-000050.000-test.json").read_bytes())
    assert first["made_with"]["second_judge"] is None
    found = json.loads((folder / "snapshot-000050.000-test-2.json").read_bytes())
    assert (found["snapshot"], found["faces"], found["split"]) == (
        "snapshot-000050.000.safetensors",
        2,
        "test",
    )
    assert found["second_judge_expression_accuracy"] == found["expression_accuracy"]
    used = [found["made_with"][name] for name in ("judge", "second_judge")]
    assert used == [sha256_of(judge_file), sha256_of(tmp_path / "second")]
    with Image.open(folder / "snapshot-000050.000-test.png") as picture:
        assert picture.size == (8 * 100 - 4, 2 * 100 - 4 + 18 + 0)


def test_one_snapshot_of_another_split_into_another_folder(asked, snapshot_file, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    main(["evaluate", *asked[3:], "--weights", str(snapshot_file), "--split", "valid", "--out", str(out)])
    capsys.readouterr()
    found = json.loads((out / "snapshot-000000.000-valid.json").read_bytes())
    assert found["split"] == "valid"
    assert {"expression_accuracy", "judge_accuracy", "truth_l1", "copy_l1"} <= found.keys()


def test_what_is_measured_of_a_file_stays_out_of_its_folder_and_that_of_a_run_in_it(
    asked, snapshot_file, tmp_path, capsys, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(snapshot_file.parent.iterdir())
    main(["evaluate", *asked[3:], "--weights", str(snapshot_file)])
    assert "see evaluation/snapshot-000000.000-test.json" in capsys.readouterr().out
    assert (tmp_path / "here" / "evaluation" / "snapshot-000000.000-test.png").exists()
    assert sorted(snapshot_file.parent.iterdir()) == before
    main(["evaluate", *asked[3:], "--weights", str(tmp_path / "run")])
    assert len(list((tmp_path / "run" / "evaluation").iterdir())) == 2
    assert len(list((tmp_path / "here").rglob("*.json"))) == 1


def test_a_judge_that_hardly_reads_faces_is_warned_of(asked, judge_file, tmp_path, capsys):
    for accuracy, count in ((0.49, 1), (0.5, 0)):
        judge = load_judge(judge_file)
        judge.facts = Facts(accuracy, tuple((1,) * 7 for _ in range(7)), "data", {})
        save_judge(tmp_path / "judge", judge)
        main([*asked, "--newest", "--judge", str(tmp_path / "judge")])
        told = f"warning: the judge {tmp_path / 'judge'} reads 0.49 of real faces rightly: figures"
        assert capsys.readouterr().out.count(told) == count


@pytest.mark.parametrize("guides", ["{}", "0123abcd {}"], ids=["one guide", "several, averaged"])
def test_the_guide_that_faces_were_trained_with_may_not_grade_them(
    guides, tiny_config, drawn_folder, judge_file, tmp_path, capsys
):
    path, other = tmp_path / "snapshot-000001.000.safetensors", tmp_path / "other.safetensors"
    ema = Ema(Networks(tiny_config.model, seed=0), 20.0)
    save_snapshot(path, ema, tiny_config, 1.0, {}, guide=guides.format(sha256_of(judge_file)))
    save_judge(other, new_judge("plain", 48, 1, seed=5).eval())
    asked = ["evaluate", "--weights", path, "--data", drawn_folder, "--faces", 2, "--judge"]
    assert "is the guide that the faces were trained with" in sentence(capsys, *asked, judge_file)
    assert "cannot grade them" in sentence(capsys, *asked, other, "--second-judge", judge_file)
    main([*map(str, asked), str(other)])
    assert "read as asked" in capsys.readouterr().out


def test_the_judge_itself_or_a_copy_of_it_is_no_second_one(asked, judge_file, tmp_path, capsys):
    copied = shutil.copy(judge_file, tmp_path / "copied.safetensors")
    for second in (judge_file, copied):
        assert sentence(capsys, *asked, "--second-judge", second) == (
            f"fes: the second judge, {second}, is the same as the first, {judge_file}, and would only repeat "
            "it: train another one with another --seed, or leave it out"
        )


def test_what_makes_no_sense_is_told_in_one_sentence(asked, snapshot_file, drawn_folder, tmp_path, capsys):
    assert "--faces is 0" in sentence(capsys, *asked[:-1], 0)
    assert "--gallery is -1" in sentence(capsys, *asked, "--gallery", -1)
    assert "give either --run" in sentence(capsys, *asked, "--weights", snapshot_file)
    assert "give either --run" in sentence(capsys, "evaluate", *asked[3:])
    told = sentence(capsys, "evaluate", "--run", snapshot_file, *asked[3:])
    assert told.endswith(f"and {snapshot_file} is a file: give it by --weights")
    only = ["evaluate", "--weights", snapshot_file, *asked[3:], "--newest"]
    assert "--newest chooses among the snapshots of --run" in sentence(capsys, *only)
    assert "no snapshot and no run" in sentence(capsys, "evaluate", "--run", tmp_path / "none", *asked[3:])
    judged = ["evaluate", "--weights", snapshot_file, "--data", drawn_folder, "--judge"]
    assert "cannot be read" in sentence(capsys, *judged, tmp_path / "none")
    assert "not a judge" in sentence(capsys, *judged, snapshot_file)
    assert "none.onnx" in sentence(capsys, *asked, "--identity", tmp_path / "none.onnx")
    assert "a file; name another" in sentence(capsys, *asked, "--out", snapshot_file)
    assert not (tmp_path / "run" / "evaluation").exists()

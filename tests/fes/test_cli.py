"""What people do with trained weights, by command line."""

import json

import numpy as np
import pytest
from PIL import Image

from fes.cli import main
from fes.judge import JudgeConfig, load_judge, save_judge
from fes.synthesizer import Synthesizer
from shards.build.writer import BuildOptions, build
from shards.sources.drawn import DrawnOptions, draw


def sentence(capsys, *arguments: object) -> str:
    """What stderr holds after a command that cannot work: one line, and code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fes: ")
    return line


def synthesize(snapshot, image, out, *more: str) -> list[str]:
    return ["synthesize", "--weights", str(snapshot), "--image", str(image), "--out", str(out), *more]


def test_a_sheet_of_all_expressions(snapshot_file, face_png, tmp_path, capsys):
    out = tmp_path / "new" / "sheet.png"
    main(synthesize(snapshot_file, face_png, out))
    with Image.open(out) as image:
        assert image.size == (8 * (144 + 4) - 4, 18 + 144)
    told = capsys.readouterr().out
    assert told.startswith(f"wrote {out} (")
    assert "weights of 0 kimg" in told


@pytest.mark.parametrize("name", ["happy", "HAPPINESS"])
def test_one_expression_from_the_folder_of_a_run(snapshot_file, face_png, tmp_path, name):
    out = tmp_path / "happy.png"
    main(synthesize(snapshot_file.parent, face_png, out, "--to", name))
    synthesizer = Synthesizer.load(snapshot_file)
    expected = synthesizer.one(synthesizer.read(face_png), 3)
    with Image.open(out) as image:
        assert np.array_equal(np.asarray(image), expected[0])


def test_a_photograph_of_another_size_and_in_colour(snapshot_file, tmp_path):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "photo.jpg")
    main(synthesize(snapshot_file, tmp_path / "photo.jpg", tmp_path / "out.png"))
    assert (tmp_path / "out.png").exists()


def test_a_misspelt_expression_names_the_nearest(snapshot_file, face_png, tmp_path, capsys):
    told = sentence(capsys, *synthesize(snapshot_file, face_png, tmp_path / "a.png", "--to", "hapy"))
    assert told == "fes: --to hapy is no expression; did you mean 'happy'?"
    told = sentence(capsys, *synthesize(snapshot_file, face_png, tmp_path / "a.png", "--to", "xyz"))
    assert "choose from angry, disgusted, afraid, happy, sad, surprised, neutral" in told
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_cannot_be_read_are_told_in_one_sentence(snapshot_file, tmp_path, capsys):
    (tmp_path / "note.png").write_text("a note")
    out = tmp_path / "a.png"
    assert "no picture at" in sentence(capsys, *synthesize(snapshot_file, tmp_path / "none.png", out))
    told = sentence(capsys, *synthesize(snapshot_file, tmp_path / "note.png", out))
    assert "note.png cannot be read as a picture" in told
    assert not out.exists()


def test_weights_that_are_none_are_told_in_one_sentence(face_png, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert "no snapshot and no run" in sentence(capsys, *synthesize(tmp_path / "none", face_png, out))
    assert "is not a snapshot" in sentence(capsys, *synthesize(face_png, face_png, out))
    assert "holds no snapshot" in sentence(capsys, *synthesize(tmp_path, face_png, out))


def test_a_place_that_cannot_be_written_is_told_in_one_sentence(snapshot_file, face_png, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "a.png", "/proc/a.png", tmp_path / "a.xyz"):
        assert f"cannot write the picture {out}" in sentence(
            capsys, *synthesize(snapshot_file, face_png, out)
        )


def test_a_judge_is_trained_tested_and_used_to_evaluate(drawn_folder, snapshot_file, tmp_path, capsys):
    judge, out = str(tmp_path / "judge.safetensors"), tmp_path / "results.json"
    data = ["--data", str(drawn_folder)]
    main(["judge", "train", *data, "--out", judge, "--kimg", "0.16", "--batch", "16"])
    *progress, wrote = capsys.readouterr().out.splitlines()
    assert progress == [f"judge: {done}/10" for done in range(1, 11)]
    assert wrote.startswith(f"wrote {judge}: right on ")
    main(["judge", "test", "--judge", judge, *data])
    assert capsys.readouterr().out.strip() in wrote.replace("held-out ", "")
    asked = ["--weights", str(snapshot_file), "--judge", judge, "--out", str(out), "--faces", "4"]
    main(["evaluate", *data, *asked])
    results = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == results
    assert results["faces"] == 4
    assert {"expression_accuracy", "judge_accuracy", "truth_l1", "copy_l1"} <= results.keys()


def test_a_judge_of_several_sets_reads_the_shape_that_is_asked_for(
    drawn_folder, unlabelled_folder, tmp_path, capsys
):
    judge, data = tmp_path / "judge.safetensors", f"{drawn_folder},{unlabelled_folder}:0.1"
    shape = ["--resolution", "64", "--channels", "3"]
    main(["judge", "train", "--data", data, *shape, "--out", str(judge), "--kimg", "0.032", "--batch", "16"])
    assert capsys.readouterr().out.strip().endswith(" of 42 labelled held-out pictures")
    made = load_judge(judge)
    assert (made.resolution, made.channels) == (64, 3)
    main(["judge", "test", "--judge", str(judge), "--data", str(drawn_folder)])
    assert capsys.readouterr().out.strip().endswith(" of 42 labelled pictures")


def test_a_judge_is_not_tested_on_pictures_without_labels(
    drawn_folder, unlabelled_folder, drawn_judge, tmp_path, capsys
):
    told = "the held-out pictures have no labels"
    train = ["judge", "train", "--data", unlabelled_folder, "--out", tmp_path / "new"]
    assert told in sentence(capsys, *train)
    save_judge(tmp_path / "judge", drawn_judge, JudgeConfig(), 0.9, "data")
    assert told in sentence(
        capsys, "judge", "test", "--judge", tmp_path / "judge", "--data", unlabelled_folder
    )
    assert [each.name for each in tmp_path.iterdir()] == ["judge"]


def test_a_judge_that_cannot_be_tested_is_told_before_it_is_trained(tmp_path, capsys):
    options = DrawnOptions(train_identities=1, valid_identities=0, test_identities=0)
    build(draw(options), tmp_path / "data", BuildOptions(workers=1))
    asked = ["judge", "train", "--data", tmp_path / "data", "--out", tmp_path / "judge"]
    assert sentence(capsys, *asked).endswith("data has no test or valid split to test a judge on")
    assert "--resolution is 50: it must be 48 or 64 times" in sentence(capsys, *asked, "--resolution", 50)


def test_an_impossible_evaluation_is_told_in_one_sentence(drawn_folder, snapshot_file, tmp_path, capsys):
    asked = ["evaluate", "--weights", snapshot_file, "--data", drawn_folder, "--judge"]
    assert "is not a judge" in sentence(capsys, *asked, tmp_path / "none")
    assert "not a judge" in sentence(capsys, *asked, snapshot_file)
    assert "--faces is 0" in sentence(capsys, *asked, snapshot_file, "--faces", 0)


@pytest.mark.parametrize(
    ("flag", "value"), [("--kimg", "-1"), ("--kimg", "nan"), ("--batch", "0"), ("--rate", "-1")]
)
def test_settings_of_a_judge_that_make_no_sense_are_told_in_one_sentence(
    drawn_folder, tmp_path, capsys, flag, value
):
    asked = ["judge", "train", "--data", drawn_folder, "--out", tmp_path / "judge", flag, value]
    assert f"{flag} is " in sentence(capsys, *asked)


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("synthesize", "evaluate", "judge"))

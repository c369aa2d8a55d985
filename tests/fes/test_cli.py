"""What people do with trained weights, by command line."""

import contextlib
import re
import signal
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch

from fes.cli import main
from fes.data.mixture import Mixture
from fes.judge import load_judge, save_judge
from fes.judge.confusion import table
from shards.build.writer import BuildOptions, build
from shards.sources.drawn import DrawnOptions, draw
from tests.fes.sentences import sentence


def test_a_judge_is_trained_and_tested(drawn_folder, drawn_index, tmp_path, capsys):
    judge, data = tmp_path / "judge.safetensors", ["--data", str(drawn_folder)]
    how = ["--kind", "plain", "--kimg", "0.16", "--batch", "16", "--seed", "3", "--noise", "0.25", "--half"]
    main(["judge", "train", *data, "--out", str(judge), *how])
    *told, wrote = capsys.readouterr().out.splitlines()
    seen = [
        re.fullmatch(r"judge: (\d+)/160 images, [\d.,]+ images/s(, 0:00:\d\d left)?", line)
        for line in told[:10]
    ]
    assert [(int(each[1]), each[2] is None) for each in seen] == [(16 * n, n == 10) for n in range(1, 11)]
    reads = r"reading held-out pictures: 42/42 images, [\d.,]+ images/s"
    assert re.fullmatch(reads, told.pop(10))
    made = load_judge(judge)
    facts, counts = made.facts, made.confusion([drawn_index.split("test")])
    assert np.array_equal(facts.confusion, counts)
    assert wrote == f"wrote {judge}: right on {facts.accuracy:.4f} of 42 labelled held-out pictures"
    assert told[10:] == table(counts).splitlines()
    assert (made.kind, facts.config["kind"], facts.data) == ("plain", "plain", drawn_index.fingerprint)
    assert (facts.config["seed"], facts.config["noise"]) == (3, 0.25)
    main(["judge", "test", "--judge", str(judge), *data])
    first, *again, sentence = capsys.readouterr().out.splitlines()
    assert re.fullmatch(reads, first)
    assert again == told[10:]
    assert sentence == f"right on {facts.accuracy:.4f} of 42 labelled pictures"


def signalled(at: int, number: int):
    """A bar that sends a signal when so many pictures were seen."""

    @contextlib.contextmanager
    def bar(title, unit, before=0):
        yield lambda done, of: signal.raise_signal(number) if done == at else None

    return bar


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_judges_training_that_a_signal_stops_is_saved_and_goes_on_to_the_same_weights(
    number, drawn_folder, tmp_path, capsys, monkeypatch
):
    how = ["judge", "train", "--data", str(drawn_folder), "--kind", "plain", "--batch", "8", "--kimg", "0.08"]
    one, other = (["--out", str(tmp_path / f"{name}.safetensors")] for name in "ab")
    main([*how, *other])
    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr("fes.cli.progress", signalled(24, number))
        with pytest.raises(SystemExit) as ended:
            main([*how, *one])
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "stopped after 24 of 80 images and saved; the same command goes on from there"
    main([*how, *one])
    place = tmp_path / "a.safetensors.halfway"
    assert capsys.readouterr().out.startswith(f"goes on from {place}, after 24 images\njudge: 32/80 images")
    first, second = (load_judge(tmp_path / f"{name}.safetensors").state_dict() for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_a_signal_before_the_first_step_of_a_judge_has_nothing_to_save(
    drawn_folder, tmp_path, capsys, monkeypatch
):
    def signalled(*about):
        signal.raise_signal(signal.SIGTERM)
        return parts(*about)

    parts = Mixture.parts
    monkeypatch.setattr(Mixture, "parts", signalled)
    with pytest.raises(SystemExit) as ended:
        main(["judge", "train", "--data", str(drawn_folder), "--out", str(tmp_path / "a.safetensors")])
    assert ended.value.code == 143
    assert capsys.readouterr().out == "stopped; the same command begins anew\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_held_out_pictures_are_read_loses_nothing_of_the_training(
    number, drawn_folder, tmp_path, capsys, monkeypatch
):
    how = ["judge", "train", "--data", str(drawn_folder), "--kind", "plain", "--batch", "8", "--kimg", "0.08"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with monkeypatch.context() as patched:
            patched.setattr("fes.cli.progress", signalled(42, number))
            with pytest.raises(SystemExit) as ended:
                main([*how, "--out", str(tmp_path / "a.safetensors")])
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == "fes: stopped; the same command goes on from there\n"
    assert (tmp_path / "a.safetensors.halfway").exists()
    main([*how, "--out", str(tmp_path / "a.safetensors")])
    assert "judge:" not in capsys.readouterr().out


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
    train = ["judge", "train", "--data", unlabelled_folder, "--out", tmp_path / "new.safetensors"]
    assert told in sentence(capsys, *train)
    save_judge(tmp_path / "judge", drawn_judge)
    assert told in sentence(
        capsys, "judge", "test", "--judge", tmp_path / "judge", "--data", unlabelled_folder
    )
    assert [each.name for each in tmp_path.iterdir()] == ["judge"]


def test_a_judge_that_cannot_be_tested_is_told_before_it_is_trained(tmp_path, capsys):
    options = DrawnOptions(train_identities=1, valid_identities=0, test_identities=0)
    build(draw(options), tmp_path / "data", BuildOptions(workers=1))
    asked = ["judge", "train", "--data", tmp_path / "data", "--out", tmp_path / "a.safetensors"]
    assert sentence(capsys, *asked).endswith("data has no test or valid split to test a judge on")
    assert "--resolution is 50: it must be 48 or 64 times" in sentence(capsys, *asked, "--resolution", 50)


def test_a_judge_that_cannot_be_written_is_told_before_it_is_trained(drawn_folder, tmp_path, capsys):
    asked = ["judge", "train", "--data", drawn_folder, "--out", tmp_path]
    assert sentence(capsys, *asked).endswith(f"--out {tmp_path} is a folder: name a file in it")
    assert list(tmp_path.iterdir()) == []


def test_a_judge_that_is_there_is_written_over_only_where_that_is_asked_for(
    drawn_folder, drawn_judge, tmp_path, capsys
):
    out = tmp_path / "guide.safetensors"
    save_judge(out, drawn_judge)
    before = out.read_bytes()
    asked = [
        "judge",
        "train",
        "--data",
        str(drawn_folder),
        "--out",
        str(out),
        "--batch",
        "16",
        "--kimg",
        "0.02",
    ]
    assert f"{out} is there already, and a run that it guides could not go on" in sentence(capsys, *asked)
    assert out.read_bytes() == before
    main([*asked, "--overwrite"])
    assert out.read_bytes() != before


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--kimg", "-1"), ("--kimg", "nan"), ("--batch", "0"), ("--rate", "-1"), ("--seed", str(2**63))],
)
def test_settings_of_a_judge_that_make_no_sense_are_told_in_one_sentence(
    drawn_folder, tmp_path, capsys, flag, value
):
    asked = ["judge", "train", "--data", drawn_folder, "--out", tmp_path / "a.safetensors", flag, value]
    assert f"{flag} is " in sentence(capsys, *asked)


def test_a_judge_whose_name_ends_otherwise_is_refused_at_once(tmp_path, capsys):
    told = sentence(capsys, "judge", "train", "--data", tmp_path / "none", "--out", tmp_path / "a.txt")
    assert told == f"fes: --out {tmp_path / 'a.txt'}: let it end in .safetensors"


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("synthesize", "evaluate", "judge"))


@pytest.mark.parametrize("command", [["synthesize"], ["judge", "train"], ["evaluate"], ["bench"]])
def test_help_lists_no_flag_that_is_refused(command, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert "--no-" not in capsys.readouterr().out


def test_a_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fes {metadata.version('fes')}\n"


def test_a_picture_in_the_place_of_a_command_is_told_the_command(face_png, tmp_path, capsys):
    told = f"there is no command '{face_png}'; did you mean 'fes synthesize {face_png}'?"
    assert told in sentence(capsys, face_png)
    assert "choose from synthesize, export, " in sentence(capsys, tmp_path / "none.png")


@pytest.mark.parametrize(
    "words",
    [
        ["synthesize"],
        ["synthesize", "me.png", "--to"],
        ["synthesize", "me.png", "--strength", "x"],
        ["synthesize", "me.png", "--detail", "x"],
        ["synthesize", "me.png", "-o", "a.png"],
    ],
)
def test_an_error_of_a_command_names_the_help_of_that_command(words, capsys):
    assert "; 'fes synthesize --help' " in sentence(capsys, *words)


def test_a_command_that_is_not_named_is_asked_for_in_one_sentence(capsys):
    assert sentence(capsys, "judge").startswith("fes: name a command after 'fes judge': train, test;")
    assert sentence(capsys).startswith("fes: name a command after 'fes': synthesize, export,")


def test_a_reader_that_leaves_takes_no_answer_away_and_no_traceback_comes():
    line = f"set -o pipefail; {sys.executable} -m fes.cli synthesize --help | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

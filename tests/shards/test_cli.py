import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fes import __version__
from fes.commandline import Terminated
from fes.expressions import EXPRESSIONS
from shards import cli
from shards.index import ShardIndex
from shards.pictures import as_image
from shards.schema import INDEX_NAME, REPORT_NAME
from tests.shards.made_up import picture, row

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "shards"]
DRAWN = ["build", "drawn", "--train-identities", "3", "--valid-identities", "1", "--test-identities", "1"]
CsvOf = Callable[..., Path]


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the program as a user runs it."""
    words = [*PROGRAM, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def sentence_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr, with exit code 2, of what cannot work."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if " %" not in line]
    assert len(lines) == 1
    return lines[0]


def test_drawn_shards_are_built_shown_and_verified_from_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    code, text, _ = run(*DRAWN, "--out", folder)
    assert code == 0
    assert f"accelerate launch fes/train.py --data {folder} --run runs/NAME" in text
    assert str(folder / REPORT_NAME) in text
    code, text, _ = run("show", folder, "--grid", tmp_path / "grid.png")
    assert code == 0
    assert all(name in text for name in EXPRESSIONS)
    assert (tmp_path / "grid.png").exists()
    code, text, _ = run("verify", folder)
    assert code == 0
    assert "35 samples, no fault" in text


def test_the_version_and_the_help_of_each_command_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fes-shards {__version__}\n"
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", "folder"])
    assert ended.value.code == 2
    assert "fes-shards build folder --help" in capsys.readouterr().err
    told = sentence_of(capsys, "verify", "one", "two")
    assert told == "fes-shards: one folder at a time: leave out two"


def test_a_good_file_with_bad_rows_builds_and_every_bad_row_is_counted_and_named(
    csv_of: CsvOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = csv_of([row(1, 0), row(2, 8), row(3, 1), row(3, 2, "PublicTest"), ["0", "1 2", "Training"]])
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", "fer2013", "--source", str(path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for told in ("emotion other than 0..6", "pixel count other than 2304", "dropped", "kept", "1 rows"):
        assert told in text
    assert "warning: train has no sample of class 'happy'" in text
    report = json.loads((tmp_path / "out" / REPORT_NAME).read_bytes())
    assert {finding["reason"]: finding["origins"] for finding in report["findings"]} == {
        "emotion other than 0..6": [2],
        "pixel count other than 2304": [5],
        "exact copies of a picture, constant ones too": [[3, 4]],
        "exact copies with different labels": [[3, 4]],
        "valid row whose exact picture stands in train": [4],
    }
    assert (report["rows_read"], report["samples_kept"]) == (5, 3)
    assert len(report["warnings"]) == 5


def test_the_report_is_the_same_wherever_the_source_and_the_shards_lie(csv_of: CsvOf, tmp_path: Path) -> None:
    path = csv_of([row(1, 0), row(2, 8)])
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "other name.csv"
    moved.write_bytes(path.read_bytes())
    for source, out in ((path, "a"), (moved, "b")):
        with pytest.raises(SystemExit):
            cli.main(["build", "fer2013", "--source", str(source), "--out", str(tmp_path / out)])
    for name in (REPORT_NAME, INDEX_NAME):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_verify_lists_every_fault_on_a_line_exits_1_and_repairs_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([*DRAWN, "--out", str(tmp_path), "--workers", "1"])
    capsys.readouterr()
    (tmp_path / "drawn-valid-000000.tar").unlink()
    shard = tmp_path / "drawn-train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(tmp_path)])
    assert ended.value.code == 1
    *faults, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith("drawn-train-000000.tar") and "byte" in line for line in faults)
    assert any(line.startswith("drawn-valid-000000.tar: cannot be read") for line in faults)
    assert f"faults: {len(faults)}" in last
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(tmp_path), "--repair"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "drawn-valid-000000.tar" in text
    assert "samples are gone: a run that saw them cannot go on with these data" in text
    assert "no fault" in text


def test_a_folder_of_pictures_is_built_with_its_people_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        path = tmp_path / "faces" / ("fear", "anger", "odd")[number % 3] / f"anna{number}_{number // 3}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        as_image(picture(number).reshape(48, 48, 1)).save(path)
    words = ["--source", tmp_path / "faces", "--identity", r"_(\d)", "--alias", "odd", "unlabelled"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", "folder", *map(str, words), "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    train = ShardIndex.load(tmp_path / "out").split("train")
    assert sorted(train.labels.tolist()) == [-1, -1, 0, 0, 2, 2]
    assert np.unique(train.identities).tolist() == [0, 1]
    assert "people known" in text
    assert f"fes-shards show {tmp_path / 'out'} --grid grid.png" in text


def test_a_share_of_files_whose_people_are_not_known_is_warned_of_and_the_help_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces/happy").mkdir(parents=True)
    for number in range(6):
        as_image(picture(number).reshape(48, 48, 1)).save(tmp_path / f"faces/happy/{number}.png")
    words = ["--source", tmp_path / "faces", "--out", tmp_path / "out", "--valid-share", "0.5"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(["build", "folder", *map(str, words)])
    assert "warning: --valid-share split 6 files of unknown people one by one" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        cli.main(["build", "folder", "--help"])
    assert " ".join(capsys.readouterr().out.replace("│", "").split()).count("--identity, else files") == 2


def test_a_square_is_read_of_every_portrait_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, pixels = tmp_path / "faces", picture(1).reshape(48, 48, 1)
    (faces / "happy").mkdir(parents=True)
    as_image(pixels).save(faces / "happy/1.png")
    words = ["build", "folder", "--source", faces, "--out", tmp_path / "out", "--crop"]
    for wrong in ("1,2", "1,2,x", "1,2,0", "1,-2,3"):
        told = sentence_of(capsys, *words, wrong, "--source", tmp_path / "nowhere")
        assert f"--crop {wrong} is no square: give it as LEFT,TOP,SIDE" in told
        assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as ended:
        cli.main([*map(str, words), "6,12,32"])
    assert ended.value.code == 0
    assert "of a picture of 48x48 the square 32x32 from (6, 12) on is read" in capsys.readouterr().out
    index = ShardIndex.load(tmp_path / "out")
    assert index.resolution == 32
    assert np.array_equal(index.split("train").image(0)[0], pixels[12:44, 6:38, 0])


def test_shards_of_others_are_indexed_where_they_lie(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["index", drawn_folder, "--out", tmp_path, "--identity-field", "identity"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*map(str, words)])
    assert ended.value.code == 0
    here, there = (ShardIndex.load(each).split("valid") for each in (tmp_path, drawn_folder))
    assert np.array_equal(here.image(3), there.image(3))
    assert here.labels.tolist() == there.labels.tolist()
    assert not list(tmp_path.glob("*.tar"))


def test_copies_are_kept_or_dropped_as_asked(csv_of: CsvOf, tmp_path: Path) -> None:
    rows = [row(1, 0), row(1, 0), row(1, 0, "PublicTest"), row(2, 3), row(3, 3, "PrivateTest")]
    kept = {}
    for flags in ([], ["--dedup", "exact"], ["--no-leak"]):
        out = tmp_path / "".join(["out", *flags])
        with pytest.raises(SystemExit) as ended:
            cli.main(["build", "fer2013", "--source", str(csv_of(rows)), "--out", str(out), *flags])
        assert ended.value.code == 0
        index = ShardIndex.load(out)
        kept["".join(flags)] = [index.split(split).samples for split in index.splits]
    assert kept == {"": [3, 1, 1], "--dedupexact": [1, 1, 1], "--no-leak": [1, 1, 1]}


def test_votes_that_make_no_sense_are_told_before_anything_is_read(
    csv_of: CsvOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", "fer2013", "--source", csv_of([row(1)]), "--out", tmp_path / "out"]
    votes = ["--ferplus", tmp_path / "fer2013new.csv"]
    assert "above 0 and at most 1" in sentence_of(capsys, *words, *votes, "--ferplus-threshold", "50")
    assert not (tmp_path / "out").exists()
    csv_of([row(1)], header=("no", "face", "here"))
    assert "fer2013new.csv does not exist" in sentence_of(capsys, *words, *votes)


def test_bad_input_is_told_in_one_sentence_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", tmp_path / "out"]
    (tmp_path / "empty.csv").write_bytes(b"")
    fer2013 = ["build", "fer2013", *out, "--source"]
    assert "does not exist" in sentence_of(capsys, *fer2013, tmp_path / "no.csv")
    assert "is empty" in sentence_of(capsys, *fer2013, tmp_path / "empty.csv")
    assert "does not exist: check the path" in sentence_of(capsys, "verify", tmp_path / "no")
    assert "holds no index.json" in sentence_of(capsys, "show", tmp_path)
    assert "--channels is 1" in sentence_of(capsys, *DRAWN, *out, "--channels", "4")
    assert "--workers is 1 or more" in sentence_of(capsys, *DRAWN, *out, "--workers", "0")
    below_a_file = tmp_path / "empty.csv" / "out"
    assert "Not a directory" in sentence_of(capsys, *DRAWN, "--out", below_a_file)


@pytest.mark.parametrize("source", ["fer2013", "tfd", "celeba", "folder"])
def test_a_build_of_a_picture_says_so_and_leaves_no_folder_behind(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    face, out = tmp_path / "face.jpg", tmp_path / "data" / "faces"
    as_image(picture(1).reshape(48, 48, 1)).save(face)
    words = ["build", source, "--source", face, "--out"]
    told = sentence_of(capsys, *words, out)
    if source == "fer2013":
        assert told == f"fes-shards: {face} is a JPEG picture, no csv: check the path"
    assert not out.parent.exists()
    out.mkdir(parents=True)
    sentence_of(capsys, *words, out / "more")
    assert list(tmp_path.glob("data/**")) == [out.parent, out]  # what was there stays, empty as it is


def test_data_without_a_train_split_is_to_be_looked_at_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", "drawn", "--train-identities", "0", "--valid-identities", "0", "--test-identities", "1"]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*words, "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "s; look at some:\n  fes-shards show " in told
    assert "accelerate launch" not in told


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["build", "fer2013", "--sorce", "x"], "no flag --sorce; did you mean '--source'?"),
        (["build", "drawn", "--out", "x", "--train_identites=3"], "did you mean '--train-identities'?"),
        (["build", "drawn", "--overwrit"], "did you mean '--overwrite'?"),
        (["verify", "x", "--grid", "y"], "no flag --grid; --help lists them all"),
        (["verfy", "x"], "no command 'verfy'; did you mean 'verify'?"),
        (["build", "fer2012", "--out", "x"], "no command 'build fer2012'; did you mean 'fer2013'?"),
    ],
)
def test_an_unknown_flag_or_command_is_told_with_the_nearest_name(
    capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    assert hint in sentence_of(capsys, *words)


@pytest.mark.parametrize(
    "words", [[], ["build"], ["build", "drawn"], ["build", "drawn", "--out", "x", "--seed", "y"]]
)
def test_missing_words_and_values_that_do_not_parse_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_no_index_and_no_traceback_and_the_same_command_goes_on(
    tmp_path: Path, workers: int
) -> None:
    words = ["build", "drawn", "--out", tmp_path, "--workers", workers, "--train-identities", 400]
    program = subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ),  # a shell may have it ignored in jobs
    )
    while not list(tmp_path.glob("unfinished/*.npy")) and program.poll() is None:
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "stopped; run the same command again to go on" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / INDEX_NAME).exists()
    code, _, errors = run(*words)
    assert code == 0, errors
    assert not (tmp_path / "unfinished").exists()
    assert ShardIndex.load(tmp_path).catalogue.samples == (400 + 50 + 100) * 7


def in_a_shell(line: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", f"set -o pipefail; {line}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_output_that_nobody_reads_to_the_end_is_no_error(drawn_folder: Path) -> None:
    show = " ".join([*PROGRAM, "show", str(drawn_folder)])
    done = in_a_shell(f"{show} | head -1")
    assert done.returncode == 0
    assert done.stdout.startswith("drawn: 48x48 grey")
    assert in_a_shell(f"{show} | true").returncode == 0


def test_the_exit_code_tells_of_faults_also_where_nobody_reads_them(folder: Path) -> None:
    next(folder.glob("*.tar")).write_bytes(b"")
    verify = " ".join([*PROGRAM, "verify", str(folder)])
    assert in_a_shell(f"{verify} | true").returncode == 1


def test_sigterm_stops_a_build_with_all_its_workers_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["build", "drawn", "--out", tmp_path, "--workers", 2, "--train-identities", 400]
    program = subprocess.Popen([*PROGRAM, *map(str, words)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("unfinished/*.npy")) and program.poll() is None:
        time.sleep(0.02)
    program.terminate()
    _, errors = program.communicate(timeout=60)  # ends when the last worker has closed it
    assert program.returncode == 143
    assert "stopped; run the same command again to go on" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "work", "then"),
    [
        ("build drawn --out {}", "BuildDrawn.run", "run the same command again to go on"),
        ("index {} --out {}", "index_shards", "the same command begins anew"),
        ("verify {}", "verify", "the same command begins anew"),
        (
            "verify {} --repair",
            "repair",
            "the same command begins anew, or finishes the repair where changes ",
        ),
        ("show {}", "print_summary", "the same command begins anew"),
    ],
)
@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_who_stops_a_command_is_told_what_the_same_one_does_then(
    words: str,
    work: str,
    then: str,
    stop: type[BaseException],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr(f"shards.cli.{work}", stopped)
    with pytest.raises(SystemExit) as ended:
        cli.main(words.replace("{}", str(tmp_path)).split())
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(f"fes-shards: stopped; {then}")


def test_a_terminal_sees_the_bar_and_a_file_the_words(tmp_path: Path) -> None:
    (tmp_path / "faces/happy").mkdir(parents=True)
    for number in range(4):
        as_image(picture(number).reshape(48, 48, 1)).save(tmp_path / f"faces/happy/{number}.png")
    build = [*PROGRAM, "build", "folder", "--source", tmp_path / "faces", "--out", tmp_path / "out"]
    line = f"{' '.join(map(str, build))} > {tmp_path / 'log'}"
    terminal, program = pty.openpty()
    with subprocess.Popen(["bash", "-c", line], cwd=ROOT, stderr=program) as running:
        os.close(program)
        shown = b""
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while part := os.read(terminal, 4096):
                shown += part
    os.close(terminal)
    assert running.returncode == 0
    assert b"reading" in shown
    assert "accelerate launch fes/train.py" in (tmp_path / "log").read_text()

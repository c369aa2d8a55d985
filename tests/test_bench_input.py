"""What a script of bench/ cannot measure, it tells in one sentence before it measures anything."""

import dataclasses
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

from bench import (
    ablation,
    data,
    gains,
    gpu,
    growing,
    machinery,
    memory,
    opening,
    photographs,
    plot,
    profile,
    ranks,
    speed,
    strength,
)
from bench.building import build_fer2013
from bench.recording import keep, kept
from bench.whole_runs import run_python
from fes.errors import InputError
from fes.judge import Judge, new_judge, save_judge

ROOT = Path(__file__).parents[1]
RECIPE = str(ROOT / "recipes/fer2013.yaml")
KINDS = {
    "ablation": ablation.Ablation,
    "data": data.Options,
    "gains": gains.Options,
    "gpu": gpu.Options,
    "growing": growing.Growing,
    "machinery": machinery.Options,
    "memory": memory.Options,
    "opening": opening.Opening,
    "photographs": photographs.Photographs,
    "plot": plot.Options,
    "profile": profile.Profile,
    "ranks": ranks.Job,
    "speed": speed.Options,
    "strength": strength.Strength,
}
"""Each script, and what its options are made of."""
NOT_NUMBERS = {int: ("0", "-1"), float: ("0", "-1", "inf", "nan")}
WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="it would be measured here")

Told = Callable[..., str]


def needed(kind: type) -> dict[str, str]:
    """A value for each option that has no default: files and folders that are not there, or 1."""
    hints = typing.get_type_hints(kind)
    missing = [each.name for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING]
    return {flag(name): "1" if hints[name] is int else "/not/there" for name in missing}


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def numbers() -> Iterator[tuple[str, str, list[str]]]:
    """Script, option and values that make no sense, for each option of each script that takes numbers."""
    for script, kind in KINDS.items():
        for name, hint in typing.get_type_hints(kind).items():
            many = typing.get_args(hint) if typing.get_origin(hint) is tuple else (hint,)
            count = 1 if ... in many else len(many)
            for value in NOT_NUMBERS.get(many[0], ()):
                if (name, value) not in {("opening", "0"), ("step", "0")}:
                    yield script, name, [value] * count


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """A script and words that it cannot work with -> the one line on stderr, the script's name left out."""

    def sentence(script: str, *words: object) -> str:
        given = [str(word) for word in words]
        flags = {word.partition("=")[0] for word in given}
        rest = [f"{each}={value}" for each, value in needed(KINDS[script]).items() if each not in flags]
        with pytest.raises(SystemExit) as ended:
            import_module(f"bench.{script}").main([*given, *rest])
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert out == ""
        assert line.startswith(f"bench.{script}: ")
        return line.removeprefix(f"bench.{script}: ")

    return sentence


def test_every_script_is_looked_at_here() -> None:
    scripts = {path.stem for path in ROOT.glob("bench/*.py") if "__main__" in path.read_text()}
    assert scripts == KINDS.keys()


@pytest.mark.parametrize("script", KINDS)
def test_a_flag_that_does_not_exist_is_told(script: str, told: Told) -> None:
    assert told(script, "--nonsens", "1").startswith("there is no flag --nonsens; ")


@pytest.mark.parametrize(("script", "name", "values"), list(numbers()))
def test_a_number_that_makes_no_sense_is_told_with_its_flag(
    script: str, name: str, values: list[str], told: Told
) -> None:
    words = [f"{flag(name)}={values[0]}"] if len(values) == 1 else [flag(name), *values]
    assert told(script, *words).startswith(f"{flag(name)} is ")


@pytest.mark.parametrize(
    ("script", "words", "sentence"),
    [
        ("gains", "--resolution 50", "--resolution is 50: it must be 48 or 64 times a power of two"),
        ("memory", "--resolutions 48 50", "--resolutions is 50: it must be 48 or 64 times a power of two"),
        ("memory", "--resolutions", "--resolutions names none: give at least one"),
        ("memory", "--channels 2", "--channels is 2: it must be 1 (grey) or 3 (RGB)"),
        ("ablation", "--opening 1.5", "--opening is 1.5: it must be from 0 to 1"),
        ("speed", "--device gpu", "--device is gpu: it must be cuda or cpu"),
        ("profile", "--features 32 256", "--features is 32 256: the first, the most, must not be less"),
        ("gains", "--only plan", "--only 'plan': there is none of this name; did you mean 'plain'?"),
        ("gains", "--device cpu --only tf32", "--only 'tf32' is a way for cuda: leave it out here"),
        ("ablation", "--only lihgt", "--only 'lihgt': there is none of this name; did you mean 'no light'?"),
        ("ablation", "--recipe /not/there", "cannot read the config /not/there: "),
        ("ablation", f"--recipe {RECIPE} --only recipe", "/not/there does not exist: check the path"),
        ("growing", "--high-kimg 8", "--high-kimg is 8: it must be more than 8, as the pace is that of what"),
        ("growing", "", "/not/there does not exist: check the path"),
        ("strength", "", "/not/there does not exist: check the path"),
        ("strength", "--judge /not/there", "/not/there is not a judge: "),
        ("strength", "--weights /not/there", "no snapshot and no run at /not/there"),
        ("photographs", "", "--folder /not/there holds no photographs"),
        ("data", "--source /not/there", "--source: there is no /not/there; leave it out, and as much is "),
        ("data", f"--out {__file__}", f"cannot write to the folder {__file__}: "),
        ("machinery", f"--out {__file__}", f"cannot write to the folder {__file__}: "),
        ("plot", "--out /not/there", "there is no /not/there/machinery.jsonl: `python -m bench.machinery "),
        ("opening", "", "/not/there does not exist: check the path"),
        ("ranks", "", "this is one rank of several: `python -m bench.machinery` starts them"),
        pytest.param("gpu", "", "this machine has no GPU that torch can use: ", marks=WITHOUT_GPU),
        pytest.param("memory", "--measure", "--measure takes steps on a GPU, and torch ", marks=WITHOUT_GPU),
        pytest.param("gains", "--device cuda", "--device is cuda, and this machine ", marks=WITHOUT_GPU),
        pytest.param("speed", "--device cuda", "--device is cuda, and this machine ", marks=WITHOUT_GPU),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_sentence(
    script: str, words: str, sentence: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert told(script, *words.split()).startswith(sentence)


def test_judges_of_whole_runs_are_looked_at_before_anything_is_trained_or_drawn(
    told: Told, drawn_folder: Path, drawn_judge: Judge, tmp_path: Path
) -> None:
    out, judge, wide = tmp_path / "out", tmp_path / "judge", tmp_path / "wide"
    save_judge(judge, drawn_judge)
    save_judge(wide, new_judge("plain", 96, 1, 0))
    data = "--data", drawn_folder, "--out", out
    asked = ["ablation", *data, "--recipe", RECIPE, "--only", "recipe", "no guide"]
    sentence = told(*asked, "--judge", wide, "--guide", judge)
    assert sentence.startswith("the judge reads pictures of 96 px and 1 channel, ")
    sentence = told(*asked, "--judge", judge, "--guide", judge)
    assert sentence.startswith(f"{judge} is the guide that the faces were trained with, ")
    assert told(*asked, "--judge", judge).startswith("/not/there cannot be read: ")
    asked = ["growing", *data, "--guide", judge]
    assert told(*asked, "--judge", judge).startswith("the judge reads pictures of 48 px and 1 channel, ")
    assert told(*asked, "--judge", wide).startswith(f"--data {drawn_folder} holds no drawn faces of 96 px, ")
    assert not out.exists()
    assert told("strength", "--judge", wide).startswith("the judge reads pictures of 96 px and 1 channel, ")


def test_a_program_that_ends_with_a_code_has_told_why(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        run_python("-c", "import sys; sys.exit(2)")
    assert ended.value.code == 2
    (tmp_path / "fer2013.csv").write_text("x\n")
    with pytest.raises(SystemExit) as ended:
        build_fer2013(tmp_path / "fer2013.csv", tmp_path / "out")
    assert ended.value.code == 2
    assert "fer2013.csv has no column 'pixels' in its first line" in capfd.readouterr().err


def test_a_line_that_is_no_json_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    keep(path, {"a": 1}, [{}, {}])
    assert kept(path) == 2 * [{"a": 1}]
    for line in ("{", "1"):
        path.write_text(f'{{"a": 1}}\n{line}\n')
        with pytest.raises(
            InputError, match=r"^line 2 of .*figures\.jsonl is no object in json: take that line"
        ):
            kept(path)
    with pytest.raises(InputError, match=r"^cannot read "):
        kept(tmp_path)


def test_what_is_told_reaches_who_called_the_script_and_no_traceback_does() -> None:
    words = [sys.executable, "-m", "bench.speed", "--repeats", "0"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bench.speed: --repeats is 0: it must be at least 1\n"

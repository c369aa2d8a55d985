"""`fes selfcheck gradients`: right where ranks are right, wrong where anything is spoilt."""

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from fes import draws
from fes.config import AugmentConfig, Config, LossConfig, ModelConfig, OptimiserConfig, StartConfig
from fes.errors import InputError
from fes.hardware import Hardware
from fes.judge import new_judge, save_judge
from fes.model import networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.selfcheck import comparison
from fes.selfcheck.command import asked, check, main
from fes.selfcheck.comparison import Comparison, affordable
from fes.selfcheck.verdict import FLOAT32, FLOAT64, Difference, Found, furthest, judged
from tests.fes.launching import REPOSITORY, run_ranks

MODEL = {"latent_dim": 8, "max_features": 32, "min_features": 8, "latent_critic_features": 16}
TINY = [*(f"--model.{name.replace('_', '-')}={value}" for name, value in MODEL.items()), "--critic-steps=2"]
CONFIG = Config(
    data="", run=Path(), batch=8, critic_steps=2, model=ModelConfig(resolution=48, channels=1, **MODEL)
)
EVERYTHING = dataclasses.replace(
    CONFIG,
    model=dataclasses.replace(CONFIG.model, skip="warp"),
    loss=LossConfig(
        expression_weight=1.0,
        guide_weight=1.0,
        guide_painting=0.3,
        cycle_weight=1.0,
        consistency_weight=1.0,
        feature_weight=1.0,
        paint_weight=0.5,
        paint_free=0.1,
        strain_weight=0.3,
        strain_limit=0.2,
        adversary="r1-relativistic",
        balance=True,
    ),
    augment=AugmentConfig(strength=0.5),
)


# ---- several processes, sound and spoilt


class Apart(Player):
    """A player that keeps its gradients to itself, always or from its second step on."""

    def __init__(self, player: Player, steps: int) -> None:
        vars(self).update(vars(player))
        self.steps = steps

    def step(self, batch, noise, **asked):
        self.steps -= 1
        with self._alone() if self.steps < 0 else contextlib.nullcontext():
            return super().step(batch, noise, **asked)


@contextlib.contextmanager
def spoilt(name: str, runtime: Runtime) -> Iterator[None]:
    """What a mistake in fes, or in a library, would do."""
    player, noise = runtime.player, draws.noise
    with pytest.MonkeyPatch.context() as patch:
        if name == "no all-reduce":
            patch.setattr(runtime, "player", lambda *words: Apart(player(*words), steps=0))
        elif name == "no all-reduce later":
            patch.setattr(runtime, "player", lambda *words: Apart(player(*words), steps=1))
        elif name == "a seed for each rank":

            def unlike(seed, step, batch, latent_dim, rows):
                return noise(seed + runtime.rank * (rows != slice(None)), step, batch, latent_dim, rows)

            patch.setattr(comparison, "noise", unlike)
        elif name == "batch statistics in a critic":
            parts = networks.PENALISED_PARTS._replace(norm=nn.BatchNorm2d)
            patch.setattr(networks, "PENALISED_PARTS", parts)
        elif name == "the same samples for each rank":
            patch.setattr(comparison, "share_of", lambda batch, rank, ranks: slice(0, batch // ranks))
        yield


SPOILT = {
    "no all-reduce": "ranks 0, 1 do not have the gradients of the rest; the first is critics: ",
    "no all-reduce later": "ranks 0, 1 do not have the weights of the rest: they are not averaged",
    "a seed for each rank": "the ranks agree, but not with one process; the first is critics: ",
    "batch statistics in a critic": "the ranks agree, but not with one process; the first is critics: ",
    "the same samples for each rank": "the ranks agree, but not with one process; the first is critics: ",
}


def compare_sound_and_spoilt(out: Path) -> None:
    """Writes the verdicts of this rank, by what is spoilt, and how far off it is where nothing is."""
    runtime = Runtime(Hardware(micro_batch=2))
    comparison.UPDATES = 1
    verdicts = {}
    for name in ("", *SPOILT):
        with spoilt(name, runtime):
            verdicts[name] = judged(Comparison(CONFIG, runtime).found(), FLOAT64)
    everything = dataclasses.replace(EVERYTHING, start=StartConfig(guide=out / "guide"))
    verdicts["everything"] = judged(Comparison(everything, runtime).found(), FLOAT64)
    comparison.UPDATES = 10
    sound = Comparison(CONFIG, runtime)
    verdicts["far"] = [(each.gradients.largest, each.weights.largest) for each in sound.found()]
    verdicts["updates"] = sound.updates
    runtime.launch = dataclasses.replace(runtime.launch, zero_stage=2)
    with_engines = Comparison(CONFIG, runtime)
    verdicts["engines"] = judged(with_engines.found(), with_engines.exactness)
    verdicts["few"] = with_engines.updates
    verdicts["far with engines"] = with_engines.found()[0].weights.largest
    runtime.player = lambda objective, optimiser, clip: Player(objective, optimiser)
    config = dataclasses.replace(CONFIG, optimiser=OptimiserConfig(1e-6, 1e-6))
    apart = Comparison(config, runtime)
    apart.exactness = dataclasses.replace(FLOAT32, weights=math.inf)  # the furthest, not the first too far
    verdicts["far apart"] = apart.found()[0].weights.largest
    (out / f"{runtime.rank}.json").write_text(json.dumps(verdicts))
    runtime.close()


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Those of two ranks."""
    out = tmp_path_factory.mktemp("verdicts")
    save_judge(out / "guide", new_judge("plain", 48, 1, seed=0))
    run_ranks(2, out, compare_sound_and_spoilt, out)
    return [json.loads((out / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_sound_ranks_in_pieces_are_right(verdicts):
    right = "the gradients are right: 2 processes compute what one would at once, to the bit alike"
    assert [each[""] for each in verdicts] == [[True, right]] * 2
    assert all(gradients < 1e-12 and weights < 1e-10 for gradients, weights in verdicts[0]["far"])
    assert [each["everything"] for each in verdicts] == [[True, right]] * 2
    assert 1 <= verdicts[0]["updates"] <= 10


def test_engines_of_deepspeed_are_compared_in_float32(verdicts):
    assert verdicts[0]["engines"] == verdicts[0][""]
    assert verdicts[0]["few"] <= 2


def test_the_limit_in_float32_is_far_from_rounding_and_from_faults_whatever_the_rates(verdicts):
    assert verdicts[0]["far with engines"] * 10 < FLOAT32.weights < verdicts[0]["far apart"] / 10


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_spoilt_is_wrong_on_all_ranks_and_named(verdicts, name):
    right, verdict = verdicts[0][name]
    assert not right
    assert verdict.startswith(f"the gradients are WRONG: {SPOILT[name]}")
    assert verdicts[1][name] == verdicts[0][name]


# ---- one process


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.mark.usefixtures("one_core")
def test_one_process_is_compared_in_pieces(runtime, capsys, monkeypatch):
    monkeypatch.setattr(comparison, "UPDATES", 1)
    assert check(CONFIG, runtime)
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert "batch: 8 pictures of noise, 48 px, 1 channel; for each process 8, in 2 pieces" in lines
    assert verdict == "the gradients are right: in pieces this process computes what one would at once"


@pytest.mark.usefixtures("one_core")
def test_a_batch_that_takes_too_long_is_lowered_with_its_pieces_kept(runtime, monkeypatch):
    runtime.hardware = Hardware(micro_batch=4)
    config = Config(data="", run=Path(), batch=16, critic_steps=2, model=CONFIG.model)
    assert affordable(config, runtime) is config
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    lowered = affordable(config, runtime)
    assert (lowered.batch, runtime.hardware.micro_batch) == (8, 2)
    assert affordable(lowered, runtime) is lowered


@pytest.mark.usefixtures("one_core")
def test_rows_of_a_batch_are_those_of_the_whole_with_one_label_missing(runtime):
    trial = Comparison(CONFIG, runtime)
    whole, noise = trial.data(3)
    rows, its_noise = trial.data(3, slice(2, 5))
    assert all(torch.equal(part, each[2:5]) for part, each in zip(rows, whole, strict=True))
    assert all(torch.equal(part, each[2:5]) for part, each in zip(its_noise, noise, strict=True))
    assert whole.label[0] == -1
    assert (whole.partner_label == -1).sum() == 1
    assert whole.image.dtype == torch.uint8
    assert noise.z_prior.dtype == torch.float64


# ---- verdicts


def test_the_first_that_is_beyond_the_limit_is_told_else_the_furthest():
    expected = {name: torch.tensor([1.0, -4.0]) for name in "abc"}
    found = {"a": torch.tensor([1.0, -3.0]), "b": torch.tensor([1.0, -2.0]), "c": torch.tensor([1.0, 4.0])}
    assert furthest(found, expected, limit=1.5) == Difference(2.0, "b")
    assert furthest(found, expected, limit=9.0) == Difference(8.0, "c")
    assert furthest(found, expected, limit=9.0, least=1.0) == Difference(2.0, "c")
    assert furthest(found, expected, limit=9.0, least=16.0) == Difference(0.5, "c")
    found["a"][0] = torch.nan
    assert furthest(found, expected, limit=9.0) == Difference(torch.inf, "a")
    expected["a"][0] = torch.nan
    with pytest.raises(InputError, match=r"even one process diverges \(a\)"):
        furthest(found, expected, limit=9.0)


def test_weights_that_go_astray_later_are_wrong():
    fine = Found("CPU", Difference(0.0, "a"), Difference(1e-8, "b"), {"gradients": "x", "weights": "y"})
    right, verdict = judged([fine, fine], FLOAT64)
    assert not right
    assert "the first are right, but after the updates b is off by 1.0e-08" in verdict


# ---- the command line


def command(*words: str, path: Path = REPOSITORY, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m ...` in the project's folder, with more places to import from."""
    environment = {**os.environ, "PYTHONPATH": f"{path}:{REPOSITORY}", "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_command_finds_two_processes_of_this_machine_right(tmp_path):
    (tmp_path / "run.yaml").write_text("batch: 8\n")
    settings = ["--config", str(tmp_path / "run.yaml"), "--processes", "2", "--micro-batch", "2", *TINY]
    done = command("fes.cli", "selfcheck", "gradients", *settings)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("processes: 2 on ")
    assert lines[1] == "in float64, whatever precision the launcher asks for"
    assert lines[2].endswith(" 48 px, 1 channel; for each process 4, in 2 pieces")
    assert lines[-1].startswith("the gradients are right: 2 processes compute what one would at once")


BROKEN = """
import sys
if "fes.selfcheck" in " ".join(sys.orig_argv):
    from fes.runtime.player import Player
    from fes.runtime.processes import Runtime
    Runtime.player = lambda self, objective, optimiser, clip: Player(objective, optimiser)
"""


def test_the_command_ends_with_code_1_and_its_verdict_alone_where_ranks_are_wrong(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    settings = ["--batch=4", "--processes=2", *TINY]
    done = command("fes.cli", "selfcheck", "gradients", *settings, path=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith("the gradients are WRONG: ranks 0, 1 do not have the ")


@pytest.mark.parametrize("words", [("fes.cli", "selfcheck", "gradients"), ("fes.selfcheck",)], ids=len)
def test_a_command_that_is_told_to_end_ends_its_processes(words, processes, tmp_path):
    (tmp_path / "run.yaml").write_text("batch: 4\n")
    settings = ["--config", str(tmp_path / "run.yaml"), "--processes", "2", *TINY]
    command = [sys.executable, "-m", *words, *settings]
    started = processes.start(*command, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")

    def alive():
        return [each for each in Path("/proc").glob("[0-9]*/cmdline") if named(each, str(tmp_path))]

    processes.until(lambda: len(alive()) >= 4, started)  # itself, the launcher and two ranks
    started.terminate()
    assert processes.code(started) == 143
    assert processes.told(started) == "fes: stopped; the same command begins anew\n"
    deadline = time.monotonic() + 60
    while alive():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def named(cmdline, word):
    with contextlib.suppress(OSError):  # it may end just then
        return word in cmdline.read_text()
    return False


def test_under_a_launcher_each_process_joins_those_that_it_started():
    profile = ["--config_file", "launch/cpu.yaml", "--main_process_port", "0", "--mixed_precision", "bf16"]
    settings = ["-m", "fes.selfcheck", "--batch=4", *TINY]
    done = command("accelerate.commands.launch", *profile, *settings, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the gradients are right: 2 processes") == 1


def test_settings_that_make_no_sense_are_told_before_anything_is_started(capsys, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for words, told in (
        (["--bacth=3"], "there is no flag --bacth; did you mean '--batch'?"),
        (["--processes=0"], "--processes is 0: it must be at least 1"),
        (["--processes=3", "--batch=8"], "--batch is 8: 3 processes cannot share it equally"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"fes: {told}")


def test_settings_stand_in_where_data_would_decide():
    config, hardware, processes, rest = asked(["--micro-batch", "4", "--processes", "2", "--seed", "3"])
    assert (config.model.resolution, config.model.channels, config.seed) == (48, 1, 3)
    assert (hardware.micro_batch, processes) == (4, 2)
    assert rest == ["--micro-batch", "4", "--seed", "3"]
    assert asked(["--data", "faces"])[0].data == asked(["--data=faces"])[0].data == "faces"

"""What launchers and their profiles ask for is taken, or refused with the reason."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fes.errors import InputError
from fes.hardware import Hardware
from fes.runtime.launcher import Launch, check_together, cores_of_rank
from tests.fes.launching import PATIENCE, REPOSITORY

DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true"}

without_gpus = pytest.mark.skipif(torch.cuda.is_available(), reason="asks for GPUs that are not there")


def read(**variables: str) -> Launch:
    return Launch.read({"ACCELERATE_USE_CPU": "true", **variables})


def test_without_a_launcher_there_is_one_process_in_float32():
    assert Launch.read({}) == Launch(ranks=1, ranks_here=1, on_cpu=False, precision="no", zero_stage=None)


def test_a_launchers_wishes_are_taken():
    variables = {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "ACCELERATE_MIXED_PRECISION": "bf16"}
    launch = read(**variables, **DEEPSPEED, ACCELERATE_DEEPSPEED_ZERO_STAGE="0")
    assert launch == Launch(ranks=8, ranks_here=4, on_cpu=True, precision="bf16", zero_stage=0)


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        ({}, 8 // 4),
        ({"SLURM_NTASKS": "8", "SLURM_CPUS_PER_TASK": "6"}, 6),
        ({"SLURM_NTASKS": "8", "SLURM_CPUS_PER_TASK": "64"}, 8),
        ({"SLURM_NTASKS": "8"}, 8 // 4),
        ({"SLURM_NTASKS": "1", "SLURM_CPUS_PER_TASK": "8"}, 8 // 4),
    ],
    ids=["no SLURM", "a task with cores", "more than there are", "a task of any", "a launcher in a task"],
)
def test_a_rank_has_its_share_of_the_cores_or_those_of_its_task(variables, share, monkeypatch):
    monkeypatch.setattr("fes.runtime.launcher.cores", lambda: 8)
    assert cores_of_rank(read(WORLD_SIZE="8", LOCAL_WORLD_SIZE="4"), variables) == share


def test_what_asks_for_nothing_is_not_refused():
    """As accelerate sets them for a profile that leaves them out."""
    launch = read(
        **DEEPSPEED,
        ACCELERATE_DEEPSPEED_ZERO_STAGE="1",
        ACCELERATE_GRADIENT_ACCUMULATION_STEPS="1",
        ACCELERATE_GRADIENT_CLIPPING="0.0",
        ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE="none",
        ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE="none",
        ACCELERATE_DEEPSPEED_CONFIG_FILE="none",
        ACCELERATE_DYNAMO_BACKEND="NO",
        ACCELERATE_USE_FSDP="false",
    )
    assert launch.zero_stage == 1


def test_deepspeed_without_a_stage_is_of_the_stage_that_accelerate_documents():
    assert read(**DEEPSPEED).zero_stage == 2


def test_accelerate_is_kept_from_making_an_engine_of_its_own():
    variables = {"ACCELERATE_USE_CPU": "true", **DEEPSPEED}
    Launch.read(variables)
    assert "ACCELERATE_USE_DEEPSPEED" not in variables


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, "--mixed_precision fp8: take no, bf16 or fp16"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "4 gradient accumulation steps: .* --micro-batch"),
        (
            {"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"},
            r"torch.compile \(INDUCTOR\), which has no double backward",
        ),
        ({"ACCELERATE_USE_FSDP": "true"}, "FSDP, which does not support the double backward"),
        (
            {"ACCELERATE_GRADIENT_CLIPPING": "1.0"},
            "gradient clipping at 1.0: .* --optimiser.max-gradient-norm",
        ),
        (
            DEEPSPEED | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
            "ZeRO stage 3, which shards the weights and then has no second derivative",
        ),
        (DEEPSPEED | {"ACCELERATE_MIXED_PRECISION": "fp16"}, "fp16 with DeepSpeed, .* penalty overflows"),
        (
            DEEPSPEED | {"ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu"},
            "optimiser states on the cpu: .* take offload_optimizer_device none",
        ),
        (
            DEEPSPEED | {"ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "nvme"},
            "weights on the nvme: .* take offload_param_device none",
        ),
        (
            DEEPSPEED | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": "mine.json"},
            "the DeepSpeed settings of mine.json: write zero_stage into the launch profile",
        ),
    ],
)
def test_what_is_not_here_or_would_be_wrong_is_refused_with_the_reason(
    variables: dict[str, str], reason: str
) -> None:
    with pytest.raises(InputError, match=f"the launch profile asks for .*{reason}"):
        read(**variables)


def test_deepspeed_that_is_not_installed_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"run DS_BUILD_OPS=0 pip install -e '.\[deepspeed\]'"):
        read(**DEEPSPEED)


def test_channels_last_is_refused_with_deepspeed_alone() -> None:
    hardware = Hardware(channels_last=True)
    check_together(read(), hardware)
    check_together(read(**DEEPSPEED), Hardware())
    with pytest.raises(InputError, match="--channels-last is not to be had with DeepSpeed"):
        check_together(read(**DEEPSPEED), hardware)


@without_gpus
def test_more_processes_than_gpus_are_refused_with_what_to_run_instead() -> None:
    with pytest.raises(InputError, match=r"started 3 processes, and this machine has 0 GPUs: .* --multi_gpu"):
        Launch.read({"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"})


@pytest.fixture(scope="module")
def refusals(drawn_folder: Path) -> dict[str, tuple[int, str]]:
    """(exit code, words) of accelerate launching train.py with FSDP, and with ZeRO-3."""
    wishes = {"FSDP": ["--use_fsdp"], "ZeRO-3": ["--use_deepspeed", "--zero_stage", "3"]}
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--num_machines",
        "1",
        "--num_processes",
        "1",
    ]
    command += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    script = [str(REPOSITORY / "fes" / "train.py"), "--data", str(drawn_folder), "--run", "none", "--dry-run"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(REPOSITORY)}
    pipes = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    launched = {name: subprocess.Popen([*command, *wish, *script], **pipes) for name, wish in wishes.items()}
    try:
        words = {name: process.communicate(timeout=PATIENCE)[0] for name, process in launched.items()}
    finally:
        for process in launched.values():
            process.terminate()
            process.wait(PATIENCE)
    return {name: (process.returncode, words[name]) for name, process in launched.items()}


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ("FSDP", "FSDP, which does not support the double backward"),
        (
            "ZeRO-3",
            "DeepSpeed's ZeRO stage 3, which shards the weights",
        ),
    ],
)
def test_refusals_reach_the_user_of_accelerate_launch(
    refusals: dict[str, tuple[int, str]], wish: str, reason: str
) -> None:
    code, words = refusals[wish]
    assert code != 0
    (told,) = (line for line in words.splitlines() if line.startswith("train.py"))
    assert told.startswith(f"train.py: the launch profile asks for {reason}")
    assert "exitcode  : 2" in words

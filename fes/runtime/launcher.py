"""What the launcher and its profile ask for: read from the variables that they set, and checked."""

import importlib.util
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import torch

from fes.errors import InputError
from fes.hardware import Hardware, Precision
from fes.machine import cores

ON_CPU = "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_machines 1 --num_processes"
ZERO_STAGES = 0, 1, 2


@dataclass(frozen=True)
class Launch:
    """The launcher's wishes."""

    ranks: int
    """Processes in all."""
    ranks_here: int
    """Processes on this machine."""
    on_cpu: bool
    """Whether GPUs are to be left alone."""
    precision: Precision
    """What the networks compute in."""
    zero_stage: int | None
    """How much of a player DeepSpeed shards over the ranks; None: without DeepSpeed."""

    @classmethod
    def read(cls, variables: MutableMapping[str, str] = os.environ) -> "Launch":
        """The wishes of the launcher that started this process.

        Takes away the variable that would let accelerate set up DeepSpeed by itself: that makes one engine
        for all networks, and a run needs one for each player.

        Raises:
            InputError: something that is not here, or that would be wrong; the sentence says what to do.
        """
        if int(variables.get("WORLD_SIZE", "1")) > 1 and "LOCAL_WORLD_SIZE" not in variables:
            raise InputError(
                "WORLD_SIZE is set and LOCAL_WORLD_SIZE is not: whatever starts the processes has to tell "
                "how many of them are on this machine"
            )
        launch = cls(
            ranks=int(variables.get("WORLD_SIZE", "1")),
            ranks_here=int(variables.get("LOCAL_WORLD_SIZE", "1")),
            on_cpu=_is_on(variables, "ACCELERATE_USE_CPU"),
            precision=_precision(variables),
            zero_stage=_zero_stage(variables),
        )
        _refuse_unsupported(variables)
        _refuse_missing_gpus(launch)
        variables.pop("ACCELERATE_USE_DEEPSPEED", None)
        return launch


def cores_of_rank(launch: Launch, variables: Mapping[str, str] = os.environ) -> int:
    """The cores that one rank may take: its share of this process's, or those that SLURM gave to its task."""
    given = variables.get("SLURM_CPUS_PER_TASK", "")
    is_task = variables.get("SLURM_NTASKS") == str(launch.ranks)  # else a launcher inside a task started it
    if is_task and given.isdecimal():
        return max(1, min(cores(), int(given)))
    return max(1, cores() // launch.ranks_here)


def check_together(launch: Launch, hardware: Hardware) -> None:
    """Raises `InputError` where what the launcher asks for and what train.py is told exclude each other."""
    if hardware.channels_last and launch.zero_stage is not None:
        raise InputError(
            "--channels-last is not to be had with DeepSpeed, which lays all weights end to end: leave it "
            "out, or take a launch profile without DeepSpeed"
        )


def _is_on(variables: MutableMapping[str, str], name: str) -> bool:
    return variables.get(name, "false").lower() in ("1", "true", "yes", "on", "y", "t")


def _precision(variables: MutableMapping[str, str]) -> Precision:
    asked = variables.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked not in ("no", "bf16", "fp16"):
        raise InputError(f"the launch profile asks for --mixed_precision {asked}: take no, bf16 or fp16")
    return asked


def _zero_stage(variables: MutableMapping[str, str]) -> int | None:
    if not _is_on(variables, "ACCELERATE_USE_DEEPSPEED"):
        return None
    stage = int(variables.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"))  # accelerate's own default
    if stage not in ZERO_STAGES:
        raise InputError(
            f"the launch profile asks for DeepSpeed's ZeRO stage {stage}, which shards the weights and then "
            "has no second derivative for the gradient penalty: take zero_stage 0, 1 or 2"
        )
    if _precision(variables) == "fp16":
        raise InputError(
            "the launch profile asks for fp16 with DeepSpeed, which would keep the weights in fp16, where "
            "the gradient penalty overflows: take 'no' or 'bf16', or fp16 without DeepSpeed"
        )
    if importlib.util.find_spec("deepspeed") is None:
        raise InputError(
            "the launch profile asks for DeepSpeed, which is not installed: run "
            "DS_BUILD_OPS=0 pip install -e '.[deepspeed]'"
        )
    return stage


_UNSUPPORTED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (
        ("1", "auto"),
        "{} gradient accumulation steps: leave that at 1, and say by train.py's --micro-batch how many "
        "pictures fit into memory at once",
    ),
    "ACCELERATE_DYNAMO_BACKEND": (
        ("no",),
        "torch.compile ({}), which has no double backward for the gradient penalty: take --dynamo_backend no",
    ),
    "ACCELERATE_USE_FSDP": (
        ("false", "0"),
        "FSDP, which does not support the double backward of the gradient penalty: take DDP, or DeepSpeed "
        "with zero_stage 1 or 2",
    ),
    "ACCELERATE_GRADIENT_CLIPPING": (
        ("0", "0.0", "none", "auto"),
        "gradient clipping at {}: that changes what is learnt, so take train.py's "
        "--optimiser.max-gradient-norm instead",
    ),
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": (
        ("none",),
        "optimiser states on the {}: the networks are small, take offload_optimizer_device none",
    ),
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": (
        ("none",),
        "weights on the {}: the networks are small, take offload_param_device none",
    ),
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": (
        ("none",),
        "the DeepSpeed settings of {}: write zero_stage into the launch profile instead",
    ),
}
"""Variable -> the values of it that ask for nothing, and what the others are answered."""


def _refuse_unsupported(variables: MutableMapping[str, str]) -> None:
    for name, (harmless, answer) in _UNSUPPORTED.items():
        value = variables.get(name)
        if value is not None and value.lower() not in harmless:
            raise InputError(f"the launch profile asks for {answer.format(value)}")


def _refuse_missing_gpus(launch: Launch) -> None:
    present = torch.cuda.device_count()
    if launch.ranks_here > max(present, 1) and not launch.on_cpu:
        raise InputError(
            f"the launcher started {launch.ranks_here} processes, and this machine has {present} GPUs: run "
            f"'accelerate launch fes/train.py ...' on what there is, or '{ON_CPU} {launch.ranks_here} "
            "fes/train.py ...' for as many processes on the CPU"
        )

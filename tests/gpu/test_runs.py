"""Whole runs on GPUs, by the commands that users type: the same bits again, and after an interruption."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

REPOSITORY = Path(__file__).parents[2]
RANK = Path(__file__).with_name("rank.py")
LAUNCH = (
    "accelerate.commands.launch",
    "--num_processes",
    "1",
    "--num_machines",
    "1",
    "--dynamo_backend",
    "no",
)
TINY = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 1}
clock: {tick_kimg: 0.1, snapshot_kimg: 10, state_kimg: 10}
"""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def python(*words: str, **environment: str) -> None:
    """Runs `python -m ...`, which has to succeed."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def train(data: Path, run: Path, precision: str, kimg: str, *flags: str) -> None:
    """Trains a tiny network on one GPU, with --deterministic."""
    settings = run.parent / "tiny.yaml"
    settings.write_text(TINY)
    words = ["--config", str(settings), "--data", str(data), "--run", str(run)]
    words += ["--clock.total-kimg", kimg, "--deterministic", *flags]
    python(*LAUNCH, "--mixed_precision", precision, "fes/train.py", *words)


def tensors_in(kept: Any, name: str = "") -> Iterator[tuple[str, object]]:
    """Names and leaves of nested containers."""
    if isinstance(kept, dict | list | tuple):
        for key, value in kept.items() if isinstance(kept, dict) else enumerate(kept):
            yield from tensors_in(value, f"{name}/{key}")
    else:
        yield name, kept


def everything_in(state: Path) -> dict[str, object]:
    """The networks, the average, the optimisers and the loss scales of a state, by name."""
    found: dict[str, object] = {}
    for name in ("networks", "average"):
        found |= {f"{name}/{key}": value for key, value in load_file(state / f"{name}.safetensors").items()}
    return found | dict(tensors_in(torch.load(state / "players.pt", weights_only=True)))


def assert_same_bits(one: dict[str, object], other: dict[str, object]) -> None:
    assert one.keys() == other.keys()
    unlike = [
        name
        for name, value in one.items()
        if not (torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name])
    ]
    assert unlike == []


def skip_emulated(precision: str) -> None:
    """fes does not compute in bf16 where a GPU only emulates it."""
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU only emulates bf16")


BENDING = "--model.blocks", "residual", "--model.skip", "warp", "--loss.cycle-weight", "1"
"""Networks whose source is bent, and has to know where it was bent."""


@pytest.mark.parametrize(("precision", "flags"), [("no", ()), ("bf16", ()), ("fp16", ()), ("no", BENDING)])
def test_a_deterministic_run_has_the_same_bits_again_and_after_an_interruption(
    precision: str, flags: tuple[str, ...], drawn_folder: Path, tmp_path: Path
) -> None:
    skip_emulated(precision)
    train(drawn_folder, tmp_path / "whole", precision, "0.48", *flags)
    train(drawn_folder, tmp_path / "again", precision, "0.48", *flags)
    train(drawn_folder, tmp_path / "parts", precision, "0.24", *flags)
    train(drawn_folder, tmp_path / "parts", precision, "0.48", *flags)
    whole, again, parts = (
        everything_in(tmp_path / run / "state-000000.480") for run in ("whole", "again", "parts")
    )
    assert_same_bits(whole, again)
    assert_same_bits(whole, parts)


@pytest.mark.parametrize("blocks", ["strided", "residual"])
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_run_grows_in_any_precision(
    precision: str, blocks: str, drawn_folder: Path, tmp_path: Path
) -> None:
    skip_emulated(precision)
    low, high, made_of = tmp_path / "low", tmp_path / "high", ("--model.blocks", blocks)
    train(drawn_folder, low, precision, "0.096", *made_of)
    larger = "--model.resolution", "96", "--init-from", str(low), "--grow-kimg", "0.096"
    train(drawn_folder, high, precision, "0.192", *made_of, *larger)
    state = everything_in(high / "state-000000.192")
    assert all(value.isfinite().all() for value in state.values() if isinstance(value, Tensor))


def ranks(count: int, data: Path, out: Path, **environment: str) -> dict[str, Tensor]:
    """The weights in float64 after ten updates on so many GPUs."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    python(*launcher, str(RANK), str(data), str(out), OMP_NUM_THREADS="1", **environment)
    return load_file(out)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], most: float) -> None:
    assert found.keys() == expected.keys()
    assert max((found[name] - value).abs().max().item() for name, value in expected.items()) < most


def test_a_gpu_learns_what_a_cpu_learns(drawn_folder: Path, tmp_path: Path) -> None:
    on_gpu = ranks(1, drawn_folder, tmp_path / "gpu.safetensors")
    on_cpu = ranks(1, drawn_folder, tmp_path / "cpu.safetensors", ACCELERATE_USE_CPU="true")
    assert_close(on_gpu, on_cpu, 1e-8)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_learn_what_one_learns(drawn_folder: Path, tmp_path: Path) -> None:
    one = ranks(1, drawn_folder, tmp_path / "one.safetensors")
    two = ranks(2, drawn_folder, tmp_path / "two.safetensors")
    assert_close(two, one, 1e-10)

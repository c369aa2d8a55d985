"""`fes bench` measures the real trainer, counts what it computes, and refuses what it cannot measure."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from fes.bench import Bench
from fes.bench.measure import _Operations, _operations, measure
from fes.bench.peak import peak_flops
from fes.cli import main
from fes.config import Config, ModelConfig
from fes.draws import Noise
from fes.errors import InputError, NoRoom
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.training.cast import build
from tests.fes.made_up import made_up_batch, made_up_noise

TINY = ["--max-features", "32", "--min-features", "8", "--critic-steps", "1", "--batch", "8"]


def run(*words: str) -> None:
    main(["bench", "--seconds", "0.2", *TINY, *words])


def test_products_and_convolutions_are_counted_forward_and_backward() -> None:
    x, kernel = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3, requires_grad=True)
    matrix = torch.randn(4, 6)
    with _Operations() as counted:
        convolved = functional.conv2d(x, kernel, padding=1)
        assert counted.total == 2 * convolved.numel() * 3 * 9
        convolved.sum().backward()
        assert counted.total == 2 * 2 * convolved.numel() * 3 * 9  # of the kernel's gradient as much again
        before = counted.total
        matrix @ matrix.T
        assert counted.total - before == 2 * 4 * 4 * 6


def test_a_penaltys_double_backward_is_counted_too() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    kernel = torch.randn(5, 3, 3, 3, requires_grad=True)
    with _Operations() as counted:
        score = functional.leaky_relu(functional.conv2d(x, kernel, padding=1)).sum()
        (slope,) = torch.autograd.grad(score, x, create_graph=True)
        once = counted.total
        slope.square().sum().backward()
    assert counted.total > once > 0


def test_operations_of_bare_players_are_those_of_a_runs_own_cycle(tiny_model: ModelConfig) -> None:
    config = Config("", Path(), batch=4, critic_steps=3, model=tiny_model)
    batch, noise = made_up_batch(tiny_model), Noise(*(part.float() for part in made_up_noise(tiny_model)))
    networks = Networks(tiny_model, seed=0)
    found = _operations(config, networks, batch, noise)
    assert all(each.grad is None for each in networks.parameters())
    with Runtime() as runtime:
        _, _, cast = build(config, networks, runtime)
        with _Operations() as counted:
            for name in ("critics", "critics", "critics", "autoencoder"):
                cast(0)[name].step(batch, noise)
    assert found == counted.total / (4 * 4)


def test_a_peak_is_a_rate_of_this_device() -> None:
    found = peak_flops(torch.device("cpu"), torch.float32)
    assert set(found) == {"product", "convolution"}
    assert all(1e8 < each < 1e14 for each in found.values())


@pytest.mark.usefixtures("one_core")
def test_each_resolution_has_a_line_and_its_figures_fit_together(tmp_path: Path, capsys) -> None:
    words = ["--resolutions", "48", "64", "--blocks", "residual", "--skip", "mask", "--replay"]
    run(*words, "--out", str(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "bench.jsonl").read_text().splitlines()]
    assert [each["resolution"] for each in lines] == [48, 64]
    for each in lines:
        assert each["blocks"] == "residual"
        assert each["hardware"]["replay"] is False
        assert each["seconds_per_kimg"] * each["images_per_second"] == pytest.approx(1000)
        assert each["flops_per_second"] == pytest.approx(each["flops_per_image"] * each["images_per_second"])
        peak = max(each["peak_product_flops"], each["peak_convolution_flops"])
        assert each["share"] == pytest.approx(each["flops_per_second"] / peak)
        assert 0 < each["share"] < 1.5
        assert min(each["loader_images_per_second"], each["step_images_per_second"], each["peak_gib"]) > 0
    assert lines[1]["flops_per_image"] > 1.5 * lines[0]["flops_per_image"]
    with Image.open(tmp_path / "bench.png") as picture:
        assert picture.width > 500
    told = capsys.readouterr().out
    assert told.startswith(
        "--replay has no effect (it is for one GPU, bf16 or float32, and settings that stay)\n"
    )
    assert f"torch {torch.__version__.partition('+')[0]}" in told
    assert ", float32, 2 processes that read ahead\n" in told
    assert "images/s" in told


@pytest.mark.usefixtures("one_core")
def test_what_was_measured_is_kept_where_a_later_resolution_fails(tmp_path: Path, monkeypatch) -> None:
    def measured_but_for_64(config: Config, runtime: Runtime, seconds: float) -> dict[str, float]:
        if config.model.resolution == 64:
            raise KeyboardInterrupt
        return measure(config, runtime, seconds)

    monkeypatch.setattr("fes.bench.command.measure", measured_but_for_64)
    tiny = {"max_features": 32, "min_features": 8, "critic_steps": 1, "batch": 8}
    with pytest.raises(KeyboardInterrupt):
        Bench((48, 64), seconds=0.01, out=tmp_path, **tiny).run()
    (line,) = (tmp_path / "bench.jsonl").read_text().splitlines()
    assert json.loads(line)["resolution"] == 48


def test_a_gpu_without_room_is_told_with_the_flags_of_the_bench(monkeypatch) -> None:
    def measured_without_room(config: Config, runtime: Runtime, seconds: float) -> dict[str, float]:
        raise NoRoom(32)

    monkeypatch.setattr("fes.bench.command.measure", measured_without_room)
    bench = Bench((48,))
    sentence = (
        r"no room for 32 pictures of 48 px at once: take a smaller --micro-batch, or .* \(--max-features\)$"
    )
    with Runtime() as runtime, pytest.raises(InputError, match=sentence):
        bench._found(*bench._configs(), runtime)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resolutions"], "--resolutions names none: give at least one, as 48"),
        (["--resolutions", "50"], ": --resolutions is 50: it must be 48 or 64 times a power of two"),
        (["--channels", "2"], "channels is 2: it must be 1 (grey) or 3 (RGB)"),
        (["--max-features", "4"], ": --max-features is 4: it must be at least 8, which is --min-features"),
        (["--min-features", "300"], ": --max-features is 32: it must be at least 300"),
        (["--min-features", "0"], ": --min-features is 0: it must be at least 1"),
        (["--micro-batch", "0"], "--micro-batch is 0"),
        (["--seconds", "-1"], "--seconds is -1.0: it must be a positive number"),
        (["--seconds", "inf"], "--seconds is inf: it must be a positive number"),
        (["--seconds", "nan"], "--seconds is nan: it must be a positive number"),
        (["--secons", "1"], "there is no flag --secons; did you mean '--seconds'?"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    words: list[str], told: str, tmp_path: Path, capsys
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--out", str(tmp_path), *words)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

"""The commands of the README, as a user types them, on a small data set and a tiny network."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from fes.config.levels import has_levels, split
from fes.config.tree import flat, read_yaml, to_tree
from fes.training.arguments import parse_levels
from tests.processes import ON_ONE_CORE

REPOSITORY = Path(__file__).parents[1]
TINY = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 1}
clock: {total_kimg: 0.48, tick_kimg: 0.1, snapshot_kimg: 10, state_kimg: 10}
"""


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m ...` in the repository's folder."""
    return subprocess.run(
        [*ON_ONE_CORE, sys.executable, "-m", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("recipe", sorted(REPOSITORY.glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_a_config_that_can_be_trained(recipe: Path) -> None:
    tree = read_yaml(recipe)
    levels = split(tree, recipe.name) if has_levels(tree) else [tree]
    asked = parse_levels(["--config", str(recipe), "--data", "data", "--run", "run"])
    for level, each in zip(levels, asked, strict=True):
        assert flat(level).items() <= flat(to_tree(each.config)).items()


@pytest.fixture
def tiny(tmp_path: Path, drawn_folder: Path) -> list[str]:
    """What follows `accelerate launch ...` for a run of seconds in `tmp_path/run`."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    settings = {"--config": tmp_path / "tiny.yaml", "--data": drawn_folder, "--run": tmp_path / "run"}
    return ["fes/train.py", *(str(word) for pair in settings.items() for word in pair)]


def test_from_shards_to_seven_expressions(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    data, run, sheet = (str(tmp_path / name) for name in ("data", "run", "sheet.png"))
    people = ["--train-identities", "8", "--valid-identities", "1", "--test-identities", "1"]
    train = ["fes/train.py", "--config", str(tmp_path / "tiny.yaml"), "--data", data, "--run", run]
    face = str(tmp_path / "face.png")
    Image.new("RGB", (100, 90), "grey").save(face)
    for words in (
        ["shards", "build", "drawn", "--out", data, *people],
        ["shards", "verify", data],
        ["accelerate.commands.launch", *train],
        ["fes.cli", "synthesize", face, "--weights", run, "--out", sheet],
    ):
        done = command(*words)
        assert done.returncode == 0, done.stderr
    with Image.open(sheet) as image:
        assert image.width > 7 * 144


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher_and_its_ranks_saves_a_state_to_go_on_from(
    tiny: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    words = [
        "--config_file",
        "launch/cpu.yaml",
        "--main_process_port",
        "0",
        *tiny,
        "--clock.total-kimg",
        "1000",
    ]
    with subprocess.Popen(
        [*ON_ONE_CORE, sys.executable, "-m", "accelerate.commands.launch", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as launcher:
        told = iter(launcher.stdout)
        assert any("kimg 0.1" in line for line in told)
        os.killpg(launcher.pid, number)
        rest = "".join(told)
    assert "saved; the same command goes on from there" in rest
    assert len(list((tmp_path / "run").glob("state-*"))) == 1


@pytest.fixture
def address(drawn_folder: Path) -> Iterator[str]:
    """Where a real server has the drawn shards."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    handler = partial(Quiet, directory=str(drawn_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_run_from_afar_ends_with_the_weights_of_one_from_the_folder(
    tiny: list[str], address: str, tmp_path: Path
) -> None:
    here = command("accelerate.commands.launch", *tiny)
    assert here.returncode == 0, here.stderr
    run, shards = str(tmp_path / "afar"), tmp_path / "cache"
    afar = ["--data", address, "--run", run, "--stream.shards", str(shards), "--stream.shards-gb", "0.001"]
    settings = ["--config", str(tmp_path / "tiny.yaml")]
    done = command("accelerate.commands.launch", "fes/train.py", *settings, *afar, no_proxy="127.0.0.1")
    assert done.returncode == 0, done.stderr
    states = [(tmp_path / name / "state-000000.480" / "networks.safetensors") for name in ("run", "afar")]
    assert states[0].read_bytes() == states[1].read_bytes()
    assert 0 < sum(path.stat().st_size for path in shards.iterdir()) <= 1_000_000


def test_several_data_sets_with_weights_train_together(tiny: list[str], tmp_path: Path) -> None:
    data = tmp_path / "colour"
    people = ["--train-identities", "4", "--valid-identities", "1", "--test-identities", "0"]
    size = ["--resolution", "64", "--channels", "3"]
    built = command("shards", "build", "drawn", "--out", str(data), *people, *size)
    assert built.returncode == 0, built.stderr
    mixed = [*tiny[:3], "--data", f"{tiny[4]}:0.75,{data}:0.25", *tiny[5:]]
    shown = command("fes.train", *mixed[1:], "--dry-run")
    assert "resolution: 48" in shown.stdout, shown.stderr
    done = command("accelerate.commands.launch", *mixed)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run").glob("grids/*.png"))) > 0

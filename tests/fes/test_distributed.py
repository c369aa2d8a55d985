"""Several ranks do exactly what one process does: with real processes, over gloo, in float64."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from shards.index import ShardIndex

RANK = Path(__file__).with_name("rank.py")
REPOSITORY = Path(__file__).parents[2]

Ranks = list[dict[str, Tensor]]


def launched(count: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in `count` processes that know of each other, one thread each."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    launcher.append("--")  # else torchrun takes a script's --run for the beginning of its own --run-path
    return subprocess.run(
        [*launcher, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def launch(count: int, *command: str) -> None:
    """Runs a command like `launched`, which has to succeed."""
    done = launched(count, *command)
    assert done.returncode == 0, done.stderr[-3000:]


def run_ranks(count: int, data: str, out: Path) -> Ranks:
    """What each rank saved."""
    launch(count, str(RANK), data, str(out))
    return [load_file(out / f"rank{rank}.safetensors") for rank in range(count)]


@pytest.fixture(scope="module")
def ranks(
    drawn_folder: Path, unlabelled_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Ranks]:
    """What the ranks of runs with 1, 2 and 4 processes saved, on labelled and unlabelled pictures."""
    data = f"{drawn_folder},{unlabelled_folder}"
    return {count: run_ranks(count, data, tmp_path_factory.mktemp(f"ranks{count}")) for count in (1, 2, 4)}


def differences(found: dict[str, Tensor], expected: dict[str, Tensor], prefix: str) -> dict[str, float]:
    """The largest difference of each tensor whose name begins with a prefix."""
    return {
        name: (found[name] - value).abs().max().item()
        for name, value in expected.items()
        if name.startswith(prefix)
    }


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("player", ["critics", "autoencoder"])
def test_gradients_of_an_objective_equal_those_of_one_process(
    ranks: dict[int, Ranks], count: int, player: str
) -> None:
    expected = ranks[1][0]
    found = differences(ranks[count][0], expected, f"gradient/{player}/")
    assert found
    # The bias that is added to every score has no gradient: it cancels, to rounding.
    largest = {name: max(expected[name].abs().max().item(), 1e-3) for name in found}
    assert max(difference / largest[name] for name, difference in found.items()) < 1e-12


@pytest.mark.parametrize("count", [2, 4])
def test_weights_after_ten_updates_equal_those_of_one_process(ranks: dict[int, Ranks], count: int) -> None:
    for prefix in ("weight/", "average/"):
        found = differences(ranks[count][0], ranks[1][0], prefix)
        assert found
        assert max(found.values()) < 1e-10


@pytest.mark.parametrize("count", [2, 4])
def test_ranks_hold_identical_bits(ranks: dict[int, Ranks], count: int) -> None:
    first, *others = ranks[count]
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_the_ten_updates_moved_every_weight(ranks: dict[int, Ranks]) -> None:
    from fes.networks import Networks
    from tests.fes.rank import MODEL

    start = Networks(MODEL, seed=0).double().state_dict()
    unmoved = [name for name, value in start.items() if torch.equal(value, ranks[1][0][f"weight/{name}"])]
    # What is added to every score alike cancels in the difference that a critic maximises.
    assert set(unmoved) <= {"image_critic.to_score.bias", "latent_critic.layers.4.bias"}


TINY = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 0}
clock: {tick_kimg: 0.1, snapshot_kimg: 10, state_kimg: 0.24}
"""


def test_a_resumed_run_of_four_ranks_ends_with_the_bits_of_one_that_never_stopped(
    drawn_folder: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "tiny.yaml"
    settings.write_text(TINY)
    train = (str(REPOSITORY / "fes" / "train.py"), "--config", str(settings), "--data", str(drawn_folder))
    launch(4, *train, "--run", str(tmp_path / "whole"), "--clock.total-kimg", "0.48")
    launch(4, *train, "--run", str(tmp_path / "parts"), "--clock.total-kimg", "0.24")
    launch(4, *train, "--run", str(tmp_path / "parts"), "--clock.total-kimg", "0.48")
    for name in ("networks", "average"):
        whole, parts = (
            load_file(tmp_path / run / "state-000000.480" / f"{name}.safetensors")
            for run in ("whole", "parts")
        )
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_samples_that_any_rank_skips_are_counted_together_and_end_the_run_on_all(
    drawn_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_folder, tmp_path / "data")
    train = ShardIndex.load(tmp_path / "data").split("train")
    for number in (0, 1):
        with (tmp_path / "data" / train.shards[number].name).open("r+b") as shard:
            shard.seek(int(train.places[train.shard_starts[number]]["image_offset"]))
            shard.write(b"damage")
    (tmp_path / "tiny.yaml").write_text(TINY.replace("tick_kimg: 0.1", "tick_kimg: 10"))
    command = [str(REPOSITORY / "fes" / "train.py"), "--config", str(tmp_path / "tiny.yaml")]
    command += ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    command += ["--stream.on-bad-sample", "skip", "--stream.most-bad-samples", "1"]
    kimg = 2 * train.samples / 1000  # two epochs, in each of which one rank or the other meets them
    done = launched(2, *command, "--clock.total-kimg", str(kimg))
    assert done.returncode != 0
    assert "train.py: 2 samples are damaged and were skipped, more than --stream" in done.stderr
    (line,) = (tmp_path / "run" / "stats.jsonl").read_text().splitlines()
    assert json.loads(line)["data/skipped"] == 4
    assert (tmp_path / "run" / f"state-{kimg:010.3f}").is_dir()


def test_what_is_wrong_on_one_rank_alone_is_told_with_the_rank(
    drawn_folder: Path, unlabelled_folder: Path, tmp_path: Path
) -> None:
    """The ranks see other folders under one name, as two machines may."""
    places = [tmp_path / "0", tmp_path / "1"]
    for place in places:
        place.mkdir()
        (place / "data").symlink_to(drawn_folder)
    script = tmp_path / "train.py"
    script.write_text(
        "import os\nfrom fes.train import main\n"
        f"os.chdir(os.path.join({str(tmp_path)!r}, os.environ['RANK']))\nmain()\n"
    )
    command = [str(script), "--data", "data", "--run", "run", "--dry-run"]
    (places[1] / "data").unlink()
    done = launched(2, *command)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("train.py")] == [
        "train.py: rank 1: data is no folder of shards; `fes-shards build drawn --out data` makes one, "
        "`fes-shards build --help` names sources"
    ]
    (places[1] / "data").symlink_to(unlabelled_folder)
    told = [line for line in launched(2, *command).stderr.splitlines() if line.startswith("train.py")]
    assert len(told) == 1
    assert "rank 0: data holds the data " in told[0]
    assert "rank 1: data holds the data " in told[0]
    assert told[0].endswith("give all machines the same data set")

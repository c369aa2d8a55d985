"""Several ranks do exactly what one process does: with real processes, over gloo, in float64."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fes import train
from fes.model.networks import Networks
from shards.index import ShardIndex
from tests.fes.launching import run_ranks, started
from tests.fes.rank import (
    BOUNDARY,
    CRITIC_STEPS,
    EVERYTHING,
    HALF,
    MODEL,
    UPDATES,
    WAYS,
    WITHIN,
    compare_ways,
    place,
    train_in_a_folder_of_its_own,
    try_everything,
)

COUNTS = 1, 2, 3, 4
STOPPED = 2  # ranks that stop in the middle, for others to go on
FINISHED = [(count, way) for count in COUNTS for way in WAYS]
FINISHED += [(count, "elastic") for count in COUNTS if count != STOPPED]

Ranks = list[dict[str, Tensor]]


@pytest.fixture(scope="module")
def ranks(
    drawn_folder: Path, unlabelled_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, str], Ranks]:
    """(number of processes, way) -> what each of them saved, on labelled and unlabelled pictures.

    A way is one of `WAYS`, or "elastic": a run that stops halfway with the first number of processes, and
    goes on from there with each other number.
    """
    data, folder = f"{drawn_folder},{unlabelled_folder}", tmp_path_factory.mktemp("ranks")
    elastic = folder / "elastic"
    elastic.mkdir()
    found = {}
    for count in sorted(COUNTS, key=lambda count: count != STOPPED):
        out = folder / str(count)
        run_ranks(count, out, compare_ways, data, out, elastic)
        for way in (*WAYS, "elastic"):
            found[count, way] = [load_file(place(out, way, rank)) for rank in range(count)]
    return found


def differences(found: dict[str, Tensor], expected: dict[str, Tensor], prefix: str) -> dict[str, float]:
    """The largest difference of each tensor whose name begins with a prefix."""
    return {
        name: (found[name] - value).abs().max().item()
        for name, value in expected.items()
        if name.startswith(prefix)
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", COUNTS)
def test_gradients_equal_those_of_one_process(
    ranks: dict[tuple[int, str], Ranks], count: int, way: str
) -> None:
    expected = ranks[1, "plain"][0]
    found = differences(ranks[count, way][0], expected, "gradient/")
    assert {name.split("/")[1] for name in found} == {"critics", "autoencoder"}
    # The bias that is added to every score has no gradient: it cancels, to rounding.
    largest = {name: max(expected[name].abs().max().item(), 1e-3) for name in found}
    assert max(difference / largest[name] for name, difference in found.items()) < 1e-12


@pytest.mark.parametrize(("count", "way"), FINISHED)
def test_weights_after_ten_updates_equal_those_of_one_process(
    ranks: dict[tuple[int, str], Ranks], count: int, way: str
) -> None:
    for prefix in ("weight/", "average/"):
        found = differences(ranks[count, way][0], ranks[1, "plain"][0], prefix)
        assert found
        assert max(found.values()) < 1e-10
        assert all(ranks[count, way][0][name].dtype == torch.float64 for name in found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", COUNTS)
def test_measurements_are_those_of_one_process(
    ranks: dict[tuple[int, str], Ranks], count: int, way: str
) -> None:
    expected = ranks[1, "plain"][0]
    found = differences(ranks[count, way][0], expected, "measured/")
    assert len(found) > 10
    # They are gathered in float32.
    assert max(value / max(1.0, expected[name].abs()) for name, value in found.items()) < 1e-6


@pytest.mark.parametrize("way", [*WAYS, "elastic"])
@pytest.mark.parametrize("count", COUNTS[1:])
def test_ranks_hold_identical_bits_and_saw_identical_gradients_at_each_step(
    ranks: dict[tuple[int, str], Ranks], count: int, way: str
) -> None:
    first, *others = ranks[count, way]
    assert len(first["digests"]) == (HALF if way == "elastic" else UPDATES * (CRITIC_STEPS + 1))
    assert len(first["digests"].unique(dim=0)) == len(first["digests"])
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_readers_do_not_change_a_bit(ranks: dict[tuple[int, str], Ranks]) -> None:
    for count in COUNTS:
        expected, found = ranks[count, "plain"][0], ranks[count, "readers"][0]
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_the_ten_updates_moved_every_weight(ranks: dict[tuple[int, str], Ranks]) -> None:
    start = Networks(MODEL, seed=0).double().state_dict()
    end = ranks[1, "plain"][0]
    unmoved = [name for name, value in start.items() if torch.equal(value, end[f"weight/{name}"])]
    unmoved = [name for name in unmoved if not name.startswith("image_critic.head.")]
    # What is added to every score alike cancels in the difference that a critic maximises.
    assert set(unmoved) <= {"image_critic.to_score.bias", "latent_critic.layers.4.bias"}


# ---- a recipe with all that there is: terms, balance, augmentation, stages

SOME = 1, 2, 4


@pytest.fixture(scope="module")
def everything(
    drawn_folder: Path, unlabelled_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, str], Ranks]:
    """(number of processes, way) -> what each of them saved."""
    data, folder = f"{drawn_folder},{unlabelled_folder}", tmp_path_factory.mktemp("everything")
    found = {}
    for count in sorted(SOME, key=lambda count: count != STOPPED):
        out = folder / str(count)
        run_ranks(count, out, try_everything, data, out, folder / (str(STOPPED) if count != STOPPED else "-"))
        ways = ["everything", "pieces", "boundary", "within", *(["others"] if count != STOPPED else [])]
        for way in ways:
            found[count, way] = [load_file(place(out, way, rank)) for rank in range(count)]
    return found


def test_everything_is_the_same_on_any_number_of_ranks_in_pieces_and_resumed_on_others(
    everything: dict[tuple[int, str], Ranks],
) -> None:
    expected = everything[1, "everything"][0]
    for (_, way), each in everything.items():
        for prefix, least in (("weight/", 50), ("average/", 20), ("dial/", 6)):
            found = differences(each[0], expected, prefix)
            assert len(found) > least
            # By their size: the pull of strain at pictures of noise is 460,000.
            sizes = {name: max(1.0, float(expected[name].abs().max())) for name in found}
            assert max(value / sizes[name] for name, value in found.items()) < 1e-10
            assert all(each[0][name].dtype in (torch.float64, torch.int64) for name in found)
        if way in ("everything", "pieces"):  # the means of the others are of fewer steps
            found = differences(each[0], expected, "measured/")
            assert sum("pull/" in name for name in found) == 11
            assert max(value / max(1.0, expected[name].abs()) for name, value in found.items()) < 1e-6


def test_a_run_with_everything_goes_on_with_the_same_bits_within_a_stage_and_where_one_begins(
    everything: dict[tuple[int, str], Ranks],
) -> None:
    for count in SOME:
        whole = everything[count, "everything"]
        for way, step in (("boundary", BOUNDARY), ("within", WITHIN)):
            for one, other in zip(whole, everything[count, way], strict=True):
                assert torch.equal(one["digests"][step:], other["digests"])
                unlike = [
                    name
                    for name, value in one.items()
                    if not name.startswith(("measured/", "digests")) and not torch.equal(value, other[name])
                ]
                assert unlike == []


def test_ranks_hold_identical_dials_that_have_moved(everything: dict[tuple[int, str], Ranks]) -> None:
    for each in everything.values():
        first, *others = each
        for other in others:
            assert [name for name in first if not torch.equal(first[name], other[name])] == []
    dials = {name: value for name, value in first.items() if name.startswith("dial/")}
    kept = "reconstruction", "latent", "cycle", "return", "consistency", "feature"
    terms = [*kept, "image", "expression", "guide", "paint", "strain"]
    assert set(dials) == {f"dial/{name}" for name in [*terms, "progress"]}
    assert dials["dial/progress"] != 160  # 0.4 of 400 pictures
    start = Networks(EVERYTHING["model"], seed=0).double().state_dict()
    unmoved = [name for name, value in start.items() if torch.equal(value, first[f"weight/{name}"])]
    assert set(unmoved) <= {"image_critic.to_score.bias", "latent_critic.layers.4.bias"}


TINY = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 0}
clock: {tick_kimg: 10, snapshot_kimg: 10, state_kimg: 0.24}
"""


def test_samples_that_any_rank_skips_are_counted_together_and_end_the_run_on_all(
    drawn_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_folder, tmp_path / "data")
    split = ShardIndex.load(tmp_path / "data").split("train")
    for number in (0, 1):
        with (tmp_path / "data" / split.shards[number].name).open("r+b") as shard:
            shard.seek(int(split.places[split.shard_starts[number]]["image_offset"]))
            shard.write(b"damage")
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = ["--config", str(tmp_path / "tiny.yaml")]
    command += ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    command += ["--stream.on-bad-sample", "skip", "--stream.most-bad-samples", "1"]
    kimg = 2 * split.samples / 1000  # two epochs, in each of which one rank or the other meets them
    command += ["--clock.total-kimg", str(kimg)]
    with started(2, tmp_path, train.main, command) as ranks:
        assert ranks.codes() == [2, 2]
    assert "train.py: 2 samples are damaged and were skipped, more than --stream" in ranks.err
    (line,) = (tmp_path / "run" / "stats.jsonl").read_text().splitlines()
    assert json.loads(line)["data/skipped"] == 4
    assert (tmp_path / "run" / f"state-{kimg:010.3f}").is_dir()


@pytest.fixture
def places(drawn_folder: Path, tmp_path: Path) -> list[Path]:
    """A folder for each of two ranks, which see other files under the same names, as two machines may."""
    places = [tmp_path / "0", tmp_path / "1"]
    for path in places:
        path.mkdir()
        (path / "data").symlink_to(drawn_folder)
    return places


def told_by(places: list[Path], *more: str, seeds: tuple[int, ...] = (), data="data", code=2) -> list[str]:
    """What ranks say that refuse to train."""
    command = ["--data", data, "--run", "run", "--dry-run", *more]
    with started(2, places[0].parent, train_in_a_folder_of_its_own, places, command, seeds) as ranks:
        assert ranks.codes() == [code, code]
    return [line for line in ranks.err.splitlines() if line.startswith("train.py")]


def test_what_is_wrong_on_one_rank_alone_is_told_with_the_rank(
    drawn_folder: Path, unlabelled_folder: Path, places: list[Path]
) -> None:
    (places[1] / "data").unlink()
    assert told_by(places) == [
        "train.py: rank 1: data does not exist: check the path. To make a data set: fes-shards build --help"
    ]
    (places[1] / "data").symlink_to(unlabelled_folder)
    (line,) = told_by(places)
    assert "rank 0: data holds the data " in line
    assert "rank 1: data holds the data " in line
    assert line.endswith("give all machines the same data set")
    (places[1] / "data").unlink()
    (places[1] / "data").symlink_to(drawn_folder)
    assert told_by(places, seeds=(3, 4)) == [
        "train.py: rank 1 was started with other settings: seed is 4 there and 3 on rank 0. Give all "
        "machines the same command, the launcher's part aside"
    ]


def test_data_out_of_reach_end_a_run_that_has_begun_in_the_folder_of_one_machine_for_another_start(
    places: list[Path],
) -> None:
    nobody = "http://127.0.0.1:9/data"
    (line,) = told_by(places, data=nobody)
    assert f"cannot fetch {nobody}/index.json: tried 5 times, and the last time Connection refused" in line
    (places[0] / "run" / "state-000001.000").mkdir(parents=True)
    assert told_by(places, data=nobody, code=134) == [line]


def test_ranks_whose_files_have_other_levels_are_told_so(places: list[Path]) -> None:
    levels = [f"- model: {{resolution: {resolution}}}" for resolution in (48, 96, 192)]
    for path, count in zip(places, (3, 2), strict=True):
        (path / "levels.yaml").write_text("\n".join(["levels:", *levels[:count]]))
    assert told_by(places, "--config", "levels.yaml") == [
        "train.py: rank 1 was started with 2 levels and --dry-run, and rank 0 with 3 levels and --dry-run: "
        "give all machines the same command, and the same --config"
    ]

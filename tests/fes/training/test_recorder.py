"""What a run keeps: the faces of its grids, and how many samples it skipped."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from fes.config import Config, StreamConfig
from fes.data.mixture import Mixture
from fes.data.stream import Stream
from fes.errors import InputError
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.saved.state import Parts, list_states
from fes.training.recorder import Recorder, grid_faces
from shards.index import ShardIndex


def test_grid_faces_are_held_out_and_spread(drawn_index, drawn_mixture):
    faces = grid_faces(drawn_mixture, 3, 48, 1)
    valid = drawn_index.split("valid")
    assert [faces[i].tolist() for i in range(3)] == [valid.image(p).tolist() for p in (0, 10, 20)]
    assert len(grid_faces(drawn_mixture, 500, 48, 1)) == valid.samples


def test_grid_faces_come_from_every_set_in_one_shape(drawn_index, unlabelled_folder):
    other = ShardIndex.load(unlabelled_folder)
    faces = grid_faces(Mixture([drawn_index, other], [100, 1]), 5, 64, 3)
    assert (faces.shape, faces.dtype) == ((5, 3, 64, 64), "uint8")
    valid, test = drawn_index.split("valid").sized(64, 3), other.split("test")
    expected = [valid.image(p) for p in (0, 10, 20)] + [test.image(p) for p in (0, 6)]
    assert [face.tobytes() for face in faces] == [face.tobytes() for face in expected]
    assert len(grid_faces(Mixture([drawn_index, other]), 1, 64, 3)) == 1


@pytest.fixture
def damaged(drawn_folder, tmp_path) -> Mixture:
    """A data set of which the first and the last held-out face are damaged."""
    shutil.copytree(drawn_folder, tmp_path / "data")
    valid = ShardIndex.load(tmp_path / "data").split("valid")
    for position in (0, valid.samples - 1):
        with (tmp_path / "data" / valid.shards[valid.where(position)].name).open("r+b") as shard:
            shard.seek(int(valid.places[position]["image_offset"]))
            shard.write(b"damage")
    return Mixture([ShardIndex.load(tmp_path / "data")])


def test_a_damaged_face_gives_way_to_the_next_where_such_are_skipped(damaged, drawn_index):
    valid = drawn_index.split("valid")
    faces = grid_faces(damaged, 3, 48, 1, "skip")
    assert [face.tolist() for face in faces] == [valid.image(p).tolist() for p in (1, 10, 1)]
    with pytest.raises(InputError, match=r"drawn-valid-\d+\.tar: member"):
        grid_faces(damaged, 3, 48, 1)


@dataclasses.dataclass
class OtherRank(Runtime):
    """A rank that is not the main one, of a run whose main one has no fault."""

    is_main, rank, ranks, device = False, 1, 2, torch.device("cpu")

    def gathered(self, value):
        return [None, value]


def test_only_the_main_rank_reads_faces(tiny_config, damaged):
    recorder_of(tiny_config, damaged, OtherRank())
    with pytest.raises(InputError, match="drawn-valid"):
        recorder_of(tiny_config, damaged)


def recorder_of(config: Config, mixture: Mixture, runtime: Runtime | None = None) -> Recorder:
    """The recorder of a run that begins, on a stream that has skipped nothing."""
    config.run.mkdir(exist_ok=True)
    networks = Networks(config.model, config.seed)
    ema = Ema(networks, config.ema_halflife_kimg)
    parts = Parts(
        networks, ema.average, {"critics": Player(networks, torch.optim.Adam(networks.parameters()))}
    )
    stream = Stream(mixture.parts(48, 1), seed=0, batch=8, window=64)
    return Recorder(config, runtime or Runtime(), parts, ema, mixture, stream, start=0)


def told(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


TIMES = {"time/seconds": 1.0, "time/data_wait": 0.0}


@pytest.mark.usefixtures("one_core")
def test_a_critic_that_is_behind_is_told_once_and_the_run_goes_on(tiny_config, drawn_mixture, capsys):
    with recorder_of(tiny_config, drawn_mixture) as recorder:
        for step in (1000, 2000, 3000, 4000):
            recorder.tick(step, {**TIMES, "critic/image_gap": -0.5})
    since = (
        f"warning: since {8 * 1000 / 1000:g} kimg the image critic takes synthesised faces for better than"
    )
    assert capsys.readouterr().out.count(since) == 1


@pytest.mark.usefixtures("one_core")
def test_skipped_samples_are_counted_and_too_many_end_the_run_with_its_state_saved(
    tiny_config, drawn_mixture, capsys
):
    stream = StreamConfig(workers=0, on_bad_sample="skip", most_bad_samples=3)
    config, run = dataclasses.replace(tiny_config, stream=stream), tiny_config.run
    with recorder_of(config, drawn_mixture) as recorder:
        recorder.tick(3, TIMES)
        recorder.stream.skipped, recorder.stream.last_skipped = 9, "a.tar: member 3.png is damaged"
        recorder.stream.damaged |= {(0, 3), (0, 4), (1, 3)}  # each met three times
        recorder.tick(6, TIMES)
        assert list_states(run) == []
        recorder.stream.damaged.add((0, 7))
        recorder.stream.skipped, recorder.stream.last_skipped = 10, "b.tar: member 7.png is damaged"
        with pytest.raises(InputError) as caught:
            recorder.tick(9, TIMES)
    assert str(caught.value).startswith("4 samples are damaged and were skipped, more than ")
    assert "--stream.most-bad-samples 3" in str(caught.value)
    assert str(caught.value).endswith("b.tar: member 7.png is damaged")
    assert [line["data/skipped"] for line in told(run)] == [0, 9, 10]
    assert [path.name for path in list_states(run)] == ["state-000000.072"]
    first, second, _ = capsys.readouterr().out.splitlines()
    assert "skipped" not in first
    assert "skipped 9" in second

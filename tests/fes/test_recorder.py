"""What a run keeps: the faces of its grids, and how many samples it skipped."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from fes.config import Config, StreamConfig
from fes.ema import Ema
from fes.errors import InputError
from fes.mixture import Mixture
from fes.networks import Networks
from fes.recorder import Recorder, grid_faces
from fes.runtime import Runtime
from fes.state import Parts, list_states
from fes.stream import Stream
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


def recorder_of(config: Config, mixture: Mixture) -> Recorder:
    """The recorder of a run that begins, on a stream that has skipped nothing."""
    config.run.mkdir()
    networks = Networks(config.model, config.seed)
    ema = Ema(networks, config.ema_halflife_kimg)
    parts = Parts(networks, ema.average, {"critics": torch.optim.Adam(networks.parameters())})
    stream = Stream(mixture.parts(48, 1), seed=0, batch=8, window=64)
    return Recorder(config, Runtime(), parts, ema, mixture, stream, start=0)


def told(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


TIMES = {"time/seconds": 1.0, "time/data_wait": 0.0}


@pytest.mark.usefixtures("one_core")
def test_skipped_samples_are_counted_and_too_many_end_the_run_with_its_state_saved(
    tiny_config, drawn_mixture, capsys
):
    stream = StreamConfig(workers=0, on_bad_sample="skip", most_bad_samples=3)
    config, run = dataclasses.replace(tiny_config, stream=stream), tiny_config.run
    with recorder_of(config, drawn_mixture) as recorder:
        recorder.tick(3, TIMES)
        recorder.stream.skipped, recorder.stream.last_skipped = 3, "a.tar: member 3.png is damaged"
        recorder.tick(6, TIMES)
        assert list_states(run) == []
        recorder.stream.skipped, recorder.stream.last_skipped = 4, "b.tar: member 7.png is damaged"
        with pytest.raises(InputError) as caught:
            recorder.tick(9, TIMES)
    assert str(caught.value).startswith("4 samples could not be read and were skipped, more than ")
    assert "--stream.most-bad-samples 3" in str(caught.value)
    assert str(caught.value).endswith("b.tar: member 7.png is damaged")
    assert [line["data/skipped"] for line in told(run)] == [0, 3, 4]
    assert [path.name for path in list_states(run)] == ["state-000000.072"]
    first, second, _ = capsys.readouterr().out.splitlines()
    assert "skipped" not in first
    assert "skipped 3" in second

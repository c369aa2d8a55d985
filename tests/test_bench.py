"""What the benchmarks compare is the same work, and what they draw and simulate is read like real data."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import ablation, gains
from bench.building import VIEWS, draw_celeba, draw_fer2013
from bench.gains import Options, Way, model_of, taken, work_of
from bench.opening import BATCH, ConstantPictures, open_here, simulate
from bench.peers.step import PeerTrainer
from bench.photographs import Photographs, as_read, judges_of, readings
from bench.photographs import table as table_of_photographs
from bench.profile import PHASES, Clock, Cycle, Profile
from bench.reading import decoders, readers_of, webdataset_grey
from bench.strength import Strength, probabilities, table
from bench.variants import OWN_PARTS, VARIANTS, AverageInALoop, networks_of
from fes.config import LossConfig, ModelConfig
from fes.data.stream import Stream
from fes.errors import InputError
from fes.judge import Judge, load_judge, new_judge, save_judge
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.learning.players import bare_players
from fes.model.blocks import PENALISED_PARTS
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.saved.shipped import shipped_judge
from fes.training.arguments import parse_levels
from shards.index import Folder, ShardIndex
from shards.sources.celeba import FACE, HEIGHT, WIDTH, read_celeba
from shards.sources.fer2013 import read_fer2013
from tests.photographs import people, photograph

ROOT = Path(__file__).parents[1]
OBJECTIVES = CriticObjective, AutoencoderObjective


def as_set(pictures: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    pairs = zip(pictures, labels, strict=True)
    return sorted((np.asarray(picture).tobytes(), int(label)) for picture, label in pairs)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves that to the collector
def test_all_readers_give_the_same_pictures_and_labels(drawn_index: ShardIndex, tmp_path: Path) -> None:
    split = drawn_index.split("train")
    found = {}
    for name, reader in readers_of(split, tmp_path / "decoded", webdataset_grey).items():
        batches = reader(split.samples, 0)
        found[name] = as_set(*next(batches)[:2])
        batches.close()
    assert len(found) == 3
    first, *others = found.values()
    assert len(first) == split.samples
    assert all(other == first for other in others)


def test_every_decoder_gives_its_own_pixels_of_the_same_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=90)
    whole = np.asarray(Image.open(file))
    pixels = {name: next(found) for name, found in decoders([file.getvalue()], FACE.side).items()}
    *others, ours = pixels.values()
    assert len(others) == 3
    assert all((other == whole).all() for other in others)
    face = whole[FACE.top : FACE.top + FACE.side, FACE.left : FACE.left + FACE.side]
    assert (ours == face.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("whole", [False, True])
def test_the_step_of_common_trainers_minimises_the_same_losses(whole: bool, tiny_model: ModelConfig) -> None:
    weights, networks = LossConfig(), Networks(tiny_model, seed=0)
    batch, noise = work_of(Options(batch=8, device="cpu"), tiny_model)
    ours = {kind: kind(networks, weights)(batch, noise)[0].item() for kind in OBJECTIVES}
    for kind, step in zip(OBJECTIVES, ("critics_step", "autoencoder_step"), strict=True):
        peer = PeerTrainer(Networks(tiny_model, seed=0), weights, whole)
        getattr(peer, step)(*(batch, noise)[: 2 - (step == "autoencoder_step")])
        theirs = sum(value for name, value in peer.logged.items() if not name.endswith("_penalty"))
        assert theirs == pytest.approx(ours[kind], rel=1e-5)
    before = [each.clone() for each in peer.average.parameters()]
    peer.cycle(batch, noise)  # whole, as it is timed
    assert all((now != then).any() for now, then in zip(peer.average.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["apart", "ahead", "compiled"])
def test_variants_of_the_critics_step_have_the_same_loss_and_gradients(
    name: str, tiny_model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # that would take a minute
    losses, gradients = [], []
    for kind in (CriticObjective, VARIANTS[name]):
        networks = Networks(tiny_model, seed=0)
        networks.image_critic.head.requires_grad_(False)
        batch, noise = work_of(Options(batch=4, device="cpu"), tiny_model)
        objective = kind(networks, LossConfig())
        if name == "ahead" and kind is not CriticObjective:
            objective.make([batch, batch], [noise, noise])
            objective(batch, noise)  # the second step's faces are asked about
        loss, _ = objective(batch, noise)
        loss.backward()
        losses.append(loss.item())
        gradients.append([each.grad for each in networks.parameters() if each.grad is not None])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_critics_of_torchs_own_parts_stand_beside_those_of_fes(tiny_model: ModelConfig) -> None:
    own, ours = (networks_of(tiny_model, own_parts).image_critic for own_parts in (True, False))
    assert own.features.parts == OWN_PARTS
    assert ours.features.parts == PENALISED_PARTS


def test_a_way_that_keeps_no_memory_is_timed_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(batch=2, features=(8, 8), cycles=1, device="cpu")
    monkeypatch.setattr(gains, "keep_memory", lambda device: pytest.fail("kept here"))
    monkeypatch.setattr(gains, "seconds_of", lambda *way: pytest.fail("timed here"))
    seconds, gib = taken(Way("memory given back", kept=False), options)
    assert 0 < seconds < 60
    assert gib is None
    with pytest.raises(pytest.fail.Exception, match="timed here"):
        taken(Way("plain"), options)


def test_a_profile_is_one_of_the_steps_that_players_take(tmp_path: Path) -> None:
    options = Profile(features=(32, 8), batch=4, cycles=1, device="cpu")
    clock = Clock(torch.device("cpu"))
    cycle = Cycle(options, tmp_path, clock)
    networks = Networks(model_of(options), seed=0)
    cycle.networks.load_state_dict(networks.state_dict())
    players = bare_players(cycle.config, networks).values()
    for number in range(2):
        cycle.take(number)
        for step, player in enumerate(players):
            Player(*player).step(cycle.stream[2 * number + step], cycle.noise)
    for ours, theirs in zip(cycle.networks.parameters(), networks.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert {phase for phase, seconds in clock.seconds.items() if len(seconds) == 2} == set(PHASES)
    assert 0 < cycle.snapshot(tmp_path / "snapshot.safetensors") < 1


def test_a_lazy_penalty_is_there_at_each_fourth_step(tiny_model: ModelConfig) -> None:
    batch, noise = work_of(Options(batch=4, device="cpu"), tiny_model)
    objective = VARIANTS["lazy"](Networks(tiny_model, seed=0), LossConfig())
    penalties = [float(objective(batch, noise)[1]["critic/image_penalty"]) for _ in range(6)]
    assert [penalty > 0 for penalty in penalties] == [True, False, False, False, True, False]


def test_an_average_in_a_loop_is_the_same(tiny_model: ModelConfig) -> None:
    networks = Networks(tiny_model, seed=0)
    averages = [Ema(networks, 20.0), AverageInALoop(networks, 20.0)]
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(1.0)
    for each in averages:
        each.update(seen=10**6, images=64)
    for ours, theirs in zip(*(each.average.parameters() for each in averages), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_drawn_csv_is_read_like_fer2013(tmp_path: Path) -> None:
    draw_fer2013(tmp_path / "fer2013.csv", 20)
    source = read_fer2013(tmp_path / "fer2013.csv")
    assert [sample.split for sample in source.samples] == ["train"] * 16 + ["valid"] * 2 + ["test"] * 2
    assert source.findings == []
    pictures = source.read(range(20))
    assert {picture.shape for picture in pictures} == {(48, 48, 1)}
    assert len({picture.tobytes() for picture in pictures}) == 20


def test_drawn_portraits_are_read_like_celeba(tmp_path: Path) -> None:
    draw_celeba(tmp_path / "celeba", 2)
    source = read_celeba(tmp_path / "celeba")
    assert [sample.identity for sample in source.samples] == [1] * VIEWS + [2] * VIEWS
    pictures = source.read(range(len(source.samples)))
    assert {Image.open(io.BytesIO(picture)).size for picture in pictures} == {(WIDTH, HEIGHT)}
    assert len(set(pictures)) == len(pictures)


def test_a_simulated_data_set_has_the_shards_that_a_build_would_make(tmp_path: Path) -> None:
    place = tmp_path / "simulated"
    assert simulate(place, 10_000, 512) == 32
    split = ConstantPictures(ShardIndex(str(place), Folder(place)), "train")
    assert split.samples == len(split.labels) == 10_000
    assert {shard.samples for shard in split.shards} == {312, 313}
    assert Stream([split], seed=0, batch=BATCH, window=512)[10**6].image.shape == (BATCH, 1, 48, 48)
    assert open_here(place, 0)["index_seconds"] > 0


@pytest.mark.parametrize(
    ("codes", "started", "worst"),
    [
        ({}, 8, 0),
        ({"gpu": 1}, 8, 1),
        ({"gpu": 1, "speed": 3, "plot": 2}, 8, 3),
        ({"gpu": 2}, 1, 2),
    ],
)
def test_make_gpu_runs_all_benches_though_one_fails_but_none_without_a_gpu(
    tmp_path: Path, codes: dict[str, int], started: int, worst: int
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    cases = " ".join(f"bench.{name}) exit {code};;" for name, code in codes.items())
    python.write_text(f'#!/bin/sh\necho "$2" >> {tmp_path}/started\ncase "$2" in {cases} esac\n')
    python.chmod(0o755)
    (tmp_path / "installed").touch()  # so that make installs nothing
    words = ["make", "-s", "gpu", f"VENV={tmp_path}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    names = "gpu", "speed", "profile", "gains", "memory", "memory", "machinery", "plot"
    assert (tmp_path / "started").read_text().splitlines() == [f"bench.{name}" for name in names[:started]]
    assert done.returncode == (2 if worst else 0)  # make's own code
    assert (f"Error {worst}" in done.stderr) == (worst > 0)


def test_the_strength_bench_measures_faces_towards_other_expressions_than_their_own(
    drawn_folder: Path, snapshot_file: Path, drawn_judge: Judge, tmp_path: Path
) -> None:
    save_judge(tmp_path / "judge.safetensors", drawn_judge)
    found = probabilities(
        Strength(str(drawn_folder), snapshot_file, tmp_path / "judge.safetensors", faces=14)
    )
    assert found.shape == (5, 14, 7)
    assert (found.isnan().sum(2) == 1).all()  # of its own expression a face has nothing to gain
    known = found[~found.isnan()]
    assert ((known >= 0) & (known <= 1)).all()
    # An untrained network draws nearly the same at all strengths; steps are counted, not guessed.
    rising = torch.linspace(0, 1, 5)[:, None, None].expand(5, 3, 7).clone()
    rising[3, 0, 0] = 0.2
    lines = table(rising).splitlines()
    assert lines[2] == "| angry | 0.000 | 0.250 | 0.500 | 0.567 | 1.000 | 0.917 |"
    assert lines[3] == "| disgusted | 0.000 | 0.250 | 0.500 | 0.750 | 1.000 | 1.000 |"
    assert lines[-1] == "| all | 0.000 | 0.250 | 0.500 | 0.724 | 1.000 | 0.988 |"


@pytest.mark.parametrize("recipe", ["fer2013", "fer2013_strided", "demo"])
def test_each_variant_of_an_ablation_is_a_config_that_can_be_trained(recipe: str) -> None:
    asked = ablation.Ablation(
        Path(f"recipes/{recipe}.yaml"), "data", Path("judge"), Path("guide"), Path("out")
    )
    for variant in ablation.VARIANTS:
        train, _ = ablation.commands(asked, variant)
        assert len(parse_levels(train)) == 1


def test_the_photographs_bench_reads_faces_that_are_found_both_ways(tmp_path: Path) -> None:
    (tmp_path / "us").mkdir()
    for name, place in (("us/me.png", (60, 40)), ("you.jpg", (30, 70))):
        pixels = photograph((400, 360), (people()[0], place, 250), mode="RGB")
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(photograph((400, 360), mode="RGB")).save(tmp_path / "wall.png")
    (tmp_path / "note.txt").write_text("no picture")
    save_judge(tmp_path / "second", load_judge(shipped_judge()))  # which has half of its bits
    right, unfound = readings(Photographs(tmp_path, second_judge=tmp_path / "second"))
    assert unfound == 1
    assert [(each.shape, each.dtype) for each in right] == 4 * [((2, 7), torch.bool)]
    assert torch.equal(right[0], right[2])
    lines = table_of_photographs([torch.eye(2, 7).bool(), torch.ones(2, 7).bool()], 3).splitlines()
    cells = "| 0.500 | 0.500 | 0.000 | 0.000 | 0.000 | 0.000 | 0.000 | 0.143 |"
    assert lines[2] == f"| in the photograph's pixels, by the judge {cells}"
    assert lines[3].startswith("| as the network draws them, by the judge | 1.000 | ")
    assert lines[-1] == "2 photographs; 3 more without a face that was found"


def test_the_photographs_bench_tells_what_it_cannot_read(tmp_path: Path, snapshot_file: Path) -> None:
    with pytest.raises(InputError, match="holds no photographs"):
        readings(Photographs(tmp_path))
    with pytest.raises(
        InputError, match=r"^the second judge, .* is the same as the first, .* only repeat it"
    ):
        judges_of(Photographs(tmp_path, second_judge=shipped_judge()))
    Image.fromarray(photograph((400, 360), mode="RGB")).save(tmp_path / "wall.png")
    with pytest.raises(InputError, match="no face was found in any of the 1 photographs in"):
        readings(Photographs(tmp_path))
    with pytest.raises(InputError, match="draw every pixel"):
        readings(Photographs(tmp_path, weights=snapshot_file))
    save_judge(tmp_path / "judge", new_judge("plain", 48, 3, 0))
    with pytest.raises(InputError, match="the judge reads pictures of 48 px and 3 channels"):
        readings(Photographs(tmp_path, judge=tmp_path / "judge"))


def test_the_photographs_bench_takes_a_picture_that_is_a_face_whole(tmp_path: Path) -> None:
    people()[0].resize((60, 60)).save(tmp_path / "face.png")
    right, unfound = readings(Photographs(tmp_path))
    assert (right[0].shape, unfound) == ((1, 7), 0)


def test_a_photograph_is_made_as_small_and_grey_as_a_judge_wants_it() -> None:
    drawn = torch.tensor([90, 120, 30], dtype=torch.uint8)[None, :, None, None].expand(2, 3, 96, 96)
    assert torch.equal(as_read(drawn, 48), torch.full((2, 1, 48, 48), 101, dtype=torch.uint8))
    grey = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2).repeat_interleave(3, 2)
    assert torch.equal(as_read(grey, 2)[0, 0], torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8))

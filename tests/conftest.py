"""What the tests share: a small data set of drawn faces, built once, and what a tiny run needs."""

import dataclasses
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fes.config import ClockConfig, Config, ModelConfig, StreamConfig
from fes.data.mixture import Mixture
from fes.expressions import UNLABELLED
from fes.judge import Judge, JudgeConfig, new_judge, train_judge
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.pictures import as_image
from fes.saved.snapshot import save_snapshot
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw
from tests.processes import Processes

torch.set_num_threads(1)
HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}

TINY = ModelConfig(
    resolution=48, channels=1, latent_dim=8, max_features=32, min_features=8, latent_critic_features=16
)


@pytest.fixture(autouse=True)
def own_signals_and_one_thread() -> None:
    """Signals mean to each test what they meant to the first. A run that a test or a fixture did in here
    goes on catching them, and processes that are forked would not end when they are told to. It also takes a
    thread for each core: two tests at a time, with two threads each, crawl."""
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)
    torch.set_num_threads(1)


@pytest.fixture(params=multiprocessing.get_all_start_methods())
def any_start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each way in which Python starts processes where nobody says how; its default depends on its version."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of drawn grey faces at 48 px: 24 people in training, 3 for validation, 6 for the test."""
    folder = tmp_path_factory.mktemp("data") / "drawn"
    options = DrawnOptions(train_identities=24, valid_identities=3, test_identities=6)
    build(draw(options), folder, BuildOptions(samples_per_shard=32, workers=1))
    return folder


@pytest.fixture(scope="session")
def drawn_index(drawn_folder: Path) -> ShardIndex:
    """The index of `drawn_folder`."""
    return ShardIndex.load(drawn_folder)


@pytest.fixture(scope="session")
def drawn_mixture(drawn_index: ShardIndex) -> Mixture:
    """The data of a run on `drawn_folder` alone."""
    return Mixture([drawn_index])


@pytest.fixture(scope="session")
def unlabelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of drawn faces in colour at 64 px, 4 people in training and 1 for the test, without labels."""
    folder = tmp_path_factory.mktemp("data") / "unlabelled"
    people = DrawnOptions(
        train_identities=4, valid_identities=0, test_identities=1, resolution=64, channels=3, seed=1
    )
    source = draw(people)
    source.samples = [dataclasses.replace(sample, label=UNLABELLED) for sample in source.samples]
    build(source, folder, BuildOptions(workers=1))
    return folder


@pytest.fixture(scope="session")
def tiny_model() -> ModelConfig:
    """Networks of a few thousand numbers, for grey faces at 48 px."""
    return TINY


@pytest.fixture
def tiny_config(drawn_folder: Path, tmp_path: Path) -> Config:
    """A run of 24 batches of 8: two updates of the critics before each of the autoencoder."""
    return Config(
        data=str(drawn_folder),
        run=tmp_path / "run",
        batch=8,
        critic_steps=2,
        grid_faces=2,
        shuffle_window=64,
        model=TINY,
        stream=StreamConfig(workers=0),
        clock=ClockConfig(total_kimg=0.192, tick_kimg=0.048, snapshot_kimg=0.096, state_kimg=0.096),
    )


@pytest.fixture(scope="session")
def snapshot_file(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of tiny untrained networks, in a run's folder that holds nothing else."""
    config = Config(data=str(drawn_folder), run=tmp_path_factory.mktemp("untrained"), model=TINY)
    path = config.run / "snapshot-000000.000.safetensors"
    save_snapshot(path, Ema(Networks(TINY, seed=0), 20.0), config, 0.0, {"source": "drawn"})
    return path


@pytest.fixture(scope="session")
def drawn_judge(drawn_index: ShardIndex) -> Judge:
    """A judge that has seen the training faces for some seconds."""
    judge = new_judge("plain", 48, 1, seed=0)
    config = JudgeConfig("plain", kimg=1.28, batch=16, rate=5e-3, augment=0)
    train_judge(judge, [drawn_index.split("train")], [1.0], config, lambda done, total: None)
    return judge


@pytest.fixture(scope="session")
def face_png(drawn_index: ShardIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face that is not in training, as a picture file."""
    path = tmp_path_factory.mktemp("picture") / "face.png"
    as_image(drawn_index.split("test").image(0)).save(path)
    return path


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Lets runs in this process use one core, and gives back what they take: threads, filters of warnings."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {0})
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts commands, which all end with the test."""
    started = Processes(tmp_path)
    yield started
    started.end()

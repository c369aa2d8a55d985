import io
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import webdataset

from fes.errors import InputError
from shards.index import ShardIndex
from shards.pictures import encode_picture
from shards.schema import INDEX_NAME, MODE, OWNER, REPORT_NAME, Finding, Sample
from shards.writer import build, plan_shards, prepare
from tests.shards.made_up import picture

# webdataset leaves the closing of its files to the garbage collector.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
SPLITS_OF_25 = ["train"] * 15 + ["valid"] * 7 + ["test"] * 3


@dataclass
class MadeUpSource:
    """A `Source` whose picture at position n is `picture(n)`; some positions can refuse to be encoded."""

    splits: list[str]
    refuses: int = -1
    name: str = "made_up"
    resolution: int = 48
    channels: int = 1
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> list[Sample]:
        return [Sample(split, at % 7, {"number": at}) for at, split in enumerate(self.splits)]

    def encode(self, positions: Sequence[int]) -> list[bytes]:
        if self.refuses in positions:
            raise KeyboardInterrupt
        return [encode_picture(picture(at).reshape(48, 48, 1)) for at in positions]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_builds_are_byte_identical_for_any_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2, 5):
        build(MadeUpSource(SPLITS_OF_25), tmp_path / str(workers), samples_per_shard=2, workers=workers)
    first = contents(tmp_path / "1")
    assert first == contents(tmp_path / "2") == contents(tmp_path / "5")
    assert len(first) == 8 + 4 + 2 + 2


def test_another_seed_gives_another_order_of_the_same_samples(tmp_path: Path) -> None:
    orders = []
    for seed in (0, 1):
        build(MadeUpSource(SPLITS_OF_25), tmp_path / str(seed), seed=seed, workers=1)
        train = ShardIndex.load(tmp_path / str(seed)).split("train")
        orders.append([train.details(at)["number"] for at in range(train.samples)])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(15))


def test_the_order_of_a_split_stays_the_same_for_ever() -> None:
    plan = plan_shards(MadeUpSource(["train"] * 8), seed=0, samples_per_shard=8)[0]
    assert plan.positions.tolist() == [3, 2, 1, 6, 0, 7, 4, 5]


@pytest.mark.parametrize(
    ("samples", "at_most", "shards"),
    [(1, 512, 1), (512, 512, 1), (513, 512, 2), (1025, 512, 4), (28698, 512, 64), (3, 1, 2), (4, 1, 4)],
)
def test_a_split_has_the_fewest_power_of_two_shards_of_equal_counts(
    samples: int, at_most: int, shards: int
) -> None:
    plans = plan_shards(MadeUpSource(["train"] * samples), seed=0, samples_per_shard=at_most)
    counts = [len(plan.positions) for plan in plans]
    assert len(counts) == shards
    assert sum(counts) == samples
    assert max(counts) - min(counts) <= 1
    assert [plan.first for plan in plans] == np.cumsum([0, *counts[:-1]]).tolist()


def read_plainly(folder: Path, split: str) -> list[dict]:
    urls = [str(path) for path in sorted(folder.glob(f"*-{split}-*.tar"))]
    return list(webdataset.WebDataset(urls, shardshuffle=False).decode("l8"))


@UNCLOSED
def test_plain_webdataset_reads_every_sample_as_the_index_does(drawn_folder: Path) -> None:
    index, keys = ShardIndex.load(drawn_folder), []
    for name in index.splits:
        split, samples = index.split(name), read_plainly(drawn_folder, name)
        assert len(samples) == split.samples
        for at, sample in enumerate(samples):
            assert np.array_equal(sample["png"], split.image(at)[0])
            assert sample["cls"] == split.labels[at]
            assert sample["json"] == split.details(at)
            keys.append(sample["__key__"])
    assert len(set(keys)) == len(keys) == 63
    assert all(len(key) == 9 and key.isdigit() for key in keys)


@UNCLOSED
def test_a_shard_has_the_bytes_that_webdataset_would_write(drawn_folder: Path) -> None:
    path = sorted(drawn_folder.glob("*.tar"))[0]
    buffer = io.BytesIO()
    with webdataset.TarWriter(buffer, OWNER, OWNER, MODE, encoder=False, mtime=0) as writer:
        for sample in webdataset.WebDataset([str(path)], shardshuffle=False):
            writer.write({key: sample[key] for key in ("__key__", "cls", "json", "png")})
    assert buffer.getvalue() == path.read_bytes()


def test_progress_counts_every_sample(tmp_path: Path) -> None:
    told = []
    build(
        MadeUpSource(SPLITS_OF_25),
        tmp_path,
        samples_per_shard=4,
        workers=2,
        progress=lambda *counts: told.append(counts),
    )
    assert told[-1] == (25, 25)
    assert told == sorted(told)


def test_a_finished_data_set_is_refused_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    build(MadeUpSource(SPLITS_OF_25), tmp_path, samples_per_shard=2, workers=1)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "others-train-000000.tar").write_text("not ours")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="holds a finished data set: pass --overwrite"):
        build(MadeUpSource(SPLITS_OF_25), tmp_path, workers=1)
    assert contents(tmp_path) == before
    replacement = MadeUpSource(["train"] * 3, name="other_source")
    build(replacement, tmp_path, workers=1, overwrite=True)
    assert sorted(contents(tmp_path)) == [
        INDEX_NAME,
        "notes.txt",
        "other_source-train-000000.tar",
        "others-train-000000.tar",
        REPORT_NAME,
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_build_that_is_stopped_leaves_no_index_and_the_next_one_starts_anew(
    tmp_path: Path, overwrite: bool
) -> None:
    if overwrite:
        build(MadeUpSource(["train"] * 40), tmp_path, samples_per_shard=1, workers=1)
    with pytest.raises(KeyboardInterrupt):
        build(
            MadeUpSource(SPLITS_OF_25, refuses=20),
            tmp_path,
            samples_per_shard=4,
            workers=1,
            overwrite=overwrite,
        )
    assert INDEX_NAME not in contents(tmp_path)
    assert not list(tmp_path.glob("*.tmp"))
    with pytest.raises(InputError, match=r"no index\.json, so no finished data set"):
        ShardIndex.load(tmp_path)
    build(MadeUpSource(SPLITS_OF_25), tmp_path, samples_per_shard=8, workers=1)
    assert len(list(tmp_path.glob("*.tar"))) == 2 + 1 + 1


def mounted(folder: Path, options: str) -> Iterator[Path]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr if done else 'not root'}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path, "size=64k")


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path, "size=64k,ro")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_in_a_sentence_and_leaves_no_index(small_disk: Path, workers: int) -> None:
    with pytest.raises(InputError, match=r"cannot write shards to .*No space left on device.*free some"):
        build(MadeUpSource(["train"] * 60), small_disk / "out", samples_per_shard=8, workers=workers)
    assert not (small_disk / "out" / INDEX_NAME).exists()
    assert not list((small_disk / "out").glob("*.tmp"))


def test_a_disk_that_is_full_already_is_told_before_anything_is_read(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(64 * 1024))
    with pytest.raises(InputError, match=r"No space left on device.*choose another --out"):
        prepare(small_disk)
    assert list(contents(small_disk)) == ["filler"]


def test_a_read_only_folder_is_told_before_anything_is_read(read_only_disk: Path) -> None:
    with pytest.raises(InputError, match=r"Read-only file system.*choose another --out"):
        prepare(read_only_disk / "out")


def test_a_folder_below_a_file_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Not a directory.*choose another --out"):
        prepare(tmp_path / "file" / "out")
    with pytest.raises(InputError, match=r"File exists.*choose another --out"):
        prepare(tmp_path / "file")


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"samples_per_shard": 0}, {"workers": 0}])
def test_numbers_that_make_no_sense_are_told_and_nothing_is_touched(
    tmp_path: Path, wrong: dict[str, int]
) -> None:
    flag = next(iter(wrong)).replace("_", "-")
    with pytest.raises(InputError, match=f"--{flag} is .* or more"):
        build(MadeUpSource(SPLITS_OF_25), tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_labels_are_counted_per_split_in_the_index(tmp_path: Path) -> None:
    source = MadeUpSource(SPLITS_OF_25)
    build(source, tmp_path, workers=1)
    index = ShardIndex.load(tmp_path)
    for split in ("train", "valid", "test"):
        labels = Counter(sample.label for sample in source.samples if sample.split == split)
        assert list(index.counts(split).values()) == [labels[label] for label in [*range(7), -1]]

"""What a build writes: the same bytes always, as webdataset reads and writes them, and what is told."""

import contextlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset

from fes.errors import InputError
from shards.build.archive import Plan
from shards.build.gather import BLOCK
from shards.build.writer import (
    BuildOptions,
    build,
    plan_shards,
)
from shards.index import ShardIndex
from shards.pictures import encode_picture
from shards.schema import INDEX_NAME, MODE, OWNER, REPORT_NAME, Progress
from tests.shards.build.builds import SPLITS_OF_25, contents, made
from tests.shards.made_up import GONE, MadeUpSource, picture

# webdataset leaves the closing of its files to the garbage collector.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def test_builds_are_byte_identical_for_any_number_of_workers(tmp_path: Path) -> None:
    splits = SPLITS_OF_25 * (2 * BLOCK // 25 + 1)  # three blocks to read
    for workers in (1, 2, 5):
        source = MadeUpSource(splits, {7: GONE, BLOCK + 1: picture(3).reshape(48, 48, 1)})
        made(source, tmp_path / str(workers), samples_per_shard=100, workers=workers)
    first = contents(tmp_path / "1")
    assert first == contents(tmp_path / "2") == contents(tmp_path / "5")
    assert len(first) == 8 + 4 + 2 + 3


def test_another_seed_gives_another_order_of_the_same_samples(tmp_path: Path) -> None:
    orders = []
    for seed in (0, 1):
        made(MadeUpSource(SPLITS_OF_25), tmp_path / str(seed), seed=seed)
        train = ShardIndex.load(tmp_path / str(seed)).split("train")
        orders.append([train.details(at)["row"] for at in range(train.samples)])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(1, 16))


def planned(splits: list[str], **options: object) -> list[Plan]:
    samples = MadeUpSource(splits).samples
    return plan_shards("madeup", samples, np.arange(len(samples)), BuildOptions(**options))


def test_the_order_of_a_split_stays_the_same_for_ever() -> None:
    plan = planned(["train"] * 8, samples_per_shard=8)[0]
    assert plan.positions.tolist() == [3, 2, 1, 6, 0, 7, 4, 5]


@pytest.mark.parametrize(
    ("samples", "at_most", "shards"),
    [(1, 512, 1), (512, 512, 1), (513, 512, 2), (1025, 512, 4), (28698, 512, 64), (3, 1, 2), (4, 1, 4)],
)
def test_a_split_has_the_fewest_power_of_two_shards_of_equal_counts(
    samples: int, at_most: int, shards: int
) -> None:
    plans = planned(["train"] * samples, samples_per_shard=at_most)
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


def test_every_stage_tells_how_far_it_is(tmp_path: Path) -> None:
    told = defaultdict(list)

    @contextlib.contextmanager
    def stage(name: str) -> Iterator[Progress]:
        yield lambda *counts: told[name].append(counts)

    build(MadeUpSource(SPLITS_OF_25), tmp_path, BuildOptions(samples_per_shard=4, workers=2), stages=stage)
    assert list(told) == ["reading", "writing"]
    for counts in told.values():
        assert counts[-1] == (25, 25)
        assert counts == sorted(counts)


def test_pictures_that_cannot_be_read_and_constant_ones_are_left_out_and_named(tmp_path: Path) -> None:
    others = {1: GONE, 3: np.zeros((48, 48, 1), np.uint8), 4: b"GARBAGE"}
    made(MadeUpSource(["train"] * 6, others), tmp_path)
    train = ShardIndex.load(tmp_path).split("train")
    assert sorted(train.details(at)["row"] for at in range(train.samples)) == [1, 3, 6]
    report = json.loads((tmp_path / REPORT_NAME).read_bytes())
    found = {finding["reason"]: finding["origins"] for finding in report["findings"]}
    assert found["the disk ate it"] == [2]
    assert found["no readable picture (of no known kind)"] == [5]
    assert found["constant picture (every pixel the same)"] == [4]


def test_a_source_without_a_usable_picture_is_told_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no sample of madeup can be used: the disk ate it: 2 rows"):
        made(MadeUpSource(["train"] * 2, {0: GONE, 1: GONE}), tmp_path)
    assert not (tmp_path / INDEX_NAME).exists()


def test_a_labeller_gives_classes_to_samples_after_their_pictures_are_read(tmp_path: Path) -> None:
    def label(samples, gathered, crop, progress):
        return [replace(each, label=gathered.records["width"][at] % 7) for at, each in enumerate(samples)]

    build(MadeUpSource(["train"] * 5), tmp_path, BuildOptions(workers=1), label=label)
    assert ShardIndex.load(tmp_path).split("train").labels.tolist() == [48 % 7] * 5


def test_pictures_of_every_size_and_kind_share_a_data_set(tmp_path: Path) -> None:
    colour = np.dstack([picture(n).reshape(48, 48) for n in range(3)])
    others = {0: encode_picture(colour), 1: colour[:40]}
    index = made(MadeUpSource(["train"] * 3, others), tmp_path)
    assert (index["channels"], index["resolution"]) == (3, 40)
    report = json.loads((tmp_path / REPORT_NAME).read_bytes())
    assert report["pictures_remade_as_png"] == 0
    assert report["people"]["train"]["most_pictures"] == 2
    train = ShardIndex.load(tmp_path).split("train")
    assert {train.image(at).shape for at in range(3)} == {(3, 40, 40)}
    assert {train.sized(48, 1).image(at).shape for at in range(3)} == {(1, 48, 48)}


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"samples_per_shard": 0}, {"workers": 0}])
def test_numbers_that_make_no_sense_are_told_and_nothing_is_touched(
    tmp_path: Path, wrong: dict[str, int]
) -> None:
    flag = next(iter(wrong)).replace("_", "-")
    with pytest.raises(InputError, match=f"--{flag} is .* or more"):
        made(MadeUpSource(SPLITS_OF_25), tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_labels_are_counted_per_split_in_the_index(tmp_path: Path) -> None:
    source = MadeUpSource(SPLITS_OF_25)
    made(source, tmp_path)
    index = ShardIndex.load(tmp_path)
    for split in ("train", "valid", "test"):
        labels = Counter(sample.label for sample in source.samples if sample.split == split)
        assert list(index.counts(split).values()) == [labels[label] for label in [*range(7), -1]]


def test_the_warnings_of_a_source_stand_in_the_report(tmp_path: Path) -> None:
    made(MadeUpSource(SPLITS_OF_25, warnings=("half of them blink",)), tmp_path)
    assert json.loads((tmp_path / REPORT_NAME).read_bytes())["warnings"][-1] == "half of them blink"


def test_people_who_stand_in_two_splits_are_told(tmp_path: Path) -> None:
    made(MadeUpSource(["train", "test", "train", "valid", "train", "train"]), tmp_path)
    report = json.loads((tmp_path / REPORT_NAME).read_bytes())
    told = [warning for warning in report["warnings"] if warning.startswith("people")]
    assert told == [
        "people who stand in train and in valid: 1",
        "people who stand in train and in test: 1",
    ]

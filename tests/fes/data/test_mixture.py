"""Several data sets as one: what `--data` means, and what the sets share."""

import os
from pathlib import Path

import numpy as np
import pytest

from fes.config import StreamConfig
from fes.config.validity import is_resolution
from fes.data.mixture import Mixture, open_index, read_places
from fes.errors import InputError
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw


def drawn(folder: Path, **options: int) -> ShardIndex:
    """A few drawn people: one in training unless told otherwise."""
    people = {"train_identities": 1, "valid_identities": 0, "test_identities": 0} | options
    build(draw(DrawnOptions(**people)), folder, BuildOptions(workers=1))
    return ShardIndex.load(folder)


# ---- what --data means


@pytest.mark.parametrize(
    ("data", "places"),
    [
        ("data/a", [("data/a", 1)]),
        ("data/a:0.5", [("data/a", 0.5)]),
        ("data/a:0.5,b:.3,c", [("data/a", 0.5), ("b", 0.3), ("c", 1)]),
        (" a:2, b:1e-1 ", [("a", 2), ("b", 0.1)]),
        ("a:half", [("a:half", 1)]),
        ("https://host/a:0.2,b", [("https://host/a", 0.2), ("b", 1)]),
        ("https://host:8000/a", [("https://host:8000/a", 1)]),
        ("https://host:8000/a:3", [("https://host:8000/a", 3)]),
        ("http://localhost:8000", [("http://localhost:8000", 1)]),
        ("http://localhost:8000:0.5,b", [("http://localhost:8000", 0.5), ("b", 1)]),
        ("http://me:77@localhost:8000", [("http://me:77@localhost:8000", 1)]),
        ("http://[::1]:8000", [("http://[::1]:8000", 1)]),
        ("http://[::1]/a:5", [("http://[::1]/a", 5)]),
        ("file:/data/a:0.5", [("file:/data/a", 0.5)]),
        ("file:///data/a:2", [("file:///data/a", 2)]),
        ("s3://bucket/a:0.5", [("s3://bucket/a", 0.5)]),
        ("pipe:ssh host cat a,b/{}:3", [("pipe:ssh host cat a,b/{}:3", 1)]),
        ("a:0.5,pipe:cut -d, -f1 {}", [("a", 0.5), ("pipe:cut -d, -f1 {}", 1)]),
    ],
)
def test_places_and_weights_are_read(data, places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_places(data) == places


def test_a_folder_that_is_there_is_taken_by_its_whole_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a:0.5", "x,y", "x,y:2,z:1"):
        Path(name).mkdir()
    assert read_places("a:0.5") == [("a:0.5", 1)]
    assert read_places("a:0.5:0.25") == [("a:0.5", 0.25)]
    assert read_places("a:0.6") == [("a", 0.6)]
    assert read_places("a:2,b") == [("a", 2), ("b", 1)]
    assert read_places("a,x,y") == [("a", 1), ("x,y", 1)]
    assert read_places("x,y:2,z:1") == [("x,y:2,z:1", 1)]
    assert read_places("x,y:2,z:2, x,y:3") == [("x,y", 2), ("z", 2), ("x,y", 3)]


def test_a_folder_of_the_users_own_may_stand_anywhere(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read_places("a,~/b:2") == [("a", 1), ("/home/me/b", 2)]


@pytest.mark.parametrize("data", ["", ",", "a,", "a,,b", ":3", "a, :0.5"])
def test_a_missing_place_is_one_sentence(data):
    with pytest.raises(InputError, match="it must name a data set before and after each comma"):
        read_places(data)


def test_a_weight_that_is_no_number_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    with pytest.raises(InputError, match="--data gives a the weight 'half': it must be a positive number"):
        read_places("b,a:half")


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_a_weight_that_is_not_positive_is_one_sentence(weight, drawn_folder):
    with pytest.raises(InputError, match=f"the weight {weight}: it must be a positive number"):
        Mixture.load(f"{drawn_folder}:{weight}", StreamConfig())


def test_data_that_are_not_there_are_one_sentence(drawn_folder, tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist: check the path"):
        Mixture.load(f"{drawn_folder},{tmp_path}/nowhere:0.5", StreamConfig())


def test_several_sets_are_loaded_with_their_shares(drawn_folder, unlabelled_folder):
    data = f"{drawn_folder}:1,{unlabelled_folder}:3"
    mixture = Mixture.load(data, StreamConfig())
    assert [each.place for each in mixture.sets] == [str(drawn_folder), str(unlabelled_folder)]
    assert mixture.weights == (0.25, 0.75)
    assert mixture.place == data
    assert Mixture.load(mixture.place, StreamConfig()).fingerprint == mixture.fingerprint


# ---- addresses


def test_a_set_behind_an_address_is_the_set(drawn_folder, drawn_index, tmp_path):
    stream = StreamConfig(shards=tmp_path / "fetched", shards_gb=0.1)
    index = open_index(f"file:{drawn_folder}", stream)
    assert index.fingerprint == drawn_index.fingerprint
    held = index.split("test"), drawn_index.split("test")
    assert np.array_equal(*(split.image(5) for split in held))
    assert list((tmp_path / "fetched").iterdir()) != []


@pytest.mark.parametrize(("name", "base"), [("XDG_CACHE_HOME", "elsewhere"), ("HOME", "home/.cache")])
def test_fetched_shards_are_kept_where_the_system_wants_them(name, base, drawn_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv(name, str(tmp_path / base.split("/")[0]))
    open_index(f"file:{drawn_folder}", StreamConfig()).split("test").image(0)
    assert list((tmp_path / base / "fes" / "shards").iterdir()) != []


def test_shards_larger_than_the_folder_may_hold_are_one_sentence(drawn_folder, tmp_path):
    stream = StreamConfig(shards=tmp_path / "fetched", shards_gb=1e-6)
    with pytest.raises(InputError, match="more than the 1000 that the cache"):
        open_index(f"file:{drawn_folder}", stream).split("test").image(0)


# ---- what the sets share


def test_one_set_is_itself(drawn_index, drawn_mixture):
    assert drawn_mixture.fingerprint == drawn_index.fingerprint
    assert (drawn_mixture.place, drawn_mixture.weights) == (drawn_index.place, (1.0,))
    assert Mixture([drawn_index], [7.0]).fingerprint == drawn_index.fingerprint
    assert drawn_mixture.splits == drawn_index.splits
    assert drawn_mixture.counts("valid") == drawn_index.counts("valid")


def test_the_fingerprint_is_of_the_sets_and_of_their_shares(drawn_index, unlabelled_folder):
    other = ShardIndex.load(unlabelled_folder)
    mixtures = [
        Mixture([drawn_index, other]),
        Mixture([other, drawn_index]),
        Mixture([drawn_index, other], [1, 2]),
    ]
    assert len({each.fingerprint for each in mixtures} | {drawn_index.fingerprint, other.fingerprint}) == 5
    assert Mixture([drawn_index, other], [3, 6]).fingerprint == mixtures[2].fingerprint
    for a, b in ((7, 1), (1, 3), (3, 29), (6, 7)):  # 0.7 and 0.1 are other shares than 7 and 1, by a bit
        same = [Mixture([drawn_index, other], [a / unit, b / unit]) for unit in (10, 1)]
        assert same[0].fingerprint == same[1].fingerprint
    assert Mixture([drawn_index, other], [1e308, 1e308]).fingerprint == mixtures[0].fingerprint


def test_counts_are_summed_over_the_sets_that_have_the_split(drawn_index, unlabelled_folder):
    mixture = Mixture([drawn_index, ShardIndex.load(unlabelled_folder)])
    assert mixture.splits == ("train", "valid", "test")
    assert mixture.counts("train") == drawn_index.counts("train") | {"unlabelled": 28}
    assert mixture.counts("valid") == drawn_index.counts("valid")


def test_the_shape_is_one_that_all_sets_have_and_the_networks_can_learn(tmp_path, drawn_index):
    sides = {40: 48, 48: 48, 63: 48, 64: 64, 95: 64, 100: 96, 130: 128, 200: 192}
    sets = {}
    for seed, side in enumerate(sides):
        channels = 1 if side == 130 else 3
        sets[side] = drawn(tmp_path / str(side), resolution=side, channels=channels, seed=seed)
    assert {side: Mixture([index]).resolution for side, index in sets.items()} == sides
    assert Mixture([sets[200], sets[100]]).resolution == 96
    assert [Mixture([sets[200], sets[side]]).channels for side in (100, 130)] == [3, 1]
    assert all(is_resolution(side) for side in sides.values())


def test_a_damaged_size_costs_no_time(drawn_index, monkeypatch):
    monkeypatch.setattr(drawn_index, "resolution", 10**15)
    assert Mixture([drawn_index]).resolution == 48 << 44


def test_parts_are_the_training_splits_in_one_shape(drawn_index, unlabelled_folder):
    other = ShardIndex.load(unlabelled_folder)
    parts = Mixture([drawn_index, other]).parts(64, 1)
    assert [part.samples for part in parts] == [168, 28]
    assert [part.image(3).shape for part in parts] == 2 * [(1, 64, 64)]
    assert np.array_equal(parts[1].image(3), other.split("train").sized(64, 1).image(3))


def test_held_out_splits_are_the_first_that_each_set_has(drawn_index, unlabelled_folder, tmp_path):
    alone = drawn(tmp_path / "alone")
    mixture = Mixture([drawn_index, alone, ShardIndex.load(unlabelled_folder)])
    found = mixture.held_out(("valid", "test"), 48, 3)
    assert [(split.place, split.name) for split in found] == [
        (drawn_index.place, "valid"),
        (str(unlabelled_folder), "test"),
    ]
    assert all(split.image(0).shape == (3, 48, 48) for split in found)
    assert Mixture([alone]).held_out(("valid", "test"), 48, 3) == []


def test_the_summary_tells_of_every_set_and_of_all(drawn_index, unlabelled_folder):
    other = ShardIndex.load(unlabelled_folder)
    mixture = Mixture([drawn_index, other], [1, 3])
    summary = mixture.summary()
    assert summary["fingerprint"] == mixture.fingerprint
    assert (summary["train"]["happy"], summary["train"]["unlabelled"]) == (24, 28)
    assert [each["source"] for each in summary["sets"]] == ["drawn", "drawn"]
    assert [each["weight"] for each in summary["sets"]] == [0.25, 0.75]
    assert [each["fingerprint"] for each in summary["sets"]] == [drawn_index.fingerprint, other.fingerprint]
    assert summary["sets"][1]["train"]["unlabelled"] == 28


# ---- sets that cannot be used


def test_a_set_with_nothing_to_train_on_is_one_sentence(drawn_index, tmp_path):
    test_only = drawn(tmp_path / "test", train_identities=0, test_identities=1)
    with pytest.raises(InputError, match=r"test has no train split: leave it out of --data"):
        Mixture([drawn_index, test_only])


def test_the_same_data_twice_are_one_sentence(drawn_folder, tmp_path):
    os.symlink(drawn_folder, tmp_path / "again")
    with pytest.raises(InputError, match=r"the same data twice, as .* and as .*again: name them once"):
        Mixture.load(f"{drawn_folder},{tmp_path / 'again'}:2", StreamConfig())

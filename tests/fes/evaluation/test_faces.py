"""Which held-out faces are measured, in which order, and what is known of their true pictures."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fes.errors import InputError
from fes.evaluation.faces import held_out, in_order, load_faces, people
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw


def test_the_test_split_is_held_out_or_else_the_validation_split(drawn_index, tmp_path):
    assert held_out(drawn_index) == "test"
    assert held_out(drawn_index, ("valid", "test")) == "valid"
    for valid in (1, 0):
        options = DrawnOptions(train_identities=1, valid_identities=valid, test_identities=0)
        build(draw(options), tmp_path / str(valid), BuildOptions(workers=1))
    assert held_out(ShardIndex.load(tmp_path / "1")) == "valid"
    with pytest.raises(InputError, match="no test or valid split"):
        held_out(ShardIndex.load(tmp_path / "0"))


def test_everybody_comes_once_before_anybody_comes_twice():
    identities = np.repeat([5, 7, -1, 9], [3, 2, 4, 1])
    order = in_order(identities)
    assert sorted(order) == list(range(10))
    assert np.array_equal(order, in_order(identities))
    assert not np.array_equal(order, np.arange(10))
    person = people(identities, order)
    first = person[:7]  # three people and four who are unknown, each somebody else
    assert sorted(first) == list(range(7))
    assert person[7:9].tolist() == [person[identities[order] == each][0] for each in identities[order[7:9]]]


def test_faces_are_in_the_shape_and_number_that_is_asked_for(drawn_index):
    faces = load_faces(drawn_index, ("test",), 64, 3, 10)
    assert (faces.held.image.shape, faces.held.image.dtype) == ((20, 3, 64, 64), torch.uint8)
    assert (faces.count, len(faces.person), faces.person[:6].tolist()) == (10, 20, [0, 1, 2, 3, 4, 5])
    assert faces.trained.image.shape == (168, 3, 64, 64)
    assert faces.about == {"data": drawn_index.fingerprint, "split": "test"}
    every = load_faces(drawn_index, ("test",), 48, 1, 500)
    assert every.count == len(every.held.label) == 42
    assert torch.bincount(every.held.label).tolist() == [6] * 7


def test_the_truth_of_drawn_faces_is_each_person_as_the_data_hold_them(faces):
    true, there = faces.truth(slice(3, 8))
    assert there.all()
    for row, at in enumerate(range(3, 8)):
        assert torch.equal(true[row, faces.held.label[at]], faces.held.image[at])
        others = [other for other in range(42) if faces.person[other] == faces.person[at]]
        assert len(others) == 7
        for other in others:
            assert torch.equal(true[row, faces.held.label[other]], faces.held.image[other])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> ShardIndex:
    """Labelled pictures of known people, but not in all expressions, as a folder of photographs gives."""
    source = draw(DrawnOptions(train_identities=0, valid_identities=0, test_identities=3))
    kept = [sample for sample in source.samples if sample.label in (0, 3) or sample.identity % 3 == 0]
    source.samples, source.name = [s for s in source.samples if s in kept], "folder"
    whole = source.read
    positions = [
        at
        for at, s in enumerate(draw(DrawnOptions(0, 0, 3)).samples)
        if s.label in (0, 3) or s.identity % 3 == 0
    ]
    source.read = lambda which: whole([positions[each] for each in which])
    folder = tmp_path_factory.mktemp("photographs") / "data"
    build(source, folder, BuildOptions(workers=1))
    return ShardIndex.load(folder)


def test_the_truth_of_photographs_is_another_picture_of_that_person_where_there_is_one(photographs):
    faces = load_faces(photographs, ("test",), 48, 1, 500)
    true, there = faces.truth(slice(0, faces.count))
    label, person = faces.held.label.numpy(), faces.person
    for at in range(faces.count):
        known = {label[other] for other in range(faces.count) if person[other] == person[at] and other != at}
        assert set(np.flatnonzero(there[at].numpy())) == known
        for other in range(faces.count):
            if person[other] == person[at] and other != at:
                assert torch.equal(true[at, label[other]], faces.held.image[other])


def test_people_who_are_there_once_have_no_truth(photographs, drawn_index):
    split = drawn_index.split("test")
    unknown = dataclasses.replace(load_faces(drawn_index, ("test",), 48, 1, 5))
    assert unknown.truth is not None
    assert len(set(people(np.full(split.samples, -1), range(split.samples)))) == split.samples


def test_pictures_without_labels_are_refused(unlabelled_folder):
    with pytest.raises(InputError, match="have no labels to compare with"):
        load_faces(ShardIndex.load(unlabelled_folder), ("test",), 48, 1, 5)


def test_damaged_pictures_are_told_or_passed_over(drawn_folder: Path, tmp_path: Path):
    shutil.copytree(drawn_folder, tmp_path / "data")
    split = ShardIndex.load(tmp_path / "data").split("test")
    with (tmp_path / "data" / split.shards[0].name).open("r+b") as shard:
        shard.seek(int(split.places[0]["image_offset"]))
        shard.write(b"damage")
    index = ShardIndex.load(tmp_path / "data")
    with pytest.raises(InputError, match=r"drawn-test-\d+\.tar: member"):
        load_faces(index, ("test",), 48, 1, 500)
    assert load_faces(index, ("test",), 48, 1, 500, skip_damaged=True).count == 41

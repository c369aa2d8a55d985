"""States: what is saved comes back, the last two are kept, and what is no state of the run is passed over."""

import dataclasses
import os
import shutil
import subprocess

import pytest
import torch

from fes.errors import InputError
from fes.saved.state import SUMS, Restored, find_state, has_finished, list_states
from tests.fes.states import FILES, equal, load, parts_of, save, tensors_of


def test_a_state_gives_back_equal_tensors_and_the_step(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    assert sorted(each.name for each in path.iterdir()) == FILES
    other = parts_of(tiny_config.model, seed=2, steps=3)
    assert not any(torch.equal(a, b) for a, b in zip(tensors_of(parts), tensors_of(other), strict=True))
    assert load(tiny_config, other) == Restored(12)
    assert equal(tensors_of(parts), tensors_of(other))


def test_saving_does_not_follow_later_changes(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts)
    saved = [tensor.clone() for tensor in tensors_of(parts)]
    with torch.no_grad():
        for parameter in parts.networks.parameters():
            parameter.add_(1)
    load(tiny_config, parts)
    assert equal(saved, tensors_of(parts))


def test_the_same_contents_are_the_same_bytes(tiny_config):
    paths = [
        save(dataclasses.replace(tiny_config, run=tiny_config.run.with_name(name)), parts)
        for name, parts in (("a", parts_of(tiny_config.model, 1)), ("b", parts_of(tiny_config.model, 1)))
    ]
    for name in ("networks.safetensors", "average.safetensors", "players.pt"):
        assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()


def test_the_sums_of_a_state_are_those_that_sha256sum_checks(tiny_config):
    path = save(tiny_config, parts_of(tiny_config.model, seed=1))
    check = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(check, cwd=path, capture_output=True, check=True).stdout.count(b": OK") == 4


def test_the_last_two_states_are_kept(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    for step in (9, 90, 1200, 25000):
        save(tiny_config, parts, step)
    assert [each.name for each in list_states(tiny_config.run)] == ["state-000009.600", "state-000200.000"]
    assert len(list(tiny_config.run.iterdir())) == 2


def test_the_same_moment_saved_again_replaces_its_state(tiny_config):
    save(tiny_config, parts_of(tiny_config.model, seed=1))
    parts = parts_of(tiny_config.model, seed=2)
    path = save(tiny_config, parts)
    found = parts_of(tiny_config.model, seed=3)
    load(tiny_config, found)
    assert equal(tensors_of(parts), tensors_of(found))
    assert list(tiny_config.run.iterdir()) == [path]


def test_a_state_that_cannot_be_written_leaves_the_older_ones(tiny_config, monkeypatch):
    parts = parts_of(tiny_config.model, seed=1)
    older = [save(tiny_config, parts, step) for step in (10, 20)]

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        save(tiny_config, parts, 30)
    assert sorted(tiny_config.run.iterdir()) == older
    assert load(tiny_config, parts).step == 20


def test_what_is_no_finished_state_is_neither_taken_nor_kept(tiny_config):
    path = save(tiny_config, parts_of(tiny_config.model, seed=1, steps=1))
    unfinished = path.with_name(".state-000099.000.partial")
    shutil.copytree(path, unfinished)
    assert find_state(tiny_config.run).path == path
    assert not unfinished.exists()
    assert find_state(tiny_config.run / "nowhere") is None


@pytest.mark.parametrize("name", ["state-old", "state-000099.000-good", "state-000099"])
def test_a_copy_that_somebody_keeps_is_no_state_of_the_run(tiny_config, name):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    path = save(tiny_config, parts, 20)
    shutil.copytree(path, path.with_name(name))
    assert find_state(tiny_config.run).path == path
    for step in (30, 40):
        save(tiny_config, parts, step)
    assert [each.name for each in list_states(tiny_config.run)] == ["state-000000.240", "state-000000.320"]
    assert path.with_name(name).exists()
    assert has_finished(tiny_config.run, 0.3)

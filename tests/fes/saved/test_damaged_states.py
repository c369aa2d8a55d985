"""Damaged states are put aside for the one before; those of another format, or with a trap, are refused."""

import hashlib
import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from fes.errors import InputError
from fes.saved.state import SUMS, find_state, list_states, restore
from tests.fes.states import FILES, load, parts_of, save


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    half, noise = content[: len(content) // 2], bytes(range(255, -1, -1)) * 40
    file.unlink()
    if how != "gone":
        file.write_bytes({"a bit flipped": flipped, "cut short": half, "empty": b"", "noise": noise}[how])


HOW = ["a bit flipped", "cut short", "empty", "gone", "noise"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_newest_state_is_put_aside_and_the_one_before_taken(tiny_config, name, how):
    parts = parts_of(tiny_config.model, seed=1)
    before, newest = save(tiny_config, parts, 10), save(tiny_config, parts_of(tiny_config.model, 2), 20)
    damage(newest / name, how)
    found = find_state(tiny_config.run)
    assert found.path == before
    (told,) = found.damaged
    assert told.startswith(f"the state {newest} is damaged (")
    assert told.endswith("); it is kept as damaged-state-000000.160")
    assert "\n" not in told
    assert restore(found, parts_of(tiny_config.model, 3), tiny_config, "data").step == 10
    assert list_states(tiny_config.run) == [before]
    assert find_state(tiny_config.run).damaged == ()


def test_a_state_whose_sums_are_cut_at_a_line_is_damaged(tiny_config):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    before, newest = save(tiny_config, parts, 10), save(tiny_config, parts, 20)
    first, *_ = (newest / SUMS).read_text().splitlines(keepends=True)
    (newest / SUMS).write_text(first)
    damage(newest / "players.pt", "cut short")
    found = find_state(tiny_config.run)
    assert found.path == before
    assert "SHA256SUMS does not list average.safetensors" in found.damaged[0]


def test_a_state_put_aside_is_not_counted_among_those_that_are_kept(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts, 10)
    damage(save(tiny_config, parts, 2000) / "players.pt", "gone")
    find_state(tiny_config.run)
    for step in (20, 30):
        save(tiny_config, parts, step)
    assert [path.name for path in list_states(tiny_config.run)] == ["state-000000.160", "state-000000.240"]


@pytest.mark.parametrize("how", HOW)
def test_a_run_whose_states_are_all_damaged_is_not_begun_anew(tiny_config, how):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    paths = [save(tiny_config, parts, step) for step in (10, 20)]
    for path in paths:
        damage(path / "state.json", how)
    for _ in range(2):  # the second attempt is answered as the first
        with pytest.raises(InputError, match=r"no state of the run .* can be used") as caught:
            find_state(tiny_config.run)
        assert all(path.name in str(caught.value) for path in paths)
        assert "\n" not in str(caught.value)


def rewritten(path: Path, name: str, content: bytes) -> None:
    """Replaces a file of a state, and its sum."""
    sums = (path / SUMS).read_text()
    old = hashlib.sha256((path / name).read_bytes()).hexdigest()
    (path / SUMS).write_text(sums.replace(old, hashlib.sha256(content).hexdigest()))
    (path / name).write_bytes(content)


def test_a_state_of_another_format_is_not_loaded(tiny_config):
    path = save(tiny_config, parts_of(tiny_config.model, seed=1, steps=1))
    about = json.loads((path / "state.json").read_text())
    rewritten(path, "state.json", json.dumps({**about, "format": "fes-state-9"}).encode())
    with pytest.raises(InputError, match="it is of the format fes-state-9, and this fes reads fes-state-3"):
        find_state(tiny_config.run)


class Malice:
    """Unpickles by making a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_without_running_it(tiny_config, tmp_path):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    trap = io.BytesIO()
    torch.save({"critics": Malice(tmp_path / "harm"), "autoencoder": {}}, trap)
    rewritten(path, "players.pt", trap.getvalue())
    with pytest.raises(InputError, match=r"players.pt holds something other than tensors"):
        load(tiny_config, parts)
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Malice(tmp_path / "harm")))  # the trap works where nothing guards it
    assert (tmp_path / "harm").exists()

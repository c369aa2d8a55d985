"""States: what is saved comes back, the wrong state is refused, and no pickle runs code."""

import dataclasses
import io
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from fes.config import ClockConfig, LossConfig, OptimiserConfig, StreamConfig
from fes.ema import Ema
from fes.errors import InputError
from fes.networks import Networks
from fes.state import Parts, list_states, load_state, save_state

FILES = ["average.safetensors", "networks.safetensors", "optimisers.pt", "state.json"]


def parts_of(model, seed: int, steps: int = 2) -> Parts:
    """Networks, their average and two optimisers that have taken a few steps."""
    networks = Networks(model, seed)
    ema = Ema(networks, 20.0)
    players = {
        "critics": [*networks.latent_critic.parameters(), *networks.image_critic.parameters()],
        "autoencoder": [*networks.encoder.parameters(), *networks.generator.parameters()],
    }
    optimisers = {name: torch.optim.Adam(own, 1e-3, (0.0, 0.9)) for name, own in players.items()}
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for parameter in networks.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        for optimiser in optimisers.values():
            optimiser.step()
        ema.update(seen=8 * (step + 1), images=8)
    return Parts(networks, ema.average, optimisers)


def tensors_of(parts: Parts) -> list[torch.Tensor]:
    """Every tensor of the parts, Adam's moments and step counters among them."""
    modules = [*parts.networks.state_dict().values(), *parts.average.state_dict().values()]
    moments = [
        value
        for optimiser in parts.optimisers.values()
        for entry in optimiser.state_dict()["state"].values()
        for value in entry.values()
    ]
    assert len(moments) == 3 * len(list(parts.networks.parameters()))
    return modules + moments


def save(config, parts: Parts, step: int = 12) -> Path:
    config.run.mkdir(exist_ok=True)
    return save_state(config.run, parts, step=step, kimg=step * 0.008, config=config, fingerprint="data")


def test_a_state_gives_back_equal_tensors_and_the_step(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    assert sorted(each.name for each in path.iterdir()) == FILES
    other = parts_of(tiny_config.model, seed=2, steps=3)
    assert not any(torch.equal(a, b) for a, b in zip(tensors_of(parts), tensors_of(other), strict=True))
    assert load_state(path, other, tiny_config, "data") == 12
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(parts), tensors_of(other), strict=True))


def test_saving_does_not_follow_later_changes(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    saved = [tensor.clone() for tensor in tensors_of(parts)]
    with torch.no_grad():
        for parameter in parts.networks.parameters():
            parameter.add_(1)
    load_state(path, parts, tiny_config, "data")
    assert all(torch.equal(a, b) for a, b in zip(saved, tensors_of(parts), strict=True))


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
    load_state(path, found, tiny_config, "data")
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(parts), tensors_of(found), strict=True))
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
    assert all(load_state(path, parts, tiny_config, "data") for path in older)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"batch": 16}, "batch was 8 and is 16"),
        ({"loss": LossConfig(image_weight=2.0)}, "loss.image_weight was 1.0 and is 2.0"),
        ({"optimiser": OptimiserConfig(beta2=0.99)}, "optimiser.beta2 was 0.9 and is 0.99"),
        ({"shuffle_window": 32}, "shuffle_window was 64 and is 32"),
        ({"critic_steps": 3, "seed": 4}, "critic_steps was 2 and is 3; seed was 0 and is 4"),
    ],
)
def test_another_config_is_refused_and_the_difference_named(tiny_config, change, told):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    before = [tensor.clone() for tensor in tensors_of(parts)]
    with pytest.raises(InputError, match="--run") as caught:
        load_state(path, parts, dataclasses.replace(tiny_config, **change), "data")
    assert told in str(caught.value)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors_of(parts), strict=True))


def test_settings_that_do_not_touch_the_numbers_may_change(tiny_config, tmp_path):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    free = dataclasses.replace(
        tiny_config,
        data=str(tmp_path / "moved"),
        run=tmp_path / "renamed",
        grid_faces=5,
        stream=StreamConfig(workers=7, on_bad_sample="skip", patience=5.0),
        clock=ClockConfig(total_kimg=99.0),
    )
    assert load_state(path, parts, free, "data") == 12


def test_other_data_are_refused(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    path = save(tiny_config, parts)
    with pytest.raises(InputError, match="saw other data than --data"):
        load_state(path, parts, tiny_config, "other data")


@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "noise"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_told_in_one_sentence(tiny_config, name, damage):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    file = save(tiny_config, parts) / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        half, noise = content[: len(content) // 2], bytes(range(255, -1, -1)) * 40
        cut = {"cut short": half, "empty": b"", "noise": noise}
        file.write_bytes(cut[damage])
    with pytest.raises(InputError, match=r"is damaged .* remove that folder") as caught:
        load_state(file.parent, parts, tiny_config, "data")
    assert str(file.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"config": {}}', b'"text"'])
def test_a_state_json_of_other_contents_is_told_in_one_sentence(tiny_config, content):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    path = save(tiny_config, parts)
    (path / "state.json").write_bytes(content)
    with pytest.raises(InputError, match="is not of the format fes-state-1"):
        load_state(path, parts, tiny_config, "data")


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
    (path / "optimisers.pt").write_bytes(trap.getvalue())
    with pytest.raises(InputError, match=r"is damaged .optimisers.pt holds something other than tensors"):
        load_state(path, parts, tiny_config, "data")
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Malice(tmp_path / "harm")))  # the trap works where nothing guards it
    assert (tmp_path / "harm").exists()


def test_what_is_no_finished_state_is_not_listed(tiny_config):
    path = save(tiny_config, parts_of(tiny_config.model, seed=1, steps=1))
    shutil.copytree(path, path.with_name(".state-000099.000.partial"))
    assert list_states(tiny_config.run) == [path]
    assert list_states(tiny_config.run / "nowhere") == []

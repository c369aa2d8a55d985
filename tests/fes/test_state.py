"""States: what is saved comes back, the wrong state is refused, a damaged one is passed over."""

import dataclasses
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from fes.config import ClockConfig, LossConfig, OptimiserConfig, StreamConfig
from fes.ema import Ema
from fes.errors import InputError
from fes.networks import Networks
from fes.runtime.player import Player
from fes.state import SUMS, Parts, Restored, find_state, has_finished, list_states, restore, save_state

FILES = ["SHA256SUMS", "average.safetensors", "networks.safetensors", "players.pt", "state.json"]


def parts_of(model, seed: int, steps: int = 2, rate: float = 1e-3) -> Parts:
    """Networks, their average and two players that have taken a few steps."""
    networks = Networks(model, seed)
    ema = Ema(networks, 20.0)
    halves = {
        "critics": torch.nn.ModuleList([networks.latent_critic, networks.image_critic]),
        "autoencoder": torch.nn.ModuleList([networks.encoder, networks.generator]),
    }
    players = {
        name: Player(own, torch.optim.Adam(own.parameters(), rate, (0.0, 0.9)))
        for name, own in halves.items()
    }
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for parameter in networks.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        for player in players.values():
            player.optimiser.step()
        ema.update(seen=8 * (step + 1), images=8)
    return Parts(networks, ema.average, players)


def tensors_of(parts: Parts) -> list[torch.Tensor]:
    """Every tensor of the parts, Adam's moments and step counters among them."""
    modules = [*parts.networks.state_dict().values(), *parts.average.state_dict().values()]
    moments = [
        value
        for player in parts.players.values()
        for entry in player.state_dict()["optimiser"]["state"].values()
        for value in entry.values()
    ]
    assert len(moments) == 3 * len(list(parts.networks.parameters()))
    return modules + moments


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def save(config, parts: Parts, step: int = 12) -> Path:
    config.run.mkdir(exist_ok=True)
    players = {name: player.state_dict() for name, player in parts.players.items()}
    about = {"config": config, "fingerprint": "data"}
    return save_state(config.run, parts, players, step=step, kimg=step * 0.008, **about)


def load(config, parts: Parts, fingerprint: str = "data", allow_change=()) -> Restored:
    """Goes on from the newest sound state."""
    return restore(find_state(config.run), parts, config, fingerprint, allow_change)


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
    save(tiny_config, parts)
    before = [tensor.clone() for tensor in tensors_of(parts)]
    with pytest.raises(InputError, match="--run") as caught:
        load(dataclasses.replace(tiny_config, **change), parts)
    assert told in str(caught.value)
    assert equal(before, tensors_of(parts))


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (
            {"optimiser": OptimiserConfig(critic_rate=1e-5)},
            "; to change it on purpose add --allow-change optimiser.critic-rate",
        ),
        (
            {"optimiser": OptimiserConfig(critic_rate=1e-5), "ema_halflife_kimg": 3.0},
            "; to change them on purpose add --allow-change ema-halflife-kimg optimiser.critic-rate",
        ),
        (
            {"optimiser": OptimiserConfig(critic_rate=1e-5), "batch": 16, "critic_steps": 3},
            ": batch and critic-steps cannot change within a run",
        ),
    ],
)
@pytest.mark.parametrize("allowed", [(), ("ema_halflife_kimg",)])
def test_a_refused_config_is_told_with_what_to_type(tiny_config, change, advice, allowed):
    save(tiny_config, parts_of(tiny_config.model, seed=1))
    with pytest.raises(InputError) as caught:
        load(dataclasses.replace(tiny_config, **change), parts_of(tiny_config.model, 1), allow_change=allowed)
    assert str(caught.value).endswith(f"Take the same settings, or another --run folder{advice}")


def test_a_change_that_is_allowed_by_name_is_told_and_taken(tiny_config):
    save(tiny_config, parts_of(tiny_config.model, seed=1))
    change = {"optimiser": OptimiserConfig(critic_rate=1e-5), "loss": LossConfig(image_weight=2.0)}
    config = dataclasses.replace(tiny_config, **change)
    with pytest.raises(InputError, match=r"loss.image_weight was 1.0 and is 2.0\. Take the same"):
        load(config, parts_of(tiny_config.model, seed=1), allow_change=["optimiser.critic_rate"])
    parts = parts_of(tiny_config.model, seed=2, rate=1e-5)
    restored = load(config, parts, allow_change=["optimiser.critic_rate", "loss.image_weight"])
    assert restored == Restored(
        12, ("loss.image_weight was 1.0 and is 2.0", "optimiser.critic_rate was 0.0005 and is 1e-05")
    )
    assert [group["lr"] for group in parts.players["critics"].optimiser.param_groups] == [1e-5]
    assert equal(tensors_of(parts), tensors_of(parts_of(tiny_config.model, seed=1)))


def test_settings_that_do_not_touch_the_numbers_may_change(tiny_config, tmp_path):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts)
    tiny_config.run.rename(tmp_path / "renamed")
    free = dataclasses.replace(
        tiny_config,
        data=str(tmp_path / "moved"),
        run=tmp_path / "renamed",
        grid_faces=5,
        stream=StreamConfig(workers=7, on_bad_sample="skip", patience=5.0),
        clock=ClockConfig(total_kimg=99.0),
    )
    assert load(free, parts) == Restored(12)


def test_other_data_are_refused(tiny_config):
    parts = parts_of(tiny_config.model, seed=1)
    save(tiny_config, parts)
    with pytest.raises(InputError, match="saw other data than --data"):
        load(tiny_config, parts, fingerprint="other data")


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


def test_what_is_no_finished_state_is_neither_taken_nor_kept(tiny_config):
    path = save(tiny_config, parts_of(tiny_config.model, seed=1, steps=1))
    unfinished = path.with_name(".state-000099.000.partial")
    shutil.copytree(path, unfinished)
    assert find_state(tiny_config.run).path == path
    assert not unfinished.exists()
    assert find_state(tiny_config.run / "nowhere") is None


def test_a_head_that_began_to_learn_is_refused_though_it_was_allowed(tiny_config):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    save(tiny_config, parts)
    config = dataclasses.replace(tiny_config, loss=LossConfig(expression_weight=1.0))
    with pytest.raises(InputError) as caught:
        load(config, parts, allow_change=["loss.expression_weight"])
    assert "loss.expression_weight was 0.0 and is 1.0" in str(caught.value)
    assert str(caught.value).endswith("loss.expression-weight cannot change within a run")


def test_a_run_that_began_with_its_neighbour_goes_on_where_both_were_moved(tiny_config, tmp_path):
    parts = parts_of(tiny_config.model, seed=1, steps=1)
    save(dataclasses.replace(tiny_config, init_from=tiny_config.run.with_name("48")), parts)
    moved = tmp_path / "moved" / tiny_config.run.name
    shutil.copytree(tiny_config.run, moved)
    config = dataclasses.replace(tiny_config, run=moved)
    assert load(dataclasses.replace(config, init_from=moved.with_name("48")), parts).changes == ()
    kept = dataclasses.replace(config, init_from=tiny_config.run.with_name("48"))
    assert load(kept, parts).changes == ()  # the run alone was moved
    for other in (moved.with_name("other"), tmp_path / "elsewhere" / "48", None):
        with pytest.raises(InputError, match="init-from cannot change within a run"):
            load(dataclasses.replace(config, init_from=other), parts)


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

"""Snapshots: one file that is enough, and every other file refused in one sentence."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

from fes.config import Config
from fes.config.tree import to_tree
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.saved.snapshot import (
    code_commit,
    export_snapshot,
    find_snapshot,
    load_snapshot,
    save_snapshot,
    snapshot_path,
)

DATA = {"source": "drawn", "fingerprint": "ab", "train": {"happy": 3}}


@pytest.fixture
def saved(tiny_config) -> tuple[Path, Ema, Config]:
    """A snapshot in a run's folder, whose average differs from the networks."""
    tiny_config.run.mkdir()
    ema = Ema(Networks(tiny_config.model, seed=3), 20.0)
    with torch.no_grad():
        for parameter in ema.average.parameters():
            parameter.add_(0.5)
    path = snapshot_path(tiny_config.run, 12.5)
    save_snapshot(path, ema, tiny_config, 12.5, DATA)
    return path, ema, tiny_config


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_snapshot(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_snapshot_gives_back_the_averaged_weights(saved):
    path, ema, config = saved
    snapshot = load_snapshot(path)
    for name in ("encoder", "generator"):
        found, expected = getattr(snapshot, name).state_dict(), ema.average[name].state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)
        assert not getattr(snapshot, name).training
        assert not any(p.requires_grad for p in getattr(snapshot, name).parameters())
    assert (snapshot.model, snapshot.kimg) == (config.model, 12.5)


def test_the_metadata_hold_config_classes_kimg_commit_and_data(saved):
    path, _, config = saved
    _, metadata = contents(path)
    assert metadata["format"] == "fes-snapshot-1"
    assert json.loads(metadata["config"]) == to_tree(config)
    assert tuple(json.loads(metadata["classes"])) == EXPRESSIONS
    assert float(metadata["kimg"]) == 12.5
    assert json.loads(metadata["data"]) == DATA
    assert metadata["commit"] == code_commit()
    assert load_snapshot(path).metadata["data"] == DATA


def test_weights_are_saved_in_single_precision(tiny_config):
    tiny_config.run.mkdir()
    path = snapshot_path(tiny_config.run, 0.0)
    save_snapshot(path, Ema(Networks(tiny_config.model, seed=3).double(), 20.0), tiny_config, 0.0, DATA)
    assert {tensor.dtype for tensor in contents(path)[0].values()} == {torch.float32}


def test_a_snapshot_alone_is_enough_in_another_process(saved, tmp_path):
    path, *_ = saved
    alone = tmp_path / "alone" / "weights.safetensors"
    alone.parent.mkdir()
    shutil.move(path, alone)
    program = (
        "import sys, torch; from fes.saved.snapshot import load_snapshot; "
        "s = load_snapshot(__import__('pathlib').Path(sys.argv[1])); x = torch.zeros(1, 1, 48, 48); "
        "print(tuple(s.generator(s.encoder(x), torch.tensor([3])).shape), 'accelerate' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(alone)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("(1, 1, 48, 48) False\n", "")


def test_an_export_has_half_the_bytes_and_all_that_is_known(saved, tmp_path):
    path, ema, _ = saved
    out = tmp_path / "new" / "half.safetensors"
    export_snapshot([path.parent], out, note="drawn faces only")
    (tensors, metadata), (whole, before) = contents(out), contents(path)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(torch.equal(tensors[name], whole[name].half()) for name in whole)
    assert {**metadata, "config": before["config"]} == {**before, "note": "drawn faces only"}
    snapshot = load_snapshot(out)
    assert {p.dtype for p in snapshot.generator.parameters()} == {torch.float32}
    assert torch.allclose(snapshot.encoder.to_code.weight, ema.average["encoder"].to_code.weight, rtol=1e-3)
    assert snapshot.metadata["note"] == "drawn faces only"
    export_snapshot([out], tmp_path / "again.safetensors")
    assert contents(tmp_path / "again.safetensors")[1] == metadata


def another(folder: Path, config: Config, kimg: float, seed: int, data=DATA, guide: str = "") -> Path:
    """A snapshot with weights of its own, that began as the one of `saved`."""
    folder.mkdir(exist_ok=True)
    networks, chance = Networks(config.model, seed=3), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in networks.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=chance)
    path, ema = snapshot_path(folder, kimg), Ema(networks, 20.0)
    save_snapshot(path, ema, config, kimg, data, guide)
    return path


def test_several_exported_together_are_averaged_number_by_number(saved, tmp_path):
    path, _, config = saved
    later = another(config.run, config, 14.0, seed=1, guide="aa")
    elsewhere = another(tmp_path / "other", config, 13.0, seed=2, guide="bb")
    out = tmp_path / "mean.safetensors"
    export_snapshot([later, path, elsewhere.parent, path], out)
    tensors, metadata = contents(out)
    each = [contents(one)[0] for one in (later, path, elsewhere, path)]
    for name, tensor in tensors.items():
        mean = np.mean([one[name].numpy() for one in each], axis=0, dtype=np.float64)
        assert np.array_equal(tensor.numpy(), mean.astype(np.float32).astype(np.float16))
    before = contents(later)[1]
    told = {
        "averaged": "[12.5, 12.5, 13.0, 14.0]",
        "guide": "aa bb",
        "note": "",
        "config": metadata["config"],
    }
    assert metadata == {**before, **told}
    assert load_snapshot(out).kimg == 14.0


def test_snapshots_that_have_no_mean_are_refused(saved, tmp_path):
    path, _, config = saved
    wider = dataclasses.replace(config, model=dataclasses.replace(config.model, latent_dim=9))
    for name, other in (
        ("networks", another(tmp_path / "wider", wider, 1.0, seed=0)),
        ("data", another(tmp_path / "data", config, 1.0, seed=0, data=DATA | {"fingerprint": "cd"})),
    ):
        with pytest.raises(InputError, match=re.escape(f"{other} is of other {name} than {path}: they have")):
            export_snapshot([path, other], tmp_path / "mean.safetensors")
    stranger = snapshot_path(tmp_path, 1.0)
    save_snapshot(stranger, Ema(Networks(config.model, seed=1), 20.0), config, 1.0, DATA)
    with pytest.raises(InputError, match=r"have nothing in common \(their cosine is -?0\.0"):
        export_snapshot([path, stranger], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


def test_an_export_does_not_tell_where_things_lay(saved, tmp_path):
    path, *_ = saved
    tensors, metadata = contents(path)
    config = json.loads(metadata["config"])
    config |= {"data": "/home/me/a:0.5,https://host/b:0.5", "run": "/home/me/run"}
    path.write_bytes(save(tensors, metadata | {"config": json.dumps(config)}))
    export_snapshot([path], tmp_path / "half.safetensors")
    told = json.loads(contents(tmp_path / "half.safetensors")[1]["config"])
    assert told == config | {"data": "a:0.5,b:0.5", "run": "run"}


def test_what_half_precision_cannot_hold_is_refused(saved, tmp_path):
    path, *_ = saved
    tensors, metadata = contents(path)
    tensors["encoder.to_code.bias"][0] = 1e5
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(
        InputError, match=r"cannot be halved: encoder\.to_code\.bias holds numbers beyond 65,504"
    ):
        export_snapshot([path], tmp_path / "half.safetensors")
    assert not (tmp_path / "half.safetensors").exists()


def test_a_snapshot_of_before_there_were_skips_has_none(saved):
    path, _, config = saved
    tensors, metadata = contents(path)
    older = json.loads(metadata["config"])
    del older["model"]["skip"]
    path.write_bytes(save(tensors, metadata | {"config": json.dumps(older)}))
    snapshot = load_snapshot(path)
    assert (snapshot.model, snapshot.encoder.skip) == (config.model, "none")


def test_a_runs_folder_stands_for_its_newest_snapshot(saved):
    path, *_ = saved
    for kimg in (2.0, 100.0, 99.999):
        shutil.copy(path, snapshot_path(path.parent, kimg))
    assert find_snapshot(path.parent) == snapshot_path(path.parent, 100.0)
    assert find_snapshot(path) == path


def test_a_place_without_a_snapshot_is_refused(tmp_path):
    assert "no snapshot and no run at" in refused(tmp_path / "none")
    assert "holds no snapshot-<kimg>.safetensors" in refused(tmp_path)


@pytest.mark.parametrize("damage", ["text", "empty", "half", "head"])
def test_a_file_that_is_no_snapshot_or_damaged_is_refused(saved, damage):
    path, *_ = saved
    whole = path.read_bytes()
    damaged = {"text": b"weights", "empty": b"", "half": whole[: len(whole) // 2], "head": whole[:7]}
    path.write_bytes(damaged[damage])
    assert f"{path} is not a snapshot, or is damaged" in refused(path)


def test_another_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(2)}, path, metadata)
        assert "is a safetensors file, but not a snapshot" in refused(path)


def test_weights_that_do_not_fit_their_config_are_refused(saved):
    path, *_ = saved
    tensors, metadata = contents(path)
    tensors["encoder.to_code.weight"] = tensors["encoder.to_code.weight"][:, :5].contiguous()
    del tensors["generator.from_code.bias"]
    path.write_bytes(save(tensors, metadata))
    told = refused(path)
    assert "holds other weights than its config says" in told
    assert "generator.from_code.bias" in told


@pytest.mark.parametrize(
    "change",
    [
        {"config": None},
        {"commit": None},
        {"kimg": "{"},
        {"kimg": '"many"'},
        {"config": "[" * 100_000},
        {"config": "3"},
        {"config": "{}"},
        {"config": '{"model": 3}'},
        {"config": '{"model": {}}'},
        {"config": '{"model": {"resolution": 7, "channels": 1}}'},
        {"config": '{"model": {"resolution": 48, "channels": 1, "latent_dim": -1}}'},
    ],
)
def test_a_snapshot_whose_description_is_missing_or_anothers_is_refused(saved, change):
    path, *_ = saved
    tensors, metadata = contents(path)
    metadata = {key: value for key, value in (metadata | change).items() if value is not None}
    path.write_bytes(save(tensors, metadata))
    assert str(path) in refused(path)


def test_the_commit_names_the_code_and_whether_it_was_changed():
    commit = code_commit()
    assert commit == "unknown" or re.fullmatch(r"[0-9a-f]{40}\+?", commit)


def test_names_of_snapshots_sort_by_time(tmp_path):
    kimg = [0.0, 0.5, 2.0, 50.0, 999.936, 1000.0, 25000.0]
    names = [snapshot_path(tmp_path, each).name for each in kimg]
    assert sorted(names) == names


@pytest.mark.parametrize("skip", ["none", "features", "residual", "mask", "warp"])
def test_a_snapshot_of_each_kind_of_network_draws_what_the_average_draws(tiny_config, skip):
    config = dataclasses.replace(tiny_config, model=dataclasses.replace(tiny_config.model, skip=skip))
    config.run.mkdir()
    ema = Ema(Networks(config.model, seed=3), 20.0)
    path = snapshot_path(config.run, 1.0)
    save_snapshot(path, ema, config, 1.0, DATA)
    snapshot = load_snapshot(path)
    assert snapshot.model.skip == skip
    x, label = torch.rand(2, 1, 48, 48) * 2 - 1, torch.tensor([0, 3])
    expected = ema.average["generator"](ema.average["encoder"](x), label)
    assert torch.equal(snapshot.generator(snapshot.encoder(x), label), expected)


def test_a_snapshot_from_before_there_was_a_choice_is_of_the_original_kind(saved):
    path, *_ = saved
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    for section in ("stages", "start", "augment", "evaluation"):
        del config[section]
    del config["model"]["skip"]
    config["loss"] = {"image_weight": 1.0}
    save_file(tensors, path, metadata | {"config": json.dumps(config)})
    assert load_snapshot(path).model.skip == "none"

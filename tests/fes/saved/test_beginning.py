"""Networks to begin with: from snapshots and from states, and one sentence where that cannot be."""

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from fes import train
from fes.config import Config, StartConfig
from fes.config.tree import to_tree
from fes.errors import InputError
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.saved.beginning import take_networks
from fes.saved.snapshot import save_snapshot, snapshot_path
from fes.saved.state import Parts, save_state

NAMES = "encoder", "generator", "latent_critic", "image_critic"


@pytest.fixture
def begun(tiny_config: Config) -> Config:
    """A run with two snapshots and two states, the newer ones of other weights."""
    tiny_config.run.mkdir()
    for seed, kimg in ((3, 1.0), (4, 2.0)):
        networks = Networks(tiny_config.model, seed)
        ema = Ema(networks, 20.0)
        save_snapshot(snapshot_path(tiny_config.run, kimg), ema, tiny_config, kimg, {})
        about = {"step": 3, "kimg": kimg, "config": tiny_config, "fingerprint": "data"}
        save_state(tiny_config.run, Parts(networks, ema.average, {}), {}, **about)
    return tiny_config


def taken(config: Config, **start: Path) -> set[str]:
    """Which networks became those of the newer files; the others have to stay as they were."""
    networks, before, newer = (Networks(config.model, seed) for seed in (0, 0, 4))
    take_networks(networks, StartConfig(**start), config.model)
    found = set()
    for name in NAMES:
        now, old, new = (getattr(each, name).state_dict() for each in (networks, before, newer))
        is_new = all(torch.equal(now[key], new[key]) for key in now)
        assert is_new or all(torch.equal(now[key], old[key]) for key in now), name
        found |= {name} if is_new else set()
    return found


def test_each_network_can_be_taken_from_a_file_or_from_the_newest_of_a_run(begun):
    run = begun.run
    assert taken(begun) == set()
    assert taken(begun, **dict.fromkeys(NAMES, run)) == set(NAMES)
    assert taken(begun, encoder=snapshot_path(run, 2.0)) == {"encoder"}
    state = run / "state-000002.000" / "networks.safetensors"
    for name in NAMES:
        assert taken(begun, **{name: state}) == {name}
    assert taken(begun, generator=run, image_critic=state) == {"generator", "image_critic"}


def test_a_guide_is_none_of_the_networks_that_are_taken(begun, tmp_path):
    assert taken(begun, guide=tmp_path / "none") == set()
    assert taken(begun, guide=begun.run, encoder=begun.run) == {"encoder"}


def test_weights_of_half_precision_become_those_of_single(begun, tmp_path):
    weights = Networks(begun.model, 4).encoder.state_dict()
    save_file(
        {f"encoder.{key}": value.half() for key, value in weights.items()}, tmp_path / "half.safetensors"
    )
    networks = Networks(begun.model, 0)
    take_networks(networks, StartConfig(encoder=tmp_path / "half.safetensors"), begun.model)
    for key, value in networks.encoder.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[key].half().float())


def told(config: Config, **start: Path) -> str:
    networks = Networks(config.model, 0)
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    with pytest.raises(InputError) as caught:
        take_networks(networks, StartConfig(**start), config.model)
    assert all(torch.equal(value, before[key]) for key, value in networks.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_taken_is_told_in_one_sentence(begun, tmp_path):
    snapshot = snapshot_path(begun.run, 2.0)
    nowhere = tmp_path / "nowhere"
    assert told(begun, encoder=nowhere) == (
        f"--start.encoder is {nowhere}: neither a .safetensors file nor a run with a snapshot-*.safetensors"
    )
    (tmp_path / "empty").mkdir()
    assert told(begun, image_critic=tmp_path / "empty").endswith(
        "neither a .safetensors file nor a run with a state-*/networks.safetensors"
    )
    assert told(begun, latent_critic=snapshot) == (
        f"--start.latent-critic: {snapshot} holds no latent critic"
    )
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(snapshot.read_bytes()[:1000])
    assert told(begun, generator=broken).startswith(
        f"--start.generator: {broken} is not a safetensors file, or is damaged: "
    )


def with_model(config: Config, **sizes: object) -> Config:
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **sizes))


@pytest.mark.parametrize(
    ("name", "sizes", "flags"),
    [
        ("encoder", {"latent_dim": 9}, "--model.latent-dim 8"),
        ("encoder", {"blocks": "residual", "latent_dim": 9}, "--model.blocks strided --model.latent-dim 8"),
        ("encoder", {"latent_dim": 9, "skip": "mask", "latent_critic_features": 3}, "--model.latent-dim 8"),
        ("generator", {"skip": "features"}, "--model.skip none"),
        ("latent_critic", {"latent_critic_features": 3, "channels": 3}, "--model.latent-critic-features 16"),
        ("image_critic", {"resolution": 96, "latent_dim": 9}, "--model.resolution 48"),
    ],
)
def test_of_another_make_the_sizes_are_named_that_differ_and_matter_to_that_network(
    begun, name, sizes, flags
):
    file = next(begun.run.glob("snapshot-000002.000.*" if "critic" not in name else "state-000002.000/net*"))
    assert told(with_model(begun, **sizes), **{name: begun.run}) == (
        f"--start.{name.replace('_', '-')}: the {name.replace('_', ' ')} in {file} is of another make: "
        f"give {flags}, as it has"
    )


def test_of_another_make_without_a_word_of_its_sizes_a_tensor_is_named(begun, tmp_path):
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(snapshot_path(begun.run, 2.0)), bare)
    assert told(with_model(begun, latent_dim=9), encoder=bare) == (
        f"--start.encoder: the encoder in {bare} is of another make: to_code.bias is (8,) there and (9,) "
        "here; give --model the sizes that it was trained with"
    )
    assert "joins.block12.bias is missing there and (8,) here" in told(
        with_model(begun, skip="features"), generator=bare
    )
    weights = load_file(bare)
    save_file({**weights, "encoder.more": weights["encoder.to_code.bias"].clone()}, bare)
    assert "more is (8,) there and none here" in told(begun, encoder=bare)


@pytest.mark.usefixtures("one_core")
def test_a_run_begins_with_them_and_ends_with_code_2_where_it_cannot(begun, tmp_path, capsys):
    """One step, which is the critics': encoder and generator stay those that were taken."""
    clock = dataclasses.replace(begun.clock, total_kimg=0.008)
    start = StartConfig(encoder=begun.run, generator=tmp_path / "none")
    config = dataclasses.replace(begun, run=tmp_path / "new", clock=clock, start=start)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_tree(config)))

    def code(*flags: str) -> int:
        with pytest.raises(SystemExit) as ended:
            train.main(["--config", str(tmp_path / "config.yaml"), *flags])
        return ended.value.code

    assert code() == 2
    assert capsys.readouterr().err.startswith(f"train.py: --start.generator is {tmp_path / 'none'}: neither")
    assert code("--start.generator", str(begun.run)) == 0
    weights = load_file(tmp_path / "new" / "state-000000.008" / "networks.safetensors")
    newer = Networks(begun.model, 4).state_dict()
    same = {name.split(".")[0] for name, value in newer.items() if torch.equal(weights[name], value)}
    assert same >= {"encoder", "generator"}
    assert not torch.equal(weights["image_critic.to_score.weight"], newer["image_critic.to_score.weight"])

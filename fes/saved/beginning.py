"""Networks that a run begins with: those that other runs trained, instead of random ones."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fes.config import ModelConfig, StartConfig
from fes.config.tree import from_tree
from fes.errors import InputError
from fes.files import of_moments
from fes.model.networks import Networks

_KEPT = {
    "encoder": "snapshot-*.safetensors",
    "generator": "snapshot-*.safetensors",
    "latent_critic": "state-*/networks.safetensors",
    "image_critic": "state-*/networks.safetensors",
}
"""Which of its files a run keeps a network in; the newest counts."""
_AT_PICTURES = "blocks", "resolution", "channels", "max_features", "min_features"
_SIZES = {
    "encoder": (*_AT_PICTURES, "latent_dim"),
    "generator": (*_AT_PICTURES, "latent_dim", "skip"),
    "latent_critic": ("latent_dim", "latent_critic_features"),
    "image_critic": _AT_PICTURES,
}
"""Settings of the model that the weights of a network depend on."""


def take_networks(networks: Networks, start: StartConfig, model: ModelConfig) -> None:
    """Puts the asked weights into the networks of a model, in place; the guide is none of them.

    Raises:
        InputError: a file is not there, does not hold the network, or holds one of another shape.
    """
    for name in _KEPT:
        path = getattr(start, name)
        if path is not None:
            file = _file(path, name)
            found = _tensors(file, name)
            _check_fit(file, name, found, getattr(networks, name).state_dict(), model)
            getattr(networks, name).load_state_dict(found)


def _file(path: Path, name: str) -> Path:
    if path.is_file():
        return path
    found = of_moments(path, _KEPT[name])
    if not found:
        raise InputError(
            f"{_flag(name)} is {path}: neither a .safetensors file nor a run with a {_KEPT[name]}"
        )
    return found[-1]


def tensors_of(file: Path, flag: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file; raises `InputError`, which the flag begins, where it is none."""
    try:
        with safe_open(file, "pt") as opened:
            return {each: opened.get_tensor(each).float() for each in opened.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{flag}: {file} is not a safetensors file, or is damaged: {error}") from None


def _tensors(file: Path, name: str) -> dict[str, Tensor]:
    """The network's tensors in a file of several networks, by the names that it has for them."""
    prefix, found = f"{name}.", tensors_of(file, _flag(name))
    found = {each.removeprefix(prefix): tensor for each, tensor in found.items() if each.startswith(prefix)}
    if not found:
        raise InputError(f"{_flag(name)}: {file} holds no {name.replace('_', ' ')}")
    return found


def _check_fit(
    file: Path, name: str, found: dict[str, Tensor], wanted: dict[str, Tensor], model: ModelConfig
) -> None:
    """Raises `InputError` where one tensor has another shape than the model gives it, with the sizes that
    differ; else, where the file tells none, with the tensor."""
    there, here = ({key: tuple(value.shape) for key, value in each.items()} for each in (found, wanted))
    if there == here:
        return
    told = f"{_flag(name)}: the {name.replace('_', ' ')} in {file} is of another make"
    other = _model_of(file) or model
    if differing := [size for size in _SIZES[name] if getattr(other, size) != getattr(model, size)]:
        raise InputError(f"{told}: give {flags_of(other, differing)}, as it has")
    key = min(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    raise InputError(
        f"{told}: {key} is {there.get(key, 'missing')} there and {here.get(key, 'none')} here; give --model "
        "the sizes that it was trained with"
    )


def _model_of(file: Path) -> ModelConfig | None:
    """What the networks of a file look like, as a snapshot tells itself, and a state beside them; None where
    neither does."""
    try:
        with safe_open(file, "pt") as opened:
            told = (opened.metadata() or {}).get("config")
        config = json.loads(told) if told else json.loads(file.with_name("state.json").read_text())["config"]
        return from_tree(ModelConfig, config["model"], "the config")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):  # an InputError too
        return None


def flags_of(model: ModelConfig, names: Iterable[str]) -> str:
    """Settings of a model as they are given on a command line."""
    return " ".join(f"--model.{name.replace('_', '-')} {getattr(model, name)}" for name in names)


def _flag(name: str) -> str:
    return f"--start.{name.replace('_', '-')}"

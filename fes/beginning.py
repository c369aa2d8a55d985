"""Networks that a run begins with: those that other runs trained, instead of random ones."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fes.config import StartConfig
from fes.errors import InputError
from fes.files import of_moments
from fes.networks import Networks

_KEPT = {
    "encoder": "snapshot-*.safetensors",
    "generator": "snapshot-*.safetensors",
    "latent_critic": "state-*/networks.safetensors",
    "image_critic": "state-*/networks.safetensors",
}
"""Which of its files a run keeps a network in; the newest counts."""


def take_networks(networks: Networks, start: StartConfig) -> None:
    """Puts the asked weights into the networks, in place; the guide is none of them.

    Raises:
        InputError: a file is not there, does not hold the network, or holds one of another shape.
    """
    for name in _KEPT:
        path = getattr(start, name)
        if path is not None:
            file = _file(path, name)
            _check_fit(file, name, found := _tensors(file, name), getattr(networks, name).state_dict())
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


def _check_fit(file: Path, name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for key in sorted(wanted.keys() | found.keys()):
        there = tuple(found[key].shape) if key in found else "missing"
        here = tuple(wanted[key].shape) if key in wanted else "none"
        if there != here:
            raise InputError(
                f"{_flag(name)}: the {name.replace('_', ' ')} in {file} is of another make: {key} is {there} "
                f"there and {here} here; give --model the sizes that it was trained with"
            )


def _flag(name: str) -> str:
    return f"--start.{name.replace('_', '-')}"

"""Networks that a run takes over from another one, whose pictures may be smaller or have other channels.

Blocks are named by their resolution and are as wide as that says, so those of the other run fit by name. The
layers at its pictures become edges, beside which the blocks of the higher resolution fade in
(`fes.model.edges`). Where channels differ, these layers are resized: what was learnt on grey serves all three
colours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fes.config import ModelConfig
from fes.errors import InputError
from fes.model.blocks import coarsest
from fes.model.networks import Networks, open_edges
from fes.saved.beginning import flags_of, tensors_of
from fes.saved.snapshot import find_snapshot, read_snapshot
from fes.saved.state import list_states

Fate = Literal["copied", "resized", "new", "left out"]
LAYERS_AT_PICTURES = ("encoder.features.from_image", "image_critic.features.from_image", "generator.to_image")
_MOST_CHANNELS = 4
"""Three colours and a mask."""
MUST_AGREE = ("blocks", "skip", "latent_dim", "max_features", "latent_critic_features")


class Taken(NamedTuple):
    """What became of one tensor."""

    name: str
    fate: Fate
    there: tuple[int, ...] | None
    """Its shape in the other run."""
    here: tuple[int, ...] | None


class Other(NamedTuple):
    """The networks of another run."""

    named: str
    """As its user asked for it, and where it is."""
    model: ModelConfig
    tensors: dict[str, Tensor]


def read_other(path: Path | None) -> Other | None:
    """None for None; else the averaged encoder and generator of a snapshot, or of a run's newest, and the
    critics of the run's newest state.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if path is None:
        return None
    snapshot = find_snapshot(path)
    tensors, model = read_snapshot(snapshot)
    states = list_states(snapshot.parent) if path.is_dir() else []
    if states:
        kept = tensors_of(states[-1] / "networks.safetensors", "--init-from")
        tensors |= {name: each for name, each in kept.items() if name.partition(".")[0].endswith("_critic")}
    return Other(f"--init-from {path}", model, tensors)


def take_over(networks: Networks, other: Other, model: ModelConfig) -> list[Taken]:
    """Puts another run's weights into new networks of a model, in place; tells what became of each tensor.

    Raises:
        InputError: they are of a make that cannot be bridged.
    """
    _check_bridge(other, model)
    if other.model.resolution < model.resolution:
        open_edges(networks, model, other.model.resolution)
    rows, used = [], set()
    for name, here in networks.state_dict().items():
        source = _source(name, other.model.resolution, model.resolution)
        there = other.tensors.get(source)
        fate: Fate = "new"
        if there is not None:
            used.add(source)
            fate = "copied" if there.shape == here.shape else "resized"
            here.copy_(there if fate == "copied" else _resized(other, name, there, here))
        rows.append(Taken(name, fate, None if there is None else tuple(there.shape), tuple(here.shape)))
    left = [each for each in other.tensors if each not in used]
    return rows + [Taken(name, "left out", tuple(other.tensors[name].shape), None) for name in left]


def _check_bridge(other: Other, model: ModelConfig) -> None:
    there, here = other.model, model
    told = f"{other.named} has networks"
    differing = [name for name in MUST_AGREE if getattr(there, name) != getattr(here, name)]
    if differing:
        # It bounds widths that may agree all the same; here it is named before it is in the way.
        differing += ["min_features"] if there.min_features != here.min_features else []
        flags = flags_of(there, differing)
        raise InputError(f"{told} of another make, which cannot be bridged: give {flags}, as it has")
    if there.resolution > here.resolution:
        raise InputError(f"{told} for {there.resolution} px, more than --model.resolution {here.resolution}")
    if coarsest(there.resolution) != coarsest(here.resolution):
        doubled = [there.resolution * factor for factor in (2, 4)]
        raise InputError(
            f"{told} for {there.resolution} px, which do not double to --model.resolution {here.resolution}: "
            f"take {doubled[0]}, {doubled[1]} and so on"
        )


def _source(name: str, there: int, here: int) -> str | None:
    """The other run's name for what is to be put into a tensor; None where it has nothing like it."""
    for layer in LAYERS_AT_PICTURES:
        edge = f"{layer.rpartition('.')[0]}.edges.{there}"
        if name.startswith(f"{edge}."):
            return name.replace(edge, layer)
        if name.startswith(f"{layer}.") and there != here:
            return None
    return name


def _resized(other: Other, name: str, there: Tensor, here: Tensor) -> Tensor:
    """A layer at the pictures, for other channels; raises `InputError` where no more than these differ."""
    differing = [
        axis for axis, sizes in enumerate(zip(there.shape, here.shape, strict=False)) if len({*sizes}) > 1
    ]
    draws = name.startswith("generator.")
    at_pictures = (
        name.startswith(LAYERS_AT_PICTURES) or ".edges." in name or name.startswith("image_critic.head")
    )
    of_channels = [max(there.shape[axis], here.shape[axis]) <= _MOST_CHANNELS for axis in differing]
    if there.dim() != here.dim() or of_channels != [True] or not at_pictures:
        raise InputError(
            f"{other.named}: {name} is {tuple(there.shape)} there and {tuple(here.shape)} here, "
            f"which cannot be bridged: give --model.min-features {other.model.min_features}, as it has"
        )
    (axis,) = differing
    return (_draws if draws else _reads)(there, axis, here.shape[axis])


def _reads(there: Tensor, axis: int, channels: int) -> Tensor:
    """Weights that read pictures: of three equal colours, as they read grey, and the other way round."""
    summed = there.sum(axis, keepdim=True)
    return (summed / channels).expand(*(channels if each == axis else -1 for each in range(there.dim())))


def _draws(there: Tensor, axis: int, outputs: int) -> Tensor:
    """Weights that draw pictures, and behind them a mask or none: grey in three colours, or their mean."""
    mask = there.narrow(axis, there.shape[axis] - 1, 1)
    masks = there.shape[axis] % 2 == 0  # 1 or 3 channels, and a mask
    colours = there.narrow(axis, 0, there.shape[axis] - masks).mean(axis, keepdim=True)
    return torch.cat([colours] * (outputs - masks) + [mask] * masks, axis)


def table(rows: Sequence[Taken]) -> str:
    """What became of each tensor, for people: a line each, and the counts."""
    width = max(len(row.name) for row in rows)
    lines = [f"{row.fate:<9} {row.name:<{width}}  {_shape(row.there)} -> {_shape(row.here)}" for row in rows]
    return "\n".join([*lines, told(rows)])


def told(rows: Sequence[Taken]) -> str:
    """How many tensors were copied, resized and so on."""
    fates: tuple[Fate, ...] = ("copied", "resized", "new", "left out")
    return ", ".join(f"{sum(row.fate == fate for row in rows)} {fate}" for fate in fates)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape)) or "1"

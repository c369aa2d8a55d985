"""Everything that decides what a run learns: frozen dataclasses, and the only place with defaults.

The same fields make the flags (`--model.latent-dim 64`), the yaml (`model: {latent_dim: 64}`), and
the metadata of the weights. What the hardware decides (processes, precision, backend) is not here:
it belongs to the launcher and its profile.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Literal

from fes.errors import InputError

BASES = 48, 64
"""The networks can be built for pictures of these many pixels a side, doubled any number of times."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the four networks."""

    resolution: int | None = None
    """Height and width of the pictures in pixels: 48 or 64 times a power of two. None: the largest that
    nine of ten pictures of each data set have or exceed, so that few are enlarged."""
    channels: int | None = None
    """1 for grey, 3 for RGB. None: RGB where all data are in colour, else grey."""
    latent_dim: int = 64
    """Length of the code z that stands for a person."""
    max_features: int = 256
    """Feature maps at the coarsest resolution (3 or 4 pixels); halved at each doubling of it."""
    min_features: int = 32
    """Feature maps are never fewer than this, however fine the resolution."""
    latent_critic_features: int = 256
    """Width of the two hidden layers of the latent critic."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, in one unit: the norm of a term's gradient per sample.

    A critic that obeys its penalty pulls at each synthesised picture with a gradient of norm about 1,
    at any resolution. The reconstruction error is scaled to pull with a norm of exactly 1 as well
    (the mean absolute error of a picture of n values pulls with 1/sqrt(n) only, so that the weight 10
    that is usual for it means 0.2 at 48 px and 0.04 at 256). Weights compare the terms directly, and
    a set of weights found at 48 px holds at 256.
    """

    reconstruction_weight: float = 2.0
    """Pull towards the source picture, in multiples of the image critic's at weight 1."""
    image_weight: float = 1.0
    """Pull towards pictures that the image critic takes for real ones of the asked class."""
    latent_weight: float = 0.2
    """Pull of the codes towards the prior. It acts on z, where the other terms arrive with norms of a
    few hundredths: a weight of 1 drowns them, and with 0.05 the codes stay far from the prior for long."""
    penalty_weight: float = 10.0
    """Lambda of the gradient penalty of both critics (Gulrajani et al., 2017, use 10)."""


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, for both players."""

    critic_rate: float = 5e-4
    """Learning rate of the two critics."""
    autoencoder_rate: float = 5e-4
    """Learning rate of encoder and generator."""
    beta1: float = 0.0
    """Decay of the mean of the gradients; WGAN-GP wants none."""
    beta2: float = 0.9
    """Decay of the mean of the squared gradients."""
    max_gradient_norm: float | None = None
    """A player's gradients, as one vector, are shortened to this length. None: left as they are."""


@dataclass(frozen=True)
class StreamConfig:
    """How batches reach the trainer. Nothing here changes which samples a batch holds, but that with
    `on_bad_sample` skip others stand in for the damaged ones. A run may change all of it when it goes on."""

    workers: int = 2
    """Processes per rank that read ahead; 0 reads in the trainer itself."""
    cache: Path | None = None
    """Folder for a file of decoded pictures that all ranks of a machine share. None: decode each time."""
    on_bad_sample: Literal["fail", "skip"] = "fail"
    """At a damaged picture: end the run (fail), or count it and take another sample (skip). A shard that
    cannot be fetched or read ends the run in any case."""
    most_bad_samples: int = 100
    """The run ends once more than this many different samples were skipped, by all ranks and since the
    command began; the progress (data/skipped) counts a sample each time it is skipped."""
    patience: float = 60.0
    """Seconds without a batch after which each rank tells what it waits for; told again at twice that."""
    shards: Path | None = None
    """Folder for shards that are fetched from elsewhere. None: fes/shards in $XDG_CACHE_HOME or ~/.cache."""
    shards_gb: float = 20.0
    """What that folder may hold, in units of 10^9 bytes."""


@dataclass(frozen=True)
class ClockConfig:
    """What happens when, in kimg: thousands of real pictures drawn, each batch counted once. Nothing here
    changes what a step learns."""

    total_kimg: float = 2000.0
    """Length of the run."""
    tick_kimg: float = 2.0
    """Between two lines of measurements."""
    snapshot_kimg: float = 50.0
    """Between two snapshots (the averaged weights in one file, with a grid of pictures)."""
    state_kimg: float = 50.0
    """Between two states (everything that is needed to go on; the last two are kept)."""


@dataclass(frozen=True)
class Config:
    """A training run."""

    data: str
    """Folder or address of shards, built by fes-shards; or several with the weights they are drawn with, 1
    where none is given: `data/fer2013:0.5,data/tfd:0.3,https://host/celeba:0.2`."""
    run: Path
    """Folder for what the run produces. Where it holds a state, the run goes on from it."""
    seed: int = 0
    """Decides the first weights, the order of the samples and every random draw."""
    batch: int = 32
    """Pictures per batch, summed over all ranks."""
    critic_steps: int = 5
    """Updates of the critics for each update of the autoencoder; each takes a batch of its own."""
    ema_halflife_kimg: float = 20.0
    """Half-life of the moving average of the weights; shorter at first (a twentieth of what was seen)."""
    shuffle_window: int = 16384
    """Samples that are shuffled among each other; shards are shuffled as a whole."""
    grid_faces: int = 8
    """Rows of the picture grid: held-out faces, each with its seven expressions."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    clock: ClockConfig = field(default_factory=ClockConfig)


def changeable() -> list[str]:
    """Settings, as `loss.image_weight`, that a run may change on purpose when it goes on.

    Those of the loss, of the optimiser and of the average. Of the others, some decide which samples and draws
    a step sees, or what the networks look like: with those changed it is another run.
    """
    sections = {"loss": LossConfig, "optimiser": OptimiserConfig}
    names = [f"{name}.{each.name}" for name, kind in sections.items() for each in fields(kind)]
    return [*names, "ema_halflife_kimg"]


def check_changes(names: Sequence[str]) -> None:
    """Raises `InputError` for a setting, as `loss.image_weight`, that is none of the changeable ones."""
    for name in names:
        if name not in changeable():
            raise InputError(
                f"--allow-change {_spelt(name)}: no setting of this name may change; {_meant(name)}"
            )


def changes_told() -> str:
    """What may be named after `--allow-change`, for people."""
    return f"these may: {', '.join(map(_spelt, changeable()))}"


def _meant(name: str) -> str:
    """The changeable setting whose last part is like that of the name, or all."""
    by_part = {each.rpartition(".")[2]: each for each in changeable()}
    near = difflib.get_close_matches(name.rpartition(".")[2], by_part, n=1, cutoff=0.7)
    return f"did you mean '{_spelt(by_part[near[0]])}'?" if near else changes_told()


_LEAST = {
    "batch": 1,
    "critic_steps": 1,
    "grid_faces": 1,
    "model.latent_dim": 1,
    "model.min_features": 1,
    "model.latent_critic_features": 1,
    "shuffle_window": 1,
    "stream.workers": 0,
    "stream.most_bad_samples": 0,
}
"""What settings have to be at least."""
_SECTIONS_OF_NUMBERS = ("loss", "optimiser", "clock")
_NUMBERS = ("ema_halflife_kimg", "stream.patience", "stream.shards_gb")


def check(config: Config) -> Config:
    """The config itself, if its values make sense.

    Raises:
        InputError: naming the flag, the value it has and the values it may have.
    """
    for name, least in {**_LEAST, "model.max_features": config.model.min_features}.items():
        value = attrgetter(name)(config)
        if value < least:
            raise InputError(f"{_flag(name)} is {value}: it must be at least {least}")
    numbers = [f"{each}.{key}" for each in _SECTIONS_OF_NUMBERS for key in vars(getattr(config, each))]
    for name in (*numbers, *_NUMBERS):
        _check_number(_flag(name), attrgetter(name)(config))
    check_shape(config.model.resolution, config.model.channels, "--model.")
    return config


def _flag(name: str) -> str:
    return f"--{_spelt(name)}"


def _spelt(name: str) -> str:
    """A setting's name as its flag spells it."""
    return name.replace("_", "-")


def _check_number(flag: str, value: float | None) -> None:
    if value is None:
        return
    positive = flag.endswith(("-kimg", "-rate", "-gb", "-norm", ".patience"))
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        wanted = "a positive number" if positive else "a number that is not negative"
        raise InputError(f"{flag} is {value}: it must be {wanted}")
    if "beta" in flag and value >= 1:
        raise InputError(f"{flag} is {value}: it must be below 1")


def check_shape(resolution: int | None, channels: int | None, prefix: str = "--") -> None:
    """Raises `InputError` for pictures that no network reads; `prefix` begins the flags that it names."""
    if channels not in (None, 1, 3):
        raise InputError(f"{prefix}channels is {channels}: it must be 1 (grey) or 3 (RGB)")
    if resolution is not None and not is_resolution(resolution):
        raise InputError(
            f"{prefix}resolution is {resolution}: it must be 48 or 64 times a power of two "
            "(48, 64, 96, 128, 192, 256, ...)"
        )


def is_resolution(value: int) -> bool:
    """Whether the networks can be built for pictures of this many pixels a side."""
    return any(value >= base and value % base == 0 and (value // base).bit_count() == 1 for base in BASES)

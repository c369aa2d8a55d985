"""Faces made by code: people who do not exist, each seen in all seven expressions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from shards.drawing.faces import draw_identities, render
from shards.schema import Crop, Finding, Picture, Sample

# Splits take their people from ranges of their own: more people in training change no other split.
IDENTITIES_PER_SPLIT = 1_000_000
CHANNELS = (1, 3)


@dataclass(frozen=True)
class DrawnOptions:
    """How many people to draw, and how."""

    train_identities: int = 1500
    """People in training; each gives seven pictures, one per expression."""
    valid_identities: int = 50
    """People for validation; none of them is in training."""
    test_identities: int = 100
    """People for the final test; none of them is in training or validation."""
    resolution: int = 48
    """Height and width of every picture."""
    channels: int = 1
    """1 for grey, 3 for RGB."""
    seed: int = 0
    """Decides who is drawn, and the order of the samples."""

    def check(self) -> None:
        """Raises InputError where these options allow no drawing."""
        counts = self.identities().values()
        if min(counts) < 0 or max(counts) > IDENTITIES_PER_SPLIT:
            raise InputError(f"a split holds 0 to {IDENTITIES_PER_SPLIT} identities, not {[*counts]}")
        if sum(counts) == 0:
            raise InputError("no identities to draw: ask for at least one, as in --train-identities 100")
        if self.channels not in CHANNELS:
            raise InputError(f"--channels is 1 (grey) or 3 (RGB), not {self.channels}")
        if not 8 <= self.resolution <= 1024:
            raise InputError(f"--resolution is between 8 and 1024, not {self.resolution}")
        if self.seed < 0:
            raise InputError(f"--seed is 0 or more, not {self.seed}")

    def identities(self) -> dict[str, int]:
        """The number of people in every split."""
        return {
            "train": self.train_identities,
            "valid": self.valid_identities,
            "test": self.test_identities,
        }


@dataclass
class DrawnSource:
    """A `Source` of drawn faces: each person's seven samples are adjacent, in the order of the labels."""

    identities: np.ndarray
    samples: list[Sample]
    resolution: int
    channels: int
    facts: dict[str, int]
    stamp: str
    name: str = "drawn"
    crop: Crop | None = None
    unit: str = "pictures"
    warnings: Sequence[str] = ()
    findings: list[Finding] = field(default_factory=list)

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The faces, uint8 [resolution, resolution, channels]."""
        people, labels = np.divmod(np.asarray(positions, dtype=np.int64), len(EXPRESSIONS))
        return list(render(self.identities[people], labels, self.resolution, self.channels))


def draw(options: DrawnOptions) -> DrawnSource:
    """The people that the options ask for, in all expressions; rendered when they are read.

    Raises InputError for options that allow no drawing.
    """
    options.check()
    people = [
        (split, place * IDENTITIES_PER_SPLIT + number)
        for place, (split, count) in enumerate(options.identities().items())
        for number in range(count)
    ]
    identities = draw_identities(options.seed, [index for _, index in people])
    return DrawnSource(
        identities=identities,
        samples=[
            sample
            for (split, index), numbers in zip(people, identities, strict=True)
            for sample in _person(split, index, numbers)
        ],
        resolution=options.resolution,
        channels=options.channels,
        facts={"pictures": len(people) * len(EXPRESSIONS)},
        stamp=f"{options.seed} {options.resolution} {options.channels}",
    )


def _person(split: str, index: int, numbers: np.ndarray) -> list[Sample]:
    # float32 widened to a Python float and written by json comes back as the same float32.
    exact = [float(number) for number in numbers]
    return [
        Sample(
            split,
            label,
            f"person {index}, {name}",
            {"identity": index, "numbers": exact, "expression": name},
            identity=index,
        )
        for label, name in enumerate(EXPRESSIONS)
    ]

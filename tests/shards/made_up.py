"""Pictures and sources for tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shards.schema import Crop, Finding, Picture, Sample, Unreadable


def picture(number: int) -> np.ndarray:
    """A made-up picture, uint8 [2304]: the same for the same number, another for every other."""
    return np.random.default_rng(number).integers(0, 256, size=48 * 48, dtype=np.uint8)


def row(number: int, label: int | str = 0, usage: str = "Training") -> list[str]:
    """A row of fer2013.csv that shows picture `number`."""
    return [str(label), " ".join(map(str, picture(number))), usage]


@dataclass
class MadeUpSource:
    """A `Source` whose picture at position n is `picture(n)`, but for the positions in `others`.

    It stops, as by Ctrl-C, where it is to read a position in `stops`, and notes what it has read in the
    file `log`, which other processes also see.
    """

    splits: list[str]
    others: dict[int, Picture] = field(default_factory=dict)
    stops: tuple[int, ...] = ()
    log: Path | None = None
    stamp: str = "made up"
    name: str = "madeup"
    crop: Crop | None = None
    unit: str = "rows"
    warnings: Sequence[str] = ()
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> list[Sample]:
        return [
            Sample(split, at % 7, at + 1, {"row": at + 1}, identity=at // 2)
            for at, split in enumerate(self.splits)
        ]

    def read(self, positions: Sequence[int]) -> list[Picture]:
        if set(self.stops) & set(positions):
            raise KeyboardInterrupt
        if self.log is not None:
            with open(self.log, "a") as file:
                file.write("".join(f"{position}\n" for position in positions))
        return [self.others.get(at, picture(at).reshape(48, 48, 1)) for at in positions]


GONE = Unreadable("the disk ate it")

"""The names that others give to the splits, and splits made by shares where a source has none."""

import hashlib
import re
from dataclasses import dataclass

from fes.errors import InputError

SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "valid": ("valid", "val", "validation", "dev", "publictest"),
    "test": ("test", "testing", "tst", "privatetest"),
}


def split_named(name: str) -> str | None:
    """The split that a name stands for, in any case, with or without - _ and blanks, or None."""
    name = re.sub(r"[-_ ]", "", name).lower()
    return next((split for split, names in SPLIT_NAMES.items() if name in names), None)


@dataclass(frozen=True)
class Shares:
    """The parts of training, each from 0 to below 1, to take for the other splits; `seed` decides which.

    A test of 1, with nothing for valid, makes a data set to evaluate on. Raises InputError where other
    shares leave nothing to train on.
    """

    valid: float = 0.0
    test: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.valid, self.test) == (0, 1):
            return
        for split, share in self.asked.items():
            if not 0 <= share < 1:
                told = f"--{split}-share is a part of training, from 0 to below 1, not {share}"
                raise InputError(f"{told} (or all of it: --test-share 1 alone)")
        if self.valid + self.test >= 1:
            raise InputError(
                f"--valid-share {self.valid} and --test-share {self.test} leave nothing to train on: give "
                "less than 1 in all"
            )

    @property
    def asked(self) -> dict[str, float]:
        """The shares by the splits that get them."""
        return {"valid": self.valid, "test": self.test}

    def split_of(self, name: str) -> str:
        """The split of a person or a file, by its name alone: others that come or go do not move it."""
        data = f"{self.seed}:{name}".encode("utf-8", "surrogateescape")
        drawn = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") / 2**64
        if drawn < self.valid:
            return "valid"
        return "test" if drawn < self.valid + self.test else "train"

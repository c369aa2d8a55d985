"""The data sets of a run as one thing: which they are, how often each is drawn from, what they share."""

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fes.config import StreamConfig
from fes.config.validity import BASES
from fes.data.mix import places_of
from fes.errors import InputError
from shards.index import ShardIndex, Split
from shards.remote.addresses import PIPE, is_remote, shown
from shards.remote.shelf import CachedShards
from shards.schema import SPLITS

_ENDS_IN_PORT = re.compile(r"[\w+.-]+://([^/@]*@)?(\[[^]/]*\]|[^/:]*):\d+")


class Mixture:
    """The data sets of a run.

    `place` says where they lie, as `--data` does, `sets` holds the data sets and `weights` how often each
    is drawn from: shares that sum to 1. `resolution` is the largest that the networks can be built for and
    that nine of ten pictures of each set have or exceed (or the least there is), `channels` 3 where all
    data are in colour, else 1, and `fingerprint` identifies the data, their order and how many of each
    block of the stream they get: 64 hex digits.
    """

    def __init__(self, sets: Sequence[ShardIndex], weights: Sequence[float] | None = None) -> None:
        """Takes weights in any unit; None: all the same.

        Raises:
            InputError: a set has nothing to train on, or is there twice, or weights are not positive.
        """
        self.sets = tuple(sets)
        given = [1.0] * len(self.sets) if weights is None else list(weights)
        self.weights = _shares(self.sets, given)
        for number, each in enumerate(self.sets):
            if "train" not in each.splits:
                raise InputError(f"{each.place} has no train split: leave it out of --data")
            for other in self.sets[:number]:
                if each.fingerprint == other.fingerprint:
                    raise InputError(
                        f"--data holds the same data twice, as {other.place} and as {each.place}: "
                        "name them once, with a larger weight"
                    )
        self.place = self.sets[0].place
        if len(self.sets) > 1:
            pairs = zip(self.sets, given, strict=True)
            self.place = ",".join(f"{each.place}:{str(weight).removesuffix('.0')}" for each, weight in pairs)
        self.resolution = _largest_resolution(min(each.resolution for each in self.sets))
        self.channels = min(each.channels for each in self.sets)
        self.fingerprint = self._identify()

    @classmethod
    def load(cls, data: str, stream: StreamConfig) -> "Mixture":
        """What `--data` asks for.

        Raises:
            InputError: it is not a list of places, or a place holds no data set to train on.
        """
        places = read_places(data)
        return cls([open_index(place, stream) for place, _ in places], [weight for _, weight in places])

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that any set has, in the order of `SPLITS`."""
        return tuple(split for split in SPLITS if any(split in each.splits for each in self.sets))

    def counts(self, split: str) -> dict[str, int]:
        """The samples of a split by class name, and by "unlabelled", summed over the sets that have it."""
        counts: Counter[str] = Counter()
        for each in self.sets:
            if split in each.splits:
                counts.update(each.counts(split))
        return dict(counts)

    def parts(self, resolution: int, channels: int) -> list[Split]:
        """The training split of each set, with pictures of this shape."""
        return [each.split("train").sized(resolution, channels) for each in self.sets]

    def held_out(self, names: Sequence[str], resolution: int, channels: int) -> list[Split]:
        """Of each set that has one of the named splits the first, with pictures of this shape."""
        chosen = [
            each.split(next(name for name in names if name in each.splits))
            for each in self.sets
            if set(names) & set(each.splits)
        ]
        return [split.sized(resolution, channels) for split in chosen]

    def summary(self) -> dict[str, Any]:
        """What weights should tell of the data they were trained on."""
        sets = [
            {
                "source": each.source,
                "fingerprint": each.fingerprint,
                "weight": weight,
                "train": each.counts("train"),
            }
            for each, weight in zip(self.sets, self.weights, strict=True)
        ]
        return {"fingerprint": self.fingerprint, "train": self.counts("train"), "sets": sets}

    def _identify(self) -> str:
        if len(self.sets) == 1:
            return self.sets[0].fingerprint
        # Not the weights: 7 and 1 draw the very samples that 0.7 and 0.1 do, and differ in the last bit.
        pairs = zip(self.sets, places_of(self.weights).tolist(), strict=True)
        lines = "".join(f"{each.fingerprint} {places}\n" for each, places in pairs)
        return hashlib.sha256(lines.encode()).hexdigest()


def read_places(data: str) -> list[tuple[str, float]]:
    """Places and weights out of `data/fer2013:0.5,https://host/celeba`; a weight that is not told is 1.

    A folder that is there is taken by its whole name, commas, colons and all. A number that ends an address
    right behind its host is a port. `pipe:` and what follows is one place.

    Raises:
        InputError: a place is missing, or a weight is not a positive number.
    """
    pieces, places = data.split(","), []
    while pieces:
        whole = pieces[0].strip().startswith(PIPE)
        count = len(pieces) if whole else _pieces_of_a_folder(pieces)
        text = ",".join(pieces[:count]).strip()
        place, weight = (text, 1.0) if whole else _place_and_weight(text)
        if not place:
            raise InputError(f"--data is '{data}': it must name a data set before and after each comma")
        places.append((place, weight))
        del pieces[:count]
    return places


def _pieces_of_a_folder(pieces: list[str]) -> int:
    """How many pieces make the longest name of a folder that is there; 1 where none do."""
    for count in range(len(pieces), 1, -1):
        text = os.path.expanduser(",".join(pieces[:count]).strip())
        place, _, number = text.rpartition(":")
        if os.path.isdir(text) or (os.path.isdir(place) and _number(number) is not None):
            return count
    return 1


def _place_and_weight(text: str) -> tuple[str, float]:
    text = os.path.expanduser(text)
    place, colon, number = text.rpartition(":")
    if not colon or os.path.isdir(text) or _ENDS_IN_PORT.fullmatch(text):
        return text, 1.0
    weight = _number(number)
    if weight is not None:
        return place, weight
    if os.path.isdir(place):
        raise InputError(f"--data gives {place} the weight '{number}': it must be a positive number")
    return text, 1.0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def open_index(place: str, stream: StreamConfig) -> ShardIndex:
    """The data set in a folder or behind an address.

    Raises:
        InputError: there is none.
    """
    if not is_remote(place):
        return ShardIndex.load(Path(place))
    shelf = CachedShards(place, _cache_of(stream), limit_bytes=round(stream.shards_gb * 1e9))
    return ShardIndex(shown(place), shelf)


def _cache_of(stream: StreamConfig) -> Path:
    if stream.shards is not None:
        return stream.shards
    base = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path there counts for nothing, says the specification.
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise InputError("there is no home folder to keep fetched shards in: give one by --stream.shards")
    return Path(base) / "fes" / "shards"


def _shares(sets: Sequence[ShardIndex], weights: Sequence[float]) -> tuple[float, ...]:
    for each, weight in zip(sets, weights, strict=True):
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"--data gives {each.place} the weight {weight:g}: it must be a positive number")
    largest = max(weights)  # so that the sum is finite
    total = sum(weight / largest for weight in weights)
    return tuple(weight / largest / total for weight in weights)


def _largest_resolution(side: int) -> int:
    fitting = [base << (side // base).bit_length() - 1 for base in BASES if side >= base]
    return max(fitting, default=min(BASES))

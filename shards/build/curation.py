"""Decides which samples of a source stay, from what their pictures are: unreadable, constant, copies.

All of it is told in findings, whether anything is dropped for it or not.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from fes.expressions import UNLABELLED
from shards.build.duplicates import DISTANCE, first_copies, joined, near_pairs, spare
from shards.schema import SPLITS, Finding, Sample

CONSTANT = "constant picture (every pixel the same)"
COPIES = "exact copies of a picture, constant ones too"
CONFLICTS = "exact copies with different labels"
LEAK = "{} {} whose exact picture stands in {}"
NEAR = "near-duplicates (one photograph, compressed, resized, brightened or cropped a little)"
NEAR_LEAK = "{} {} of which a near-duplicate stands in {}"

COPY_DROPPED = "exact copy of a picture that stays"
NEAR_DROPPED = "near-duplicate of a picture that stays"
LEAK_DROPPED = "picture that stands in valid or test, in train"

DROPPED, KEPT = "dropped", "kept"

Dedup = Literal["none", "exact", "near"]
LEAKS = (("valid", "train"), ("test", "train"), ("test", "valid"))


@dataclass(frozen=True)
class Curated:
    """What is left of a source: `kept` holds positions of its samples, int64, ascending.

    `facts` are counts for the report: the samples whose pictures can be read, and the different pictures
    among these; and where so many pictures are alike that near-duplicates were only looked for among the
    most similar ones, the number of bits in which these may differ.
    """

    kept: np.ndarray
    findings: list[Finding]
    facts: dict[str, int]


def curate(
    samples: Sequence[Sample],
    unreadable: Mapping[int, str],
    fingerprints: np.ndarray,
    *,
    dedup: Dedup = "none",
    no_leak: bool = False,
    what: str = "rows",
) -> Curated:
    """Finds pictures that are no use, or occur more than once, and decides which samples stay.

    Samples without a readable picture (`unreadable` has the reason by position) and with a constant one
    are dropped. Of exact copies one stays with dedup="exact", and of near-duplicates too with "near": that
    in test, else that in valid, else that in train, and there the first one. With `no_leak` no sample of
    train stays whose picture stands in valid or test; with dedup="near" also if only nearly.

    fingerprints: an array of FINGERPRINT, [samples]. what: the source's `unit`, for the report.
    """
    pictures = _compared(samples, unreadable, fingerprints)
    dropped = _dropped(pictures, dedup, no_leak)
    gone = np.any([~pictures.usable, *dropped.values()], axis=0)
    findings = [
        *_unusable(pictures, unreadable, samples, what),
        *_copies(pictures, samples, what, gone),
        *_near(pictures, samples, what, gone),
        *(
            Finding(reason, DROPPED, _origins(samples, np.flatnonzero(those).tolist()), unit=what)
            for reason, those in dropped.items()
        ),
    ]
    facts = {f"{what}_readable": int(pictures.readable.sum()), "distinct_pictures": int(pictures.first.sum())}
    if pictures.bits < DISTANCE:
        facts["near_duplicates_within_bits"] = pictures.bits
    kept = np.flatnonzero(~gone)
    return Curated(kept, [finding for finding in findings if finding.origins], facts)


@dataclass(frozen=True)
class _Pictures:
    """What the pictures of samples have in common, as arrays [samples].

    Copies have the same number in `exact`, near-duplicates and their copies in `alike`: positions of
    samples, -1 for those without a readable picture, or without a near-duplicate. `spare` marks those that
    are too much where of near-duplicates one is to stay, `first` the copy to keep of each picture.
    """

    splits: np.ndarray
    readable: np.ndarray
    constant: np.ndarray
    exact: np.ndarray
    alike: np.ndarray
    spare: np.ndarray
    bits: int

    @property
    def usable(self) -> np.ndarray:
        return self.readable & ~self.constant

    @property
    def first(self) -> np.ndarray:
        return self.exact == np.arange(len(self.exact))


def _compared(
    samples: Sequence[Sample], unreadable: Mapping[int, str], fingerprints: np.ndarray
) -> _Pictures:
    count = len(samples)
    splits = np.array([SPLITS.index(sample.split) for sample in samples], dtype=np.int64)
    readable = np.ones(count, bool)
    readable[list(unreadable)] = False
    # What is dropped of copies is taken from training first, so that no evaluation loses a picture to it.
    ordered = np.lexsort((np.arange(count), -splits))
    ordered = ordered[readable[ordered]]
    exact, alike = np.full(count, -1, np.int64), np.full(count + 1, -1, np.int64)
    exact[ordered] = ordered[first_copies(fingerprints["exact"][ordered])]

    constant = readable & fingerprints["constant"]
    firsts = ordered[(exact[ordered] == ordered) & ~constant[ordered]]
    pairs, bits = near_pairs(fingerprints[firsts])
    spares = np.isin(np.arange(count), firsts[sorted(spare(pairs))])
    paired = np.unique(pairs)
    alike[firsts[paired]] = firsts[joined(pairs, len(firsts))[paired]]
    # Copies go with their first one; where there is none, exact is -1, and so is the last of alike.
    return _Pictures(splits, readable, constant, exact, alike[exact], spares, bits)


def _dropped(pictures: _Pictures, dedup: Dedup, no_leak: bool) -> dict[str, np.ndarray]:
    """The usable samples that do not stay, bool [samples], by the reason; each for the first that holds."""
    train = pictures.splits == SPLITS.index("train")
    leaked = np.zeros(len(train), bool)
    for numbers in (pictures.exact, pictures.alike)[: 2 if dedup == "near" else 1]:
        leaked |= train & (numbers >= 0) & np.isin(numbers, numbers[~train])
    wanted = {
        COPY_DROPPED: ~pictures.first & (dedup != "none"),
        NEAR_DROPPED: pictures.spare & (dedup == "near"),
        LEAK_DROPPED: leaked & no_leak,
    }
    dropped, left = {}, pictures.usable
    for reason, those in wanted.items():
        if (those & left).any():
            dropped[reason] = those & left
            left = left & ~those
    return dropped


def _unusable(
    pictures: _Pictures, unreadable: Mapping[int, str], samples: Sequence[Sample], what: str
) -> Iterator[Finding]:
    places = defaultdict(list)
    for place in sorted(unreadable):
        places[unreadable[place]].append(place)
    for reason in sorted(places):
        yield Finding(reason, DROPPED, _origins(samples, places[reason]), unit=what)
    constant = np.flatnonzero(pictures.constant).tolist()
    yield Finding(CONSTANT, DROPPED, _origins(samples, constant), unit=what)


def _copies(pictures: _Pictures, samples: Sequence[Sample], what: str, gone: np.ndarray) -> Iterator[Finding]:
    groups = _groups(pictures.exact)
    conflicts = [group for group in groups if len({samples[at].label for at in group} - {UNLABELLED}) > 1]
    for reason, chosen in ((COPIES, groups), (CONFLICTS, conflicts)):
        action = _action([*chain.from_iterable(chosen)], gone, what)
        yield Finding(reason, action, [_origins(samples, group) for group in chosen], unit="groups")
    for here, there in LEAKS:
        leaked = _leaked(groups, range(len(samples)), samples, here, there)
        reason = LEAK.format(here, what.removesuffix("s"), there)
        yield Finding(reason, _action(leaked, gone, what), _origins(samples, leaked), unit=what)


def _near(pictures: _Pictures, samples: Sequence[Sample], what: str, gone: np.ndarray) -> Iterator[Finding]:
    groups = _groups(pictures.alike)
    action = _action([*chain.from_iterable(groups)], gone, what)
    yield Finding(NEAR, action, [_origins(samples, group) for group in groups], unit="groups")
    for here, there in LEAKS:
        leaked = _leaked(groups, pictures.exact.tolist(), samples, here, there)
        reason = NEAR_LEAK.format(here, what.removesuffix("s"), there)
        yield Finding(reason, _action(leaked, gone, what), _origins(samples, leaked), unit=what)


def _action(found: Sequence[int], gone: np.ndarray, what: str) -> str:
    """What became of samples that were found to be copies; why one is dropped is a finding of its own."""
    dropped = int(gone[list(found)].sum())
    return f"{dropped:,} of {len(found):,} {what} dropped, the others kept" if dropped else KEPT


def _leaked(
    groups: list[list[int]], pictures: Sequence[int], samples: Sequence[Sample], here: str, there: str
) -> list[int]:
    """The samples in `here` whose group has another of `pictures`, which are numbered, in `there`."""
    leaked = []
    for group in groups:
        others = {pictures[at] for at in group if samples[at].split == there}
        leaked += [at for at in group if samples[at].split == here and others - {pictures[at]}]
    return sorted(leaked)


def _groups(numbers: np.ndarray) -> list[list[int]]:
    """The positions that share a number, in the order of their first ones; -1 is none."""
    groups = defaultdict(list)
    for place, number in enumerate(numbers.tolist()):
        if number >= 0:
            groups[number].append(place)
    return [group for group in groups.values() if len(group) > 1]


def _origins(samples: Sequence[Sample], places: Iterable[int]) -> list[int | str]:
    return [samples[place].origin for place in places]

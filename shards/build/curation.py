"""Decides which samples of a source stay, from what their pictures are: unreadable, constant, copies.

All of it is told in findings, whether anything is dropped for it or not.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

DROPPED, KEPT = "dropped", "kept"
ONE_KEPT = "dropped but for one: that in test, else in valid, else in train"
ALSO_NEAR = f"{ONE_KEPT}; that one too where it is dropped as a near-duplicate"
ONE_OF_COPIES = "kept, but exact copies dropped but for one"
UNLIKE_KEPT = "dropped where like one that stays; those in test stay first, then in valid, then in train"
NOT_LEAKED = "kept, but dropped in train where one stands in valid or test"
LEAK_DROPPED = "kept; the copies in train dropped"
EXACT_NOT_LEAKED = "kept, but dropped in train where an exact copy stands in valid or test"
NEAR_NOT_LEAKED = f"{UNLIKE_KEPT}; all in train dropped where one stands in valid or test"
BUT_CONSTANT = "; constant ones dropped"

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
    what: str | None = None,
) -> Curated:
    """Finds pictures that are no use, or occur more than once, and decides which samples stay.

    Samples without a readable picture (`unreadable` has the reason by position) and with a constant one
    are dropped. Of exact copies one stays with dedup="exact", and of near-duplicates too with "near": that
    in test, else that in valid, else that in train, and there the first one. With `no_leak` no sample of
    train stays whose picture stands in valid or test; with dedup="near" also if only nearly.

    fingerprints: an array of FINGERPRINT, [samples]. what: "rows" or "files", for the report; else the
    origins of the samples decide.
    """
    what = what or ("rows" if all(isinstance(sample.origin, int) for sample in samples) else "files")
    pictures = _compared(samples, unreadable, fingerprints)
    findings = [
        *_unusable(pictures, unreadable, samples, what),
        *_copies(pictures, samples, what, _action_on_copies(dedup, no_leak)),
        *_near(pictures, samples, what, _action_on_near(dedup, no_leak)),
    ]
    facts = {f"{what}_readable": int(pictures.readable.sum()), "distinct_pictures": int(pictures.first.sum())}
    if pictures.bits < DISTANCE:
        facts["near_duplicates_within_bits"] = pictures.bits
    kept = np.flatnonzero(pictures.usable & ~_dropped(pictures, dedup, no_leak))
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


def _dropped(pictures: _Pictures, dedup: Dedup, no_leak: bool) -> np.ndarray:
    """Which usable samples are not to stay, bool [samples]; for others it means nothing."""
    dropped = ~pictures.first & (dedup != "none")
    if dedup == "near":
        dropped |= pictures.spare
    if no_leak:
        dropped |= _evaluated(pictures.exact, pictures.splits)
    if no_leak and dedup == "near":
        dropped |= _evaluated(pictures.alike, pictures.splits)
    return dropped


def _evaluated(numbers: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """The samples of train whose number also stands in valid or test."""
    train = splits == SPLITS.index("train")
    return train & (numbers >= 0) & np.isin(numbers, numbers[~train])


def _action_on_copies(dedup: Dedup, no_leak: bool) -> str:
    if dedup == "none":
        return NOT_LEAKED if no_leak else KEPT
    return ONE_KEPT if dedup == "exact" else ALSO_NEAR


def _action_on_near(dedup: Dedup, no_leak: bool) -> str:
    if dedup == "near":
        return NEAR_NOT_LEAKED if no_leak else UNLIKE_KEPT
    if dedup == "exact":
        return ONE_OF_COPIES
    return EXACT_NOT_LEAKED if no_leak else KEPT


def _action_on_leak(action: str, there: str) -> str:
    """What is done about samples whose group also stands in `there`, where `action` is done to the group."""
    if action == NOT_LEAKED and there == "train":
        return LEAK_DROPPED
    return KEPT if action in (NOT_LEAKED, EXACT_NOT_LEAKED) else action


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


def _copies(pictures: _Pictures, samples: Sequence[Sample], what: str, action: str) -> Iterator[Finding]:
    groups = _groups(pictures.exact)
    conflicts = [group for group in groups if len({samples[at].label for at in group} - {UNLABELLED}) > 1]
    for reason, chosen in ((COPIES, groups), (CONFLICTS, conflicts)):
        done = _but_constant(action, pictures, itertools.chain(*chosen))
        yield Finding(reason, done, [_origins(samples, group) for group in chosen], unit="groups")
    for here, there in LEAKS:
        leaked = _leaked(groups, range(len(samples)), samples, here, there)
        done = _but_constant(_action_on_leak(action, there), pictures, leaked)
        reason = LEAK.format(here, what.removesuffix("s"), there)
        yield Finding(reason, done, _origins(samples, leaked), unit=what)


def _near(pictures: _Pictures, samples: Sequence[Sample], what: str, action: str) -> Iterator[Finding]:
    groups = _groups(pictures.alike)
    yield Finding(NEAR, action, [_origins(samples, group) for group in groups], unit="groups")
    for here, there in LEAKS:
        leaked = _leaked(groups, pictures.exact.tolist(), samples, here, there)
        reason = NEAR_LEAK.format(here, what.removesuffix("s"), there)
        yield Finding(reason, _action_on_leak(action, there), _origins(samples, leaked), unit=what)


def _leaked(
    groups: list[list[int]], pictures: Sequence[int], samples: Sequence[Sample], here: str, there: str
) -> list[int]:
    """The samples in `here` whose group has another of `pictures`, which are numbered, in `there`."""
    leaked = []
    for group in groups:
        others = {pictures[at] for at in group if samples[at].split == there}
        leaked += [at for at in group if samples[at].split == here and others - {pictures[at]}]
    return sorted(leaked)


def _but_constant(action: str, pictures: _Pictures, places: Iterable[int]) -> str:
    return action + BUT_CONSTANT if any(pictures.constant[place] for place in places) else action


def _groups(numbers: np.ndarray) -> list[list[int]]:
    """The positions that share a number, in the order of their first ones; -1 is none."""
    groups = defaultdict(list)
    for place, number in enumerate(numbers.tolist()):
        if number >= 0:
            groups[number].append(place)
    return [group for group in groups.values() if len(group) > 1]


def _origins(samples: Sequence[Sample], places: Iterable[int]) -> list[int | str]:
    return [samples[place].origin for place in places]

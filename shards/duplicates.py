"""Finds pictures that occur more than once, and what that means for the splits and the labels."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from shards.schema import SPLITS, Finding

COPIES = "exact copies of a picture, constant ones too"
CONFLICTS = "exact copies with different labels"
LEAK = "{} row whose exact picture stands in {}"
# Dropping copies takes them from training first, so that no evaluation loses a picture to it.
KEPT_FIRST = tuple(reversed(SPLITS))


def equal_pictures(pixels: np.ndarray) -> list[list[int]]:
    """The positions of every distinct picture of uint8 [pictures, ...], in the order of their first ones."""
    groups = defaultdict(list)
    for position, picture in enumerate(pixels):
        groups[hashlib.blake2b(picture.tobytes(), digest_size=16).digest()].append(position)
    return list(groups.values())


def duplicate_findings(
    groups: list[list[int]], rows: Sequence[int], labels: Sequence[int], splits: Sequence[str], action: str
) -> list[Finding]:
    """What groups of equal pictures show; `rows`, `labels` and `splits` tell of each picture."""
    copies = [group for group in groups if len(group) > 1]
    conflicts = [group for group in copies if len({labels[at] for at in group}) > 1]
    findings = [
        Finding(reason, action, [[rows[at] for at in group] for group in chosen], unit="groups")
        for reason, chosen in ((COPIES, copies), (CONFLICTS, conflicts))
    ]
    for there, here in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = [group for group in copies if there in {splits[at] for at in group}]
        leaked = [rows[at] for group in shared for at in group if splits[at] == here]
        findings.append(Finding(LEAK.format(here, there), action, sorted(leaked)))
    return findings


def spare_copies(groups: list[list[int]], splits: Sequence[str]) -> set[int]:
    """All but one of each group: the first one in test is kept, else that in valid, else that in train."""
    spare = set()
    for group in groups:
        kept = min(group, key=lambda at: (KEPT_FIRST.index(splits[at]), at))
        spare.update(at for at in group if at != kept)
    return spare

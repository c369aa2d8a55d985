"""`best.safetensors` of a run: the snapshot with the highest score so far, and what was measured of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fes.files import write_file

NAME = "best"
_KEY = "evaluation"


def best_score(run: Path, made: Mapping[str, Any]) -> float | None:
    """The score of a run's best snapshot; None where there is none, or it was made with something else.

    Args:
        made: what scores are made with, as plain values; others do not compare.
    """
    try:
        with safe_open(run / f"{NAME}.safetensors", "pt") as file:
            known = json.loads((file.metadata() or {})[_KEY])
        return float(known["score"]) if known["made_with"] == made else None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def save_best(run: Path, snapshot: Path, figures: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Keeps a snapshot as the best one, and beside it `best.json` for people.

    The figures stand in the metadata of the weights, too: one file, written all or nothing, so that weights
    and score belong together whenever the run is killed.

    Raises:
        InputError: they cannot be written.
    """
    known = {"snapshot": snapshot.name, **figures, "made_with": dict(made)}
    with safe_open(snapshot, "pt") as file:
        metadata = {**(file.metadata() or {}), _KEY: json.dumps(known)}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    write_file(run / f"{NAME}.safetensors", save(tensors, metadata))
    write_file(run / f"{NAME}.json", f"{json.dumps(known, indent=2)}\n".encode())

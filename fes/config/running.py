"""How pictures reach a run, what happens when, and how it is measured: nothing of what a step learns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class StreamConfig:
    """How batches reach the trainer. Nothing here changes which samples a batch holds, but that with
    `on_bad_sample` skip others stand in for the damaged ones. A run may change all of it when it goes on."""

    workers: int | None = None
    """Processes per rank that read ahead; 0 reads in the trainer itself. None: two on the CPU; for a GPU one
    less than the cores that the rank has, but at least two and at most six."""
    cache: Path | None = None
    """Folder for a file of decoded pictures that all ranks of a machine share. None: decode each time."""
    on_bad_sample: Literal["fail", "skip"] = "fail"
    """At a damaged picture: end the run (fail), or count it and take another sample (skip). A shard that
    cannot be read, or fetched for an hour, ends the run in any case."""
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
class EvaluationConfig:
    """Measuring each snapshot on held-out faces; best.safetensors is the one with the highest score. Nothing
    here changes what a step learns."""

    judge: Path | None = None
    """A judge made by 'fes judge train'. None: snapshots are not measured."""
    second_judge: Path | None = None
    """Another judge, better of another kind and seed: what fools the first shows by it."""
    data: Path | None = None
    """Folder of shards whose held-out faces are drawn, those of valid first. None: the run's own data."""
    faces: int = 200
    """Most faces to draw, each with all seven expressions."""
    seconds: float = 60.0
    """Seconds for each snapshot, after which no more faces are begun. All ranks wait as long."""

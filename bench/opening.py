"""The first batch of very large data sets: how long it takes, and how much memory.

The data sets are simulated: a real index.json, an index.npy and shards that are holes, and pictures that are
all the same and take no time. `bench/data.py` starts this file as a fresh process for every measurement.
"""

import gc
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.commandline import options_of
from fes.config import Config
from fes.data.stream import Stream
from fes.expressions import EXPRESSIONS
from shards.catalogue import Shard
from shards.documents import to_text
from shards.index import ShardIndex, Split
from shards.schema import INDEX_NAME, PLACE, PLACES_NAME, SCHEMA, UNLABELLED_NAME, shard_name

ROOT = Path(__file__).parents[1]
BATCH = 32
SIDE = 48
MEMBERS_BYTES = 4096  # what a sample takes in a shard, about
STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Opening:
    """Open a simulated data set in this process, which does nothing else; `bench/data.py` starts it."""

    folder: Path
    """What `simulate` has made."""
    step: int
    """Whose batch is read."""


class ConstantPictures(Split):
    """A split whose shards need not hold anything."""

    def image(self, position: int) -> np.ndarray:
        """The same picture for every position."""
        return np.full((self.channels, self.resolution, self.resolution), 128, np.uint8)


def simulate(folder: Path, samples: int, samples_per_shard: int) -> int:
    """Writes the index of a data set whose shards hold nothing; returns how many it has, as a build does."""
    folder.mkdir()
    number = 1
    while samples > number * samples_per_shard:
        number *= 2
    sizes = [samples // number + (at < samples % number) for at in range(number)]
    classes = dict.fromkeys((*EXPRESSIONS, UNLABELLED_NAME), 0) | {EXPRESSIONS[0]: samples}
    document = {
        "schema": SCHEMA,
        "source": "simulated",
        "resolution": SIDE,
        "channels": 1,
        "crop": None,
        "classes": list(EXPRESSIONS),
        "splits": {"train": {"samples": samples, "identities": 0, "classes": classes}},
        "places": {"bytes": _write_hole(folder / PLACES_NAME, samples), "sha256": _digest(-1)},
        "shards": [asdict(_shard(at, size)) for at, size in enumerate(sizes)],
    }
    for shard in document["shards"]:
        _make_hole(folder / shard["name"], shard["bytes"])
    (folder / INDEX_NAME).write_text(to_text(document))
    return number


def _make_hole(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _write_hole(path: Path, samples: int) -> int:
    header = {"descr": np.lib.format.dtype_to_descr(PLACE), "fortran_order": False, "shape": (samples,)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        return file.truncate(file.tell() + samples * PLACE.itemsize)


def _shard(number: int, samples: int) -> Shard:
    name = shard_name("simulated", "train", number)
    return Shard(name, "train", samples, samples * MEMBERS_BYTES, _digest(number))


def _digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def open_in_fresh_process(folder: Path, step: int) -> dict[str, float | None]:
    """What `open_here` returns, of a process that did nothing else."""
    command = [sys.executable, "-m", "bench.opening"]
    command += ["--folder", str(folder.absolute()), "--step", str(step)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def open_here(folder: Path, step: int) -> dict[str, float | None]:
    """Opens the index and reads the batch of a step.

    Returns the seconds of each, and the megabytes of resident memory that this process has more than
    before, and had at most (None: not known).
    """
    _forget_peak()
    before, start = _memory_mb("VmRSS"), time.perf_counter()
    index = ShardIndex.load(folder)
    opened = time.perf_counter()
    split = ConstantPictures(index, "train")
    stream = Stream([split], seed=0, batch=BATCH, window=Config.shuffle_window)
    batch = stream[step]
    done = time.perf_counter()
    if len(batch.label) != BATCH:
        raise RuntimeError("the batch is not whole")
    return {
        "index_seconds": opened - start,
        "batch_seconds": done - opened,
        "memory_mb": before and _memory_mb("VmRSS") - before,
        "peak_memory_mb": before and _memory_mb("VmHWM") - before,
    }


def _forget_peak() -> None:
    if PEAK_RESET.exists():
        PEAK_RESET.write_text("5")


def _memory_mb(entry: str) -> float | None:
    """An entry of Linux's account of this process; None elsewhere."""
    if not STATUS.exists():
        return None
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(fields[entry].split()[0]) * 1024 / 1e6


def run(options: Opening) -> None:
    """Opens the folder, and prints what that took."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "small", BATCH, BATCH)
        open_here(Path(folder) / "small", 0)  # loads all libraries
    gc.collect()
    gc.freeze()  # nor are they looked through again
    print(json.dumps(open_here(options.folder, options.step)))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("opening", Opening, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

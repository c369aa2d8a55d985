"""How fast data are built and read on this machine, beside plain webdataset: `python -m bench.data --help`.

Prints tables with the targets, and adds a line of json for each result, with the machine, the versions and
the commit, to bench/results/data.jsonl. It takes less than four minutes, in which nothing else should run.
"""

import itertools
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bench.building import build_fer2013, draw_celeba, draw_fer2013
from bench.commandline import options_of
from bench.opening import open_in_fresh_process, simulate
from bench.reading import (
    Reader,
    compare,
    decoders,
    readers_of,
    times_plain,
    webdataset_faces,
    webdataset_grey,
)
from bench.recording import RESULTS, keep, machine
from bench.tables import show, verdict
from fes.errors import InputError
from fes.files import make_folder
from fes.machine import cores
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.celeba import read_celeba

MOST_SECONDS, MOST_MB = 10, 1000
GREY_TARGETS = {"fes": 2.0, "fes, decoded": 20.0}
FACE_SIDE, FACE_TARGETS = 128, {"fes": 1.5}
PICTURES_DECODED = 200
STEPS = (0, 10**6)

Record = list[dict[str, object]]
"""Rows of what was measured, all with the same entries."""


@dataclass(frozen=True)
class Options:
    """Measure how fast data are built and read on this machine, beside plain webdataset."""

    source: Path | None = None
    """fer2013.csv; a csv of as many drawn faces is made where it is not given."""
    out: Path = RESULTS
    """The folder of the file that the results are added to."""
    quick: bool = False
    """Measure little, and briefly: to see that all of it works, for the figures are worth nothing."""


@dataclass(frozen=True)
class Amount:
    """How much is measured; `simulated` tells the samples of data sets, and the samples per shard."""

    rows: int = 35_887
    builds: int = 3
    people: int = 500
    rounds: int = 5
    seconds: float = 1.0
    simulated: tuple[tuple[int, int], ...] = ((10**4, 512), (10**6, 512), (10**8, 512), (10**8, 10_000))


QUICK = Amount(rows=4000, builds=1, people=60, rounds=1, seconds=0.2, simulated=((10**4, 512), (10**6, 512)))


def run(options: Options) -> None:
    """Measures, prints and keeps the results."""
    if options.source and not options.source.exists():
        raise InputError(f"--source: there is no {options.source}; leave it out, and as much is drawn")
    make_folder(options.out)
    amount = QUICK if options.quick else Amount()
    torch.set_num_threads(1)
    about = {**machine("cpu"), "quick": options.quick}
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.source, Path(folder), amount)
    rows = ({"what": name, **row} for name, record in results.items() for row in record)
    keep(options.out / "data.jsonl", about, rows)


def measure(source: Path | None, folder: Path, amount: Amount) -> dict[str, Record]:
    """All parts, each of which is printed when it is done."""
    results = measure_fer2013(source, folder, amount)
    results |= measure_faces(folder, amount)
    results["opening"] = measure_opening(folder, amount.simulated)
    show_opening("First batch, of 32, in a fresh process", results["opening"])
    return results


def measure_fer2013(source: Path | None, folder: Path, amount: Amount) -> dict[str, Record]:
    """Building shards of FER2013, and reading them."""
    what = "fer2013.csv"
    if source is None:
        source, what = folder / what, f"{amount.rows:,} drawn rows like fer2013.csv's"
        draw_fer2013(source, amount.rows)
    building = [{"source": what, **each} for each in measure_build(source, folder / "fer2013", amount.builds)]
    show_build(f"Building shards of {what} on {cores()} cores", building)
    split = ShardIndex.load(folder / "fer2013").split("train")
    reading = measure_reading(readers_of(split, folder / "grey", webdataset_grey), (32, 256), amount)
    show_reading(f"Reading PNG, {split.resolution} px, grey", reading, GREY_TARGETS)
    return {"building": building, "reading": reading}


def measure_faces(folder: Path, amount: Amount) -> dict[str, Record]:
    """Reading drawn faces that are laid out like CelebA, and decoding them."""
    draw_celeba(folder / "celeba", amount.people)
    build(read_celeba(folder / "celeba"), folder / "faces", BuildOptions())
    split = ShardIndex.load(folder / "faces").split("train").sized(FACE_SIDE, 3)
    reading = measure_reading(readers_of(split, folder / "rgb", webdataset_faces), (32,), amount)
    show_reading(f"Reading JPEG like CelebA's, {FACE_SIDE} px, RGB", reading, FACE_TARGETS)
    jpegs = [split.read(at, "image") for at in range(PICTURES_DECODED)]
    decoding = measure_decoders(jpegs, amount)
    show_decoders(f"Decoding such JPEG, {sum(map(len, jpegs)) / len(jpegs) / 1000:.1f} kB each", decoding)
    return {"reading_faces": reading, "decoding": decoding}


def measure_build(source: Path, out: Path, builds: int) -> Record:
    """Builds shards of FER2013 several times: the one that took the median of the time."""
    done = sorted((build_fer2013(source, out) for _ in range(builds)), key=lambda each: each.seconds)
    return [asdict(done[len(done) // 2])]


def measure_reading(readers: dict[str, Reader], batches: tuple[int, ...], amount: Amount) -> Record:
    """Pictures per second by all readers, without and with a process that reads ahead."""
    record = []
    for batch, workers in itertools.product(batches, (0, 1)):
        opened = {name: reader(batch, workers) for name, reader in readers.items()}
        rates = compare(opened, batch, amount.rounds, amount.seconds)
        record += [
            {
                "reader": name,
                "batch": batch,
                "workers": workers,
                "per_second": statistics.median(rates[name]),
                "times_webdataset": times_plain(rates, name),
            }
            for name in readers
        ]
    return record


def measure_decoders(jpegs: list[bytes], amount: Amount) -> Record:
    """Pictures per second by all decoders."""
    rates = compare(decoders(jpegs, FACE_SIDE), 1, amount.rounds, amount.seconds / 2)
    return [{"decoder": name, "per_second": statistics.median(each)} for name, each in rates.items()]


def measure_opening(folder: Path, simulated: tuple[tuple[int, int], ...]) -> Record:
    """The first batch of data sets of many sizes, at the beginning and in the middle of a run."""
    record = []
    for samples, samples_per_shard in simulated:
        place = folder / f"simulated-{samples}-{samples_per_shard}"
        shards = simulate(place, samples, samples_per_shard)
        record += [
            {"samples": samples, "shards": shards, "step": step} | open_in_fresh_process(place, step)
            for step in STEPS
        ]
    return record


def show_build(title: str, record: Record) -> None:
    """Prints the seconds and the memory beside their targets."""
    (built,) = record
    seconds, memory = built["seconds"], built["peak_mb"]
    rows = [
        ("seconds", f"{seconds:.1f}", verdict("<", MOST_SECONDS, seconds < MOST_SECONDS)),
        ("seconds of all processors", f"{built['cpu_seconds']:.1f}", ""),
    ]
    if memory is not None:
        rows.append(("peak MB, all processes", f"{memory:.0f}", verdict("<", MOST_MB, memory < MOST_MB)))
    show(title, ("", "measured", "target"), rows)


def show_reading(title: str, record: Record, targets: dict[str, float]) -> None:
    """Prints each reader's rate, and how it compares with plain webdataset's."""
    rows = []
    for row in record:
        times, least = row["times_webdataset"], targets.get(row["reader"])
        target = "" if least is None else verdict(">=", least, times >= least)
        figures = f"{row['per_second']:,.0f}", f"{times:.2f}"
        rows.append((str(row["batch"]), str(row["workers"]), row["reader"], *figures, target))
    show(title, ("batch", "workers", "reader", "per second", "ratio", "target"), rows)


def show_decoders(title: str, record: Record) -> None:
    """Prints each decoder's rate."""
    rates = [(row["decoder"], row["per_second"]) for row in record]
    rows = [(name, f"{rate:,.0f}", f"{1000 / rate:.3f}") for name, rate in rates]
    show(title, ("decoder", "per second", "ms"), rows)


def show_opening(title: str, record: Record) -> None:
    """Prints seconds and memory for each size."""
    rows = []
    for row in record:
        counts = (f"{row[name]:,}" for name in ("samples", "shards", "step"))
        seconds = (f"{row[name]:.2f}" for name in ("index_seconds", "batch_seconds"))
        memory = ("" if row[name] is None else f"{row[name]:.0f}" for name in ("memory_mb", "peak_memory_mb"))
        rows.append((*counts, *seconds, *memory))
    columns = "samples", "shards", "step", "index, s", "batch, s", "MB more", "at peak"
    show(title, columns, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with options_of("data", Options, arguments) as options:
        run(options)


if __name__ == "__main__":
    main()

"""Builds shards, checks them and shows what they hold: the command line `fes-shards`."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from fes.commandline import check_words
from fes.errors import told_in_one_sentence
from fes.machine import cores
from shards.documents import read_document
from shards.drawn import DrawnOptions, draw
from shards.fer2013 import Duplicates, read_fer2013
from shards.index import ShardIndex
from shards.schema import REPORT_NAME, Source
from shards.show import Meter, save_contact_sheet, summary
from shards.verify import verify
from shards.writer import build, check_numbers, prepare

PROGRAM = "fes-shards"
STOPPED = 130  # what a shell gives a program that Ctrl-C ended
REPORT_HINT = "fes-shards build writes it; build the data set again"


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where shards go, and how they are cut."""

    out: Path
    """The folder to write the shards to; made where it does not exist."""
    seed: int = 0
    """Decides the order of the samples."""
    samples_per_shard: int = 512
    """The most samples in a shard; every split gets the fewest shards that allow it, 1, 2, 4, 8, ..."""
    workers: int = field(default_factory=cores)
    """Processes that share the work; the shards are the same for any number."""
    overwrite: bool = False
    """Replace the finished data set in the output folder."""

    def prepare(self) -> None:
        """Raises InputError where the build could not be written, before anything long begins."""
        check_numbers(seed=self.seed, samples_per_shard=self.samples_per_shard, workers=self.workers)
        prepare(self.out, overwrite=self.overwrite)

    def write(self, source: Source) -> None:
        """Builds the shards and prints what is in them."""
        with Meter("writing", "samples") as meter:
            build(
                source,
                self.out,
                seed=self.seed,
                samples_per_shard=self.samples_per_shard,
                workers=self.workers,
                overwrite=self.overwrite,
                progress=meter,
            )
        _print_summary(self.out)


@dataclass(frozen=True, kw_only=True)
class BuildFer2013(Output):
    """Build shards of FER2013 from fer2013.csv, icml_face_data.csv or train.csv, also as .gz, .xz or .zip.

    Rows that cannot be read and constant pictures are dropped. Exact copies are kept and reported.
    """

    source: Path
    """The csv."""
    duplicates: Duplicates = "keep"
    """With "drop", one of all exact copies stays: that in test, else that in valid, else that in train."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        started = time.monotonic()
        self.prepare()
        with Meter("reading", "MB", scale=1e6) as meter:
            source = read_fer2013(self.source, duplicates=self.duplicates, progress=meter)
        self.write(source)
        _print_next(self.out, started)
        return 0


@dataclass(frozen=True, kw_only=True)
class BuildDrawn(DrawnOptions, Output):
    """Build shards of faces made by code: every person in all seven expressions, free of any licence."""

    seed: int = 0
    """Decides who is drawn, and the order of the samples."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        started = time.monotonic()
        self.check()
        self.prepare()
        self.write(draw(self))
        _print_next(self.out, started)
        return 0


@dataclass(frozen=True)
class Verify:
    """Check a folder of shards byte for byte against its index: every fault on a line; exit code 1 if any."""

    folder: tyro.conf.Positional[Path]
    """The folder that holds index.json."""

    def run(self) -> int:
        """Prints the faults; the exit code is 1 where there are any."""
        with Meter("checking", "samples") as meter:
            faults = verify(self.folder, meter)
        for fault in faults:
            print(fault)
        if faults:
            print(f"{self.folder}: faults: {len(faults)}; build the shards again, or copy them again")
            return 1
        index = ShardIndex.load(self.folder)
        samples = sum(index.split(name).samples for name in index.splits)
        print(f"{self.folder}: {samples:,} samples, no fault; fingerprint {index.fingerprint}")
        return 0


@dataclass(frozen=True)
class Show:
    """Show what a folder of shards holds."""

    folder: tyro.conf.Positional[Path]
    """The folder that holds index.json."""
    grid: Path | None = None
    """Also write a picture there: the first samples of training, a column per class."""

    def run(self) -> int:
        """Prints the tables; the exit code is 0."""
        index = _print_summary(self.folder)
        print(f"fingerprint {index.fingerprint}")
        if self.grid is not None:
            save_contact_sheet(index, self.grid)
            print(f"wrote {self.grid}: {', '.join(index.classes)} from left to right")
        return 0


@dataclass(frozen=True)
class Build:
    """Build shards from a source."""

    source: (
        Annotated[BuildFer2013, tyro.conf.subcommand("fer2013")]
        | Annotated[BuildDrawn, tyro.conf.subcommand("drawn")]
    )

    def run(self) -> int:
        """Builds; the exit code is 0."""
        return self.source.run()


Command = (
    Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Show, tyro.conf.subcommand("show")]
)
COMMANDS = {"build": {"fer2013": BuildFer2013, "drawn": BuildDrawn}, "verify": Verify, "show": Show}
STYLE = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 faults found, 2 input that cannot be used, 130 stopped."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with told_in_one_sentence(PROGRAM):
        check_words(arguments, COMMANDS)
        command = tyro.cli(Command, prog=PROGRAM, args=arguments, description=__doc__, config=STYLE)
        try:
            raise SystemExit(command.run())
        except KeyboardInterrupt:
            print(f"{PROGRAM}: stopped; run the same command again to begin anew", file=sys.stderr)
            raise SystemExit(STOPPED) from None
        except BrokenPipeError:  # as in `fes-shards show DIR | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


def _print_summary(folder: Path) -> ShardIndex:
    index = ShardIndex.load(folder)
    Console().print(summary(index, read_document(folder / REPORT_NAME, REPORT_HINT)))
    return index


def _print_next(out: Path, started: float) -> None:
    print(f"report: {out / REPORT_NAME}")
    print(f"built in {time.monotonic() - started:.1f} s; next:")
    print(f"  accelerate launch fes/train.py --data {out} --run runs/NAME")

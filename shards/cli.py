"""Builds shards, indexes those of others, checks and shows them: the command line `fes-shards`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from fes.commandline import interrupted, parsed_command, readers_may_leave, tell_version, terminable
from fes.errors import InputError, told_in_one_sentence
from fes.expressions import EXPRESSIONS
from fes.machine import cores
from shards.build.curation import Dedup
from shards.builders import BUILDERS, BuildCelebA, BuildDrawn, BuildFer2013, BuildFolder, BuildTfd
from shards.checks.repair import repair
from shards.checks.verify import verify
from shards.foreign.indexing import index_shards
from shards.index import ShardIndex
from shards.meter import Meter
from shards.show import check_sheet, print_summary, save_contact_sheet

PROGRAM = "fes-shards"
ANEW = "the same command begins anew"


@dataclass(frozen=True)
class Build:
    """Build shards from a source."""

    source: (
        Annotated[BuildFer2013, tyro.conf.subcommand("fer2013")]
        | Annotated[BuildTfd, tyro.conf.subcommand("tfd")]
        | Annotated[BuildCelebA, tyro.conf.subcommand("celeba")]
        | Annotated[BuildFolder, tyro.conf.subcommand("folder")]
        | Annotated[BuildDrawn, tyro.conf.subcommand("drawn")]
    )

    def run(self) -> int:
        """Builds; the exit code is 0."""
        return self.source.run()


@dataclass(frozen=True)
class Index:
    """Index WebDataset shards that others made where they lie, as those of img2dataset: nothing is copied."""

    if_stopped: ClassVar[str] = ANEW
    tars: tyro.conf.Positional[tuple[Path, ...]]
    """Tar files, folders of them, or names with braces as in 'faces-{00000..00012}.tar'."""
    out: Path
    """The folder for the index; the tars should stay where they are from there."""
    split: dict[str, str] = field(default_factory=dict)
    """Patterns of files' names, and the split each is: 'eval-*.tar' test. Else the names themselves tell."""
    label_field: str | None = None
    """The field of the samples' json that is the label, a name or a number; else it is the .cls."""
    identity_field: str | None = None
    """The field of the samples' json that tells who it is."""
    numbers: tuple[str, ...] = EXPRESSIONS
    """The classes that the numbers 0, 1, 2, ... stand for in these shards; drop leaves a class out."""
    dedup: Dedup = "none"
    """What stays of pictures that occur more than once: all, one of all exact copies, or of all alike."""
    no_leak: bool = False
    """Leave out training samples whose picture stands in valid or test."""
    workers: int = field(default_factory=cores)
    """Processes that share the work; the index is the same for any number."""
    overwrite: bool = False
    """Replace the index in the output folder."""

    def run(self) -> int:
        """Writes the index; the exit code is 0."""
        _check_workers(self.workers)
        with Meter("reading", "MB", scale=1e6) as meter:
            index_shards(
                self.tars,
                self.out,
                splits=self.split,
                label_field=self.label_field,
                identity_field=self.identity_field,
                numbers=self.numbers,
                workers=self.workers,
                overwrite=self.overwrite,
                dedup=self.dedup,
                no_leak=self.no_leak,
                progress=meter,
            )
        print_summary(self.out)
        return 0


FEWER = (
    "samples are gone: a run that saw them cannot go on with these data, and another one can begin with its "
    "networks (--init-from)"
)


@dataclass(frozen=True)
class Verify:
    """Check a folder of shards byte for byte against its index: every fault on a line; exit code 1 if any."""

    folder: tyro.conf.Positional[Path]
    """The folder that holds index.json."""
    repair: bool = False
    """Make the index anew where it is wrong, and move what is damaged to the folder quarantine. Runs that saw
    what is moved cannot go on with what is left."""
    workers: int = field(default_factory=cores)
    """Processes that share the work."""

    @property
    def if_stopped(self) -> str:
        """What the same command does then: changes that were begun stand in a journal."""
        return f"{ANEW}, or finishes the repair where changes had begun" if self.repair else ANEW

    def run(self) -> int:
        """Prints the faults, or what was repaired; the exit code is 1 where there are faults."""
        _check_workers(self.workers)
        if self.repair:
            with Meter("repairing", "shards") as meter:
                repaired = repair(self.folder, workers=self.workers, progress=meter)
            print("\n".join(repaired.actions) or f"{self.folder}: nothing to repair")
            if repaired.dropped:
                print(FEWER)
        with Meter("checking", "samples") as meter:
            found = verify(self.folder, workers=self.workers, progress=meter)
        for fault in found:
            print(fault)
        faults = [fault for fault in found if not fault.note]
        if faults:
            print(
                f"{self.folder}: faults: {len(faults)}; build the shards again, copy them again, or --repair"
            )
            return 1
        index = ShardIndex.load(self.folder)
        print(
            f"{self.folder}: {index.catalogue.samples:,} samples, no fault; fingerprint {index.fingerprint}"
        )
        return 0


@dataclass(frozen=True)
class Show:
    """Show what a folder of shards holds."""

    if_stopped: ClassVar[str] = ANEW
    folder: tyro.conf.Positional[Path]
    """The folder that holds index.json."""
    grid: Path | None = None
    """Also write a picture there: samples of a split, a column per class."""
    split: Literal["train", "valid", "test"] | None = None
    """The split that the picture shows; the first there is where it is not given."""
    rows: int = 8
    """How many samples of each class the picture shows."""
    origins: int = 0
    """Also list so many places in the source of each finding: rows, or files."""

    def run(self) -> int:
        """Prints the tables; the exit code is 0."""
        if self.rows < 1:
            raise InputError(f"--rows is 1 or more, not {self.rows}")
        if self.grid is not None:
            check_sheet(self.grid)
        index = print_summary(self.folder, origins=self.origins)
        print(f"fingerprint {index.fingerprint}")
        if self.grid is not None:
            save_contact_sheet(index, self.grid, split=self.split, rows=self.rows)
            print(f"wrote {self.grid}")
        return 0


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise InputError(f"--workers is 1 or more, not {workers}")


Command = (
    Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Index, tyro.conf.subcommand("index")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Show, tyro.conf.subcommand("show")]
)
COMMANDS = {"build": BUILDERS, "index": Index, "verify": Verify, "show": Show}
STYLE = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 faults found, 2 input that cannot be used, 130 or 143 stopped."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with told_in_one_sentence(PROGRAM), readers_may_leave():
        tell_version(arguments, PROGRAM)
        command = parsed_command(Command, COMMANDS, arguments, PROGRAM, __doc__, STYLE)
        with interrupted(lambda: f"{PROGRAM}: stopped; {command.if_stopped}"), terminable():
            raise SystemExit(command.run())

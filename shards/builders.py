"""The commands `fes-shards build ...`: one per source, each with its own flags and those of every build."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Literal

from fes.commandline import FOUND, MIDDLE, part_of_picture
from fes.errors import InputError
from fes.files import folders_left_as_found
from shards.build.labelling import JudgeLabeller
from shards.build.writer import BuildOptions, build, prepare, refuse_other_tars
from shards.meter import Meter
from shards.schema import REPORT_NAME, Progress, Source
from shards.show import print_summary
from shards.sources.celeba import read_celeba
from shards.sources.cutting import FaceSource
from shards.sources.drawn import DrawnOptions, draw
from shards.sources.fer2013 import read_fer2013
from shards.sources.fer2013_folder import is_fer2013_folder, read_fer2013_folder
from shards.sources.ferplus import FerPlusOptions
from shards.sources.folder import read_folder
from shards.sources.tfd import read_tfd


@contextmanager
def stage(doing: str) -> Iterator[Progress]:
    """Shows a stage of a build, in samples."""
    with Meter(doing, "samples") as meter:
        yield meter


@dataclass(frozen=True, kw_only=True)
class Output(BuildOptions):
    """Where shards go, and how they are made."""

    if_stopped: ClassVar[str] = "run the same command again to go on"
    """What the same command does then; so of every command."""

    out: Path
    """The folder to write the shards to; made where it does not exist."""

    def run_with(
        self, read: Callable[[], Source], labeller: Callable[[], JudgeLabeller] | None = None
    ) -> int:
        """Checks all options, reads the source, builds, and prints what is in the shards; returns 0."""
        started = time.monotonic()
        self.check()
        label = labeller() if labeller else None
        options = BuildOptions(**{spec.name: getattr(self, spec.name) for spec in fields(BuildOptions)})
        with folders_left_as_found(self.out):
            prepare(self.out, overwrite=self.overwrite)
            refuse_other_tars(self.out)
            build(read(), self.out, options, label=label, stages=stage)
        index = print_summary(self.out)
        print(f"report: {self.out / REPORT_NAME}")
        trains = "train" in index.splits
        then = "look at some, then train:" if trains else "look at some:"
        print(f"built in {time.monotonic() - started:.1f} s; {then}")
        print(f"  fes-shards show {self.out} --grid grid.png")
        if trains:
            print(f"  accelerate launch fes/train.py --data {self.out} --run runs/NAME")
        return 0


@dataclass(frozen=True, kw_only=True)
class FromFile(Output):
    """A build of what lies in a file or a folder."""

    source: Path
    """The file, or the folder, as it was fetched."""


@dataclass(frozen=True, kw_only=True)
class BuildFer2013(FromFile):
    """Build shards of FER2013: fer2013.csv, icml_face_data.csv, train.csv or test.csv, also compressed or in
    an archive; or the folder of JPEG copies with train/angry/Training_*.jpg.
    """

    ferplus: Path | None = None
    """The votes of FER+, fer2013new.csv: the labels become theirs. Rows are matched by their position."""
    ferplus_threshold: float = FerPlusOptions.threshold
    """The least share of the votes that makes a class the label."""
    ferplus_contempt: str = FerPlusOptions.contempt
    """What to do where most voted contempt: drop, unlabelled, or the expression to count it as."""
    ferplus_unsure: Literal["drop", "unlabelled", "fer2013"] = FerPlusOptions.unsure
    """What to do where no class has enough votes: fer2013 keeps the label of FER2013."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        return self.run_with(self._read)

    def _read(self) -> Source:
        if self._is_folder_of_pictures():
            if self.ferplus is not None:
                raise InputError(
                    f"--ferplus matches rows of fer2013.csv, and {self.source} is a folder of pictures: "
                    "give the csv as --source"
                )
            with Meter("listing", "files") as meter:
                return read_fer2013_folder(self.source, meter)
        with Meter("listing", "MB", scale=1e6) as meter:
            csvs = [] if list(self.source.glob("*.*")) else self._unpacked()
            source = csvs[0].parent if csvs else self.source
            return read_fer2013(source, ferplus=self._votes(), progress=meter)

    def _is_folder_of_pictures(self) -> bool:
        """By its files' names, or because it has folders alone: of train and test, or of the classes."""
        try:
            folders = self.source.is_dir() and not any(entry.is_file() for entry in self.source.iterdir())
        except OSError as error:
            raise InputError(
                f"cannot read {self.source} ({error.strerror}): give one that you may read"
            ) from error
        return (folders and not self._unpacked()) or is_fer2013_folder(self.source)

    def _unpacked(self) -> list[Path]:
        """The csv where an unpacked archive has it: in a folder of its own."""
        return sorted(self.source.glob("*/*.csv")) if self.source.is_dir() else []

    def check(self) -> None:
        """Raises InputError for options that no build can work with."""
        super().check()
        if votes := self._votes():
            votes.check()
        for name in ("threshold", "contempt", "unsure"):
            given, default = getattr(self, f"ferplus_{name}"), getattr(FerPlusOptions, name)
            if self.ferplus is None and given != default:
                raise InputError(f"--ferplus-{name} is about votes: give --ferplus fer2013new.csv too")

    def _votes(self) -> FerPlusOptions | None:
        if self.ferplus is None:
            return None
        return FerPlusOptions(
            votes=self.ferplus,
            threshold=self.ferplus_threshold,
            contempt=self.ferplus_contempt,
            unsure=self.ferplus_unsure,
        )


@dataclass(frozen=True, kw_only=True)
class BuildTfd(FromFile):
    """Build shards of the Toronto Face Database: TFD_48x48.mat or TFD_96x96.mat, of MATLAB 5 or 7.3."""

    fold: int = 1
    """Which of the five official ways to split, 1 to 5."""
    swapped: bool = False
    """Read 2 in the folds as test and 3 as validation, as some copies have it, not the other way around."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        return self.run_with(self._read)

    def _read(self) -> Source:
        with Meter("listing", "parts") as meter:
            return read_tfd(self.source, fold=self.fold, swapped=self.swapped, progress=meter)


@dataclass(frozen=True, kw_only=True)
class BuildCelebA(FromFile):
    """Build shards of CelebA: img_align_celeba.zip, a folder of it, the folder of the whole data set, or the
    parquet files of its copy on Hugging Face. The pictures are kept byte for byte.
    """

    attributes: Path | None = None
    """list_attr_celeba.txt or .csv; looked for beside the pictures where it is not given."""
    identities: Path | None = None
    """identity_CelebA.txt; looked for like the attributes."""
    partition: Path | None = None
    """list_eval_partition.txt or .csv; looked for like the attributes."""
    centre: int | None = None
    """Read the central square of so many pixels instead of the face (128 around x 89, y 121)."""
    label_with: Path | None = None
    """A judge (.safetensors, from `fes judge train`) that gives the pictures classes: CelebA has none."""
    confidence: float = 0.8
    """The least probability of a class that the judge may give it for; below it a picture has none."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        weights = self.label_with
        if weights is None and self.confidence != BuildCelebA.confidence:
            raise InputError("--confidence is that of a judge: give its weights as --label-with too")
        if weights is None:
            return self.run_with(self._read)
        return self.run_with(self._read, lambda: JudgeLabeller(weights, self.confidence))

    def _read(self) -> Source:
        with Meter("listing", "files") as meter:
            return read_celeba(
                self.source,
                attributes=self.attributes,
                identities=self.identities,
                partition=self.partition,
                centre=self.centre,
                progress=meter,
            )


@dataclass(frozen=True, kw_only=True)
class BuildFolder(FromFile):
    r"""Build shards of picture files in folders of their classes: class/* or split/class/*, or a zip of it.

    Names such as anger, happiness or fearful are understood.
    """

    identity: str | None = None
    r"""A regular expression for the files' names whose first group tells the person, such as '(\d+)'."""
    crop: str = MIDDLE
    """What to take of a picture: its central square (middle); the square LEFT,TOP,SIDE, in pixels; or the
    largest face in a photograph, and nothing of one in which there is none (found)."""
    contempt: str = "refuse"
    """What to do with a folder of contempt: refuse, drop, unlabelled, or the expression to count it as."""
    alias: dict[str, str] = field(default_factory=dict)
    """What other folders are: the folder's name, and a class, drop or unlabelled, as often as need be."""
    valid_share: float = 0.0
    """The part of training to take for validation, where there are no folders for it: whole people with
    --identity, else files."""
    test_share: float = 0.0
    """The part of training to take for the test, where there are no folders for it: whole people with
    --identity, else files. 1: all."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        return self.run_with(self._read)

    def check(self) -> None:
        """Raises InputError for options that no build can work with."""
        super().check()
        part_of_picture("--crop", self.crop)

    def _read(self) -> Source:
        part = part_of_picture("--crop", self.crop)
        with Meter("listing", "files") as meter:
            source = read_folder(
                self.source,
                identity=self.identity,
                contempt=self.contempt,
                aliases=self.alias,
                valid_share=self.valid_share,
                test_share=self.test_share,
                seed=self.seed,
                square=None if isinstance(part, str) else part,
                progress=meter,
            )
        return FaceSource(**vars(source)) if part == FOUND else source


@dataclass(frozen=True, kw_only=True)
class BuildDrawn(DrawnOptions, Output):
    """Build shards of faces made by code: every person in all seven expressions, free of any licence."""

    seed: int = 0
    """Decides who is drawn, and the order of the samples."""

    def run(self) -> int:
        """Builds; the exit code is 0."""
        return self.run_with(lambda: draw(self))

    def check(self) -> None:
        """Raises InputError for options that allow no drawing, or no build."""
        DrawnOptions.check(self)
        Output.check(self)


BUILDERS = {
    "fer2013": BuildFer2013,
    "tfd": BuildTfd,
    "celeba": BuildCelebA,
    "folder": BuildFolder,
    "drawn": BuildDrawn,
}
"""The sources by the names of their commands."""

"""What people do with trained weights: `fes`."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from fes.bench import Bench
from fes.commandline import interrupted, parsed_command, readers_may_leave, tell_version, terminable
from fes.config import StreamConfig
from fes.config.validity import check_shape
from fes.data.mixture import Mixture, open_index
from fes.errors import InputError, told_in_one_sentence
from fes.evaluation.command import EvaluateOptions, evaluate_command
from fes.evaluation.faces import HELD_OUT, held_out
from fes.files import check_file
from fes.hardware import Hardware
from fes.judge import (
    Facts,
    Halfway,
    JudgeConfig,
    check_labels,
    confusion,
    load_judge,
    new_judge,
    path_of,
    save_judge,
    train_judge,
)
from fes.judge import Judge as Network
from fes.machine import keep_memory
from fes.photographs.synthesis import Export, Synthesize
from fes.report import progress
from fes.runtime.precision import set_arithmetic
from fes.runtime.stopping import Stopping
from fes.selfcheck.command import main as check_gradients


@dataclass(frozen=True)
class JudgeTrain:
    """Train a judge on the real pictures of training splits. A training that is stopped goes on with the same
    command."""

    data: str
    """Folder or address of shards; or several with weights, as train.py takes them. What an address holds is
    kept in fes/shards in $XDG_CACHE_HOME or ~/.cache, at most 20 GB."""
    out: Path
    """Where to write the judge (.safetensors)."""
    resolution: int | None = None
    """Height and width of the pictures it reads: those of the weights to judge. None: train.py's choice."""
    channels: int | None = None
    """1 for grey, 3 for RGB. None: train.py's choice."""
    half: bool = False
    """Write 16 bits a number: half the size, and nearly the same answers."""
    overwrite: bool = False
    """Write over a judge that is there. Runs that it guides need the one that they began with."""
    training: tyro.conf.OmitArgPrefixes[JudgeConfig] = field(default_factory=JudgeConfig)

    def run(self) -> None:
        check_file("--out", self.out, ".safetensors")
        if self.out.exists() and not self.overwrite:
            raise InputError(
                f"{self.out} is there already, and a run that it guides could not go on without it: name "
                "another --out, or give --overwrite"
            )
        self.training.check()
        check_shape(self.resolution, self.channels)
        with interrupted(self._stopped):
            self._make()

    def _stopped(self) -> str:
        return f"fes: stopped; {GOES_ON}" if path_of(self.out).exists() else STOPPED

    def _make(self) -> None:
        mixture = Mixture.load(self.data, StreamConfig())
        shape = self.resolution or mixture.resolution, self.channels or mixture.channels
        held_out = mixture.held_out(HELD_OUT, *shape)
        if not held_out:
            raise InputError(f"{mixture.place} has no test or valid split to test a judge on")
        check_labels(held_out)  # before anything long begins
        training = replace(self.training, kind=self.training.architecture)
        judge = new_judge(training.architecture, *shape, training.seed)
        halfway = self._train(judge, mixture, training)
        if self.half:
            judge.half().float()  # what is counted is what is written
        with progress("reading held-out pictures", "images") as tell:
            counts = judge.confusion(held_out, tell)
        judge.facts = Facts.of(counts, mixture.fingerprint, asdict(training))
        save_judge(self.out, judge, self.half)
        halfway.remove()
        print(f"{confusion.table(counts)}\nwrote {self.out}: {confusion.summary(counts)} held-out pictures")

    def _train(self, judge: Network, mixture: Mixture, config: JudgeConfig) -> Halfway:
        """Trains a judge to its end, from where a training of it was stopped."""
        shape = judge.resolution, judge.channels
        about = {"resolution": shape[0], "channels": shape[1], "data": mixture.fingerprint, **asdict(config)}
        _prepare()
        stopping = Stopping(1, list)
        halfway = Halfway(self.out, about, stopping)
        done = halfway.step * config.batch
        if done:
            print(f"goes on from {halfway.path}, after {done:,} images")
        with stopping.catching(), progress("judge", "images", done) as tell:
            trained = train_judge(judge, mixture.parts(*shape), mixture.weights, config, tell, halfway)
        if not trained:
            seen, all_of_them = halfway.step * config.batch, config.steps * config.batch
            told = f"stopped after {seen:,} of {all_of_them:,} images and saved; {GOES_ON}"
            print(told if seen else STOPPED.removeprefix("fes: "))
            raise SystemExit(stopping.exit_code)
        return halfway


@dataclass(frozen=True)
class JudgeTest:
    """Tell the share of real held-out pictures whose expression a judge reads rightly."""

    judge: Path
    """A judge made by 'fes judge train'."""
    data: str
    """Folder or address of shards whose test split (else valid) is read. What an address holds is kept in
    fes/shards in $XDG_CACHE_HOME or ~/.cache, at most 20 GB."""

    def run(self) -> None:
        _prepare()
        judge, index = load_judge(self.judge), open_index(self.data, StreamConfig())
        split = index.split(held_out(index)).sized(judge.resolution, judge.channels)
        with progress("reading held-out pictures", "images") as tell:
            counts = judge.confusion([split], tell)
        print(f"{confusion.table(counts)}\n{confusion.summary(counts)} pictures")


def _prepare() -> None:
    """Computes as runs do."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_arithmetic(Hardware(), device)
    keep_memory(device.type)


@dataclass(frozen=True)
class Judge:
    """The judge: an expression classifier that grades synthesised faces, never trained on them."""

    action: tyro.conf.OmitArgPrefixes[
        Annotated[JudgeTrain, tyro.conf.subcommand("train", prefix_name=False)]
        | Annotated[JudgeTest, tyro.conf.subcommand("test", prefix_name=False)]
    ]

    def run(self) -> None:
        self.action.run()


@dataclass(frozen=True)
class Evaluate:
    """Measure the snapshots of a run on held-out faces; docs/evaluation.md says what the figures mean."""

    options: Annotated[EvaluateOptions, tyro.conf.arg(name="")]

    def run(self) -> None:
        evaluate_command(self.options)


@dataclass(frozen=True)
class Selfcheck:
    """Whether this machine, or this cluster, trains as it should: to be run first on a new one."""

    what: tyro.conf.Positional[Literal["gradients"]]
    """`gradients` compares what several processes compute with what one would; any setting of train.py may
    follow, and --help for more."""

    def run(self) -> None:
        check_gradients([])


Command = (
    Annotated[Synthesize, tyro.conf.subcommand("synthesize")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Judge, tyro.conf.subcommand("judge")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Selfcheck, tyro.conf.subcommand("selfcheck")]
)
COMMANDS = {
    "synthesize": Synthesize,
    "export": Export,
    "evaluate": Evaluate,
    "judge": {"train": JudgeTrain, "test": JudgeTest},
    "bench": Bench,
    "selfcheck": {"gradients": {}},
}


STOPPED = "fes: stopped; the same command begins anew"
GOES_ON = "the same command goes on from there"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `fes`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with told_in_one_sentence("fes"), interrupted(lambda: STOPPED), terminable(), readers_may_leave():
        tell_version(arguments, "fes")
        _refuse_a_lone_file(arguments)
        if list(arguments[:2]) == ["selfcheck", "gradients"]:  # the words that follow are train.py's
            check_gradients(arguments[2:])
        config = (tyro.conf.FlagCreatePairsOff,)
        parsed_command(Command, COMMANDS, arguments, "fes", __doc__, config).run()


def _refuse_a_lone_file(arguments: Sequence[str]) -> None:
    """Raises `InputError` where a picture's name stands in the place of a command."""
    if arguments and arguments[0] not in COMMANDS and os.path.isfile(arguments[0]):
        meant = shlex.join(["fes", "synthesize", arguments[0]])
        raise InputError(f"there is no command '{arguments[0]}'; did you mean '{meant}'?")


if __name__ == "__main__":
    main()

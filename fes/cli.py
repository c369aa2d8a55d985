"""`fes`: what people do with trained weights."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fes.commandline import check_words
from fes.config import StreamConfig, check_shape
from fes.errors import InputError, nearest, told_in_one_sentence
from fes.evaluation import HELD_OUT, evaluate, held_out
from fes.expressions import EXPRESSIONS, expression_label
from fes.files import make_folder, write_file
from fes.judge import JudgeConfig, check_labels, load_judge, new_judge, save_judge, train_judge
from fes.mixture import Mixture, open_index
from fes.pictures import as_image, write_picture
from fes.report import progress
from fes.selfcheck.command import main as check_gradients
from fes.snapshot import load_snapshot
from fes.synthesizer import Synthesizer


@dataclass(frozen=True)
class Synthesize:
    """Draw a face with other expressions: the sheet of all seven, or one."""

    weights: Path
    """A snapshot-*.safetensors, or the folder of a run: its newest snapshot."""
    image: Path
    """A picture of one frontal face, cut out; any size, grey or colour."""
    out: Path = Path("expressions.png")
    """Where to write the result."""
    to: str | None = None
    """One expression (angry, disgusted, afraid, happy, sad, surprised, neutral) instead of the sheet."""

    def run(self) -> None:
        label = None if self.to is None else _label(self.to)
        synthesizer = Synthesizer.load(self.weights)
        picture = synthesizer.read(self.image)
        start = time.perf_counter()
        drawn = synthesizer.sheet(picture) if label is None else as_image(synthesizer.one(picture, label))
        seconds = time.perf_counter() - start
        write_picture(drawn, self.out)
        print(f"wrote {self.out} ({seconds:.2f} s, weights of {synthesizer.snapshot.kimg:g} kimg)")


@dataclass(frozen=True)
class JudgeTrain:
    """Train a judge on the real pictures of training splits."""

    data: str
    """Folder or address of shards; or several with weights, as train.py takes them. What an address holds is
    kept in fes/shards in $XDG_CACHE_HOME or ~/.cache, at most 20 GB."""
    out: Path
    """Where to write the judge (.safetensors)."""
    resolution: int | None = None
    """Height and width of the pictures it reads: those of the weights to judge. None: train.py's choice."""
    channels: int | None = None
    """1 for grey, 3 for RGB. None: train.py's choice."""
    training: tyro.conf.OmitArgPrefixes[JudgeConfig] = field(default_factory=JudgeConfig)

    def run(self) -> None:
        self.training.check()
        check_shape(self.resolution, self.channels)
        mixture = Mixture.load(self.data, StreamConfig())
        shape = self.resolution or mixture.resolution, self.channels or mixture.channels
        held_out = mixture.held_out(HELD_OUT, *shape)
        if not held_out:
            raise InputError(f"{mixture.place} has no test or valid split to test a judge on")
        check_labels(held_out)  # before anything long begins
        make_folder(self.out.parent)
        judge = new_judge(*shape, self.training.seed)
        with progress("judge") as tell:
            train_judge(judge, mixture.parts(*shape), mixture.weights, self.training, tell)
        right, labelled = judge.score(held_out)
        save_judge(self.out, judge, self.training, right / labelled, mixture.fingerprint)
        print(f"wrote {self.out}: right on {right / labelled:.4f} of {labelled:,} labelled held-out pictures")


@dataclass(frozen=True)
class JudgeTest:
    """Tell the share of real held-out pictures whose expression a judge reads rightly."""

    judge: Path
    """A judge made by 'fes judge train'."""
    data: str
    """Folder or address of shards whose test split (else valid) is read. What an address holds is kept in
    fes/shards in $XDG_CACHE_HOME or ~/.cache, at most 20 GB."""

    def run(self) -> None:
        judge, index = load_judge(self.judge), open_index(self.data, StreamConfig())
        split = index.split(held_out(index)).sized(judge.resolution, judge.channels)
        right, labelled = judge.score([split])
        print(f"right on {right / labelled:.4f} of {labelled:,} labelled pictures")


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
    """Measure a snapshot on held-out faces."""

    weights: Path
    """A snapshot-*.safetensors, or the folder of a run: its newest snapshot."""
    data: str
    """Folder or address of shards whose test split (else valid) is used. What an address holds is kept in
    fes/shards in $XDG_CACHE_HOME or ~/.cache, at most 20 GB."""
    judge: Path
    """A judge made by 'fes judge train'."""
    out: Path | None = None
    """Where to write the measurements as json."""
    faces: int = 500
    """Most faces to draw, each with all seven expressions."""

    def run(self) -> None:
        if self.faces < 1:
            raise InputError(f"--faces is {self.faces}: it must be at least 1")
        snapshot, judge = load_snapshot(self.weights), load_judge(self.judge)
        index = open_index(self.data, StreamConfig())
        results = evaluate(snapshot, judge, index, self.faces)
        text = json.dumps(results, indent=2)
        if self.out:
            write_file(self.out, f"{text}\n".encode())
        print(text)


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
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Judge, tyro.conf.subcommand("judge")]
    | Annotated[Selfcheck, tyro.conf.subcommand("selfcheck")]
)
COMMANDS = {
    "synthesize": Synthesize,
    "evaluate": Evaluate,
    "judge": {"train": JudgeTrain, "test": JudgeTest},
    "selfcheck": {"gradients": {}},
}


def _label(name: str) -> int:
    label = expression_label(name)
    if label is None:
        raise InputError(f"--to {name} is no expression{nearest(name, EXPRESSIONS)}")
    return label


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `fes`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with told_in_one_sentence("fes"):
        check_words(arguments, COMMANDS)
        if list(arguments[:2]) == ["selfcheck", "gradients"]:  # the words that follow are train.py's
            check_gradients(arguments[2:])
        tyro.cli(Command, args=arguments, prog="fes").run()


if __name__ == "__main__":
    main()

"""What messages advise, as whole commands: they run as they stand, but for words in capitals."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

ANY = "DATA"
"""Stands for data that are not known, or whose place must not be shown."""


def judge_training(
    out: Path,
    data: str = ANY,
    resolution: int | None = None,
    channels: int | None = None,
    guide: bool = False,
) -> str:
    """The command that trains a judge, or a guide.

    Args:
        out: the file that it writes.
        resolution: height and width of the pictures that it is to read; None: as the data have it.
        channels: of these pictures; None: as the data have it.
    """
    ending = "" if out.name.lower().endswith(".safetensors") else ".safetensors"  # it takes no other
    words = ["fes", "judge", "train", "--data", data, "--out", f"{out}{ending}"]
    if guide:  # it must not be the judge: another seed is that of another one
        words += ["--half", "--seed", "100", "--noise", "0.5", "--kimg", "400"]
    for flag, value in (("--resolution", resolution), ("--channels", channels)):
        words += [] if value is None else [flag, str(value)]
    return shlex.join(words)


def half_of_a_guide(
    file: Path | None, pulling: Sequence[str], resolution: int | None, channels: int | None
) -> str:
    """What a run with a guide lacks: a weight for the guide's file, or that file. One that is there is not to
    be made anew, which would write over it.

    Args:
        file: None: there are weights alone.
        pulling: the flags of these weights, for who wants no guide.
        resolution: of the run's pictures, as in `judge_training`.
        channels: of the same.
    """
    if file and os.path.exists(file):  # unlike Path's, not troubled by a name that is too long
        return (
            f"--start.guide is {file}, and nothing says how strongly it pulls: give --loss.guide-weight, or "
            "the guide-weight of a stage that there is (--stages.gan, --stages.opening, --stages.closing)"
        )
    training = judge_training(file or Path("guide.safetensors"), ANY, resolution, channels, guide=True)
    return (
        "--loss.guide-weight and --start.guide belong together: how strongly a guide pulls, and its file, "
        f"which '{training}' makes"
        + (f"; without a guide, give 0 as {' and '.join(pulling)}" if pulling else "")
    )


def shape(resolution: int, channels: int) -> str:
    """Of pictures, as `48 px and 1 channel`."""
    return f"{resolution} px and {channels} channel{'s' * (channels != 1)}"

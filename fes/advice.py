"""What messages advise, as whole commands: they run as they stand, but for words in capitals."""

import shlex
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


def shape(resolution: int, channels: int) -> str:
    """Of pictures, as `48 px and 1 channel`."""
    return f"{resolution} px and {channels} channel{'s' * (channels != 1)}"

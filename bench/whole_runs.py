"""What the benches share that train and evaluate whole runs, by the commands that people give."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fes.config import StreamConfig
from fes.data.mixture import Mixture, open_index
from fes.evaluation.faces import held_out
from fes.files import sha256_of
from fes.judge import load_graders
from fes.learning.guide import check_independent
from shards.index import ShardIndex

ROOT = Path(__file__).parents[1]


def run_python(*words: str) -> None:
    """Runs a program of fes. Where it ends with a code, so does this process: it has told why."""
    # Without its folder first on the path, where it would hide a module of the same name.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = subprocess.run([sys.executable, *words], env=environment, check=False).returncode
    if code:
        raise SystemExit(code if code > 0 else 128 - code)


def check_graders(
    data: str,
    judges: Sequence[Path | None],
    guide: Path | None,
    resolution: int | None,
    channels: int | None = None,
) -> ShardIndex:
    """The data that runs are going to be trained and measured on, once all that measures them is there.

    Args:
        judges: of pictures of this shape; None: that of the data.
        guide: which must be none of them.

    Raises:
        InputError: something would be missing, or of no use, once the runs are trained.
    """
    index = open_index(data, StreamConfig())
    mixture = Mixture([index])
    held_out(index)
    load_graders(judges, resolution or mixture.resolution, channels or mixture.channels)
    if guide:
        check_independent(sha256_of(guide), *filter(None, judges))
    return index

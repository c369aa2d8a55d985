"""What is told on stderr, which is told also where nobody reads it: what comes after has to come."""

import contextlib
import os
import sys
from typing import TextIO


def tell(sentence: str) -> None:
    """Writes a line to stderr, and goes on where that fails: who read there may have ended, as a launcher,
    or `tee` behind it."""
    if sys.stderr is None:  # closed before the program began
        return
    with contextlib.suppress(OSError, ValueError):  # a full disk, which may have room for the next; closed
        try:
            print(sentence, file=sys.stderr, flush=True)
        except BrokenPipeError:
            silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Sends nowhere what a stream still holds and gets. Python would end with code 120 where it cannot write
    what is left."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())

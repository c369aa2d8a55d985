"""Programs load for seconds before they can say anything, and Ctrl-C may come then."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def ended_without_a_word() -> Iterator[None]:
    """Inside, Ctrl-C ends the program at once, without a traceback; where it is ignored, as by a job in the
    background, it still is."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)

"""Shows how far something is, on stderr."""

import sys
import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fes.telling import tell

SECONDS_PER_FRAME = 0.1


class Meter:
    """A bar with rate and time left on a terminal, else a line per quarter."""

    def __init__(self, doing: str, unit: str, scale: float = 1) -> None:
        """`unit` is what a second holds some of, and `scale` how many of those that are counted make one."""
        self.doing, self.unit, self.scale = doing, unit, scale
        self.started = self.drawn = time.monotonic()
        self.quarter = 0
        self.bar: Progress | None = None

    def __enter__(self) -> "Meter":
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            # It draws only when called: a thread of its own would be in the way of starting processes.
            self.bar = Progress(
                *columns,
                console=Console(stderr=True),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,  # what is printed belongs where the user sends it
                redirect_stderr=False,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.doing, total=None)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Tells that `done` of `total` is done."""
        now = time.monotonic()
        rate = done / self.scale / max(now - self.started, 1e-3)
        text = f"{self.doing}, {rate:,.0f} {self.unit}/s"
        if self.bar is not None:
            due = now - self.drawn > SECONDS_PER_FRAME
            self.drawn = now if due else self.drawn
            self.bar.update(self.task, description=text, completed=done, total=total, refresh=due)
        elif done * 4 // max(total, 1) > self.quarter:
            self.quarter = done * 4 // total
            left = timedelta(seconds=round((now - self.started) * (total - done) / done))
            ending = f", {left} left" if done < total else ""
            tell(f"{text}: {100 * done // total} %{ending}")

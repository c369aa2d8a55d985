"""What a run tells: progress on the terminal, `stats.jsonl`, and TensorBoard's curves and grids."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from fes.errors import InputError
from fes.files import write_file

STATS_NAME = "stats.jsonl"
SECONDS_BETWEEN_DRAWINGS = 0.1  # of a bar


class Report:
    """Tells of one run; used on the main rank alone. A context manager."""

    def __init__(self, run: Path, total_kimg: float, start_kimg: float) -> None:
        self._run = run
        self._total = total_kimg
        self._kimg = start_kimg
        with self._disk_faults_told():
            self._stats = _open_stats(run / STATS_NAME, start_kimg)
            # What was told up to the start stands; TensorBoard drops the purged step itself, too.
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=round(start_kimg * 1000) + 1)
        self._console = Console(file=sys.stdout)
        self._progress = Progress(
            TextColumn("{task.fields[kimg]}"), BarColumn(None), TextColumn("{task.fields[rate]}"), expand=True
        )
        at = f"kimg {start_kimg:.1f}/{total_kimg:g}"
        self._task = self._progress.add_task("", total=total_kimg, completed=start_kimg, kimg=at, rate="")
        self._live = Live(self._progress, console=self._console, refresh_per_second=4)

    def __enter__(self) -> "Report":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._live.stop()
        # Where the run ends with an error, a full disk say, that error is the one to tell.
        with contextlib.suppress(OSError) if kind else self._disk_faults_told():
            self._stats.close()
            self._board.close()

    @contextlib.contextmanager
    def _disk_faults_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"cannot write to the run's folder {self._run}: {error.strerror}; "
                "make room, and the same command goes on from the newest state"
            ) from None

    def say(self, sentence: str) -> None:
        """A line of text, above the progress."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def tick(self, kimg: float, measurements: dict[str, float]) -> None:
        """Measurements since the last tick; `time/seconds` must be among them."""
        images = (kimg - self._kimg) * 1000
        self._kimg = kimg
        rate = images / measurements["time/seconds"]
        measurements = {"kimg": kimg, **measurements, "time/images_per_second": rate}
        with self._disk_faults_told():
            self._note(measurements)
        self._show(measurements)

    def figures(self, kimg: float, figures: dict[str, float]) -> None:
        """What was measured of a snapshot: a line of its own."""
        with self._disk_faults_told():
            self._note({"kimg": kimg, **figures})

    def grid(self, kimg: float, image: Image.Image) -> None:
        """A grid of pictures, for TensorBoard."""
        pixels = np.asarray(image.convert("RGB"))
        with self._disk_faults_told():
            self._board.add_image("grid", pixels, round(kimg * 1000), dataformats="HWC")

    def _note(self, measurements: dict[str, float]) -> None:
        self._stats.write(json.dumps(measurements) + "\n")
        self._stats.flush()
        for name, value in measurements.items():
            self._board.add_scalar(name, value, round(measurements["kimg"] * 1000))

    def _show(self, measurements: dict[str, float]) -> None:
        kimg, rate = measurements["kimg"], measurements["time/images_per_second"]
        left = (self._total - kimg) * 1000 / rate
        at = f"kimg {kimg:.1f}/{self._total:g}"
        speed = f"{rate:.0f} images/s  eta {duration(left)}  wait {measurements['time/data_wait']:.0%}"
        if skipped := measurements.get("data/skipped"):
            speed += f"  skipped {skipped:,.0f}"
        if not self._console.is_terminal:
            terms = "  ".join(
                f"{name} {value:.4g}" for name, value in measurements.items() if _is_measurement(name)
            )
            self.say(f"{at}  {speed}  {terms}")
            return
        self._progress.update(self._task, completed=kimg, kimg=at, rate=speed)
        self._live.update(Group(_table(measurements), self._progress))


@contextlib.contextmanager
def progress(name: str, unit: str = "", before: int = 0) -> Iterator[Callable[[int, int], None]]:
    """Gives what to call with how much is done, and of how much: a bar on a terminal, elsewhere a line at
    each tenth of the way, both with the time left; and how many are done in a second where a `unit` names
    what is counted. What was done `before` tells nothing about that."""
    console, begun = Console(), time.monotonic()
    if not console.is_terminal:
        told = -1

        def tell(done: int, total: int) -> None:
            nonlocal told
            if done * 10 // total > told:
                told = done * 10 // total
                print(f"{name}: {_so_far(done, total, unit, time.monotonic() - begun, before)}", flush=True)

        yield tell
        return
    told = TextColumn("{task.fields[so_far]}")
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), told
    # Without a thread that draws: what is told of may start processes, and a fork copies locks as they are.
    with Progress(*columns, console=console, auto_refresh=False) as bar:
        tasks: list[TaskID] = []
        drawn = -math.inf

        def show(done: int, total: int) -> None:
            nonlocal drawn
            if not tasks:
                tasks.append(bar.add_task(name, so_far=""))
            now = time.monotonic()
            if done == total or now - drawn > SECONDS_BETWEEN_DRAWINGS:
                so_far = _so_far(done, total, unit, now - begun, before)
                bar.update(tasks[0], completed=done, total=total, so_far=so_far, refresh=True)
                drawn = now

        yield show


def _so_far(done: int, total: int, unit: str, seconds: float, before: int) -> str:
    """As `5,056/50,000 images, 410 images/s, 0:01:50 left`; how much is left is told while any is."""
    told = [f"{done:,}/{total:,} {unit}".rstrip()]
    rate = (done - before) / max(seconds, 1e-3)
    if unit:
        told.append(f"{rate:,.{0 if rate >= 10 else 1}f} {unit}/s")
    if 0 < done < total:
        told.append(f"{duration((total - done) / rate)} left")
    return ", ".join(told)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, figures to the right."""
    table = Table()
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, e.g. 1:02:03."""
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _is_measurement(name: str) -> bool:
    return name.startswith(("critic/", "autoencoder/"))


def _table(measurements: dict[str, float]) -> Table:
    """The players' measurements, a column for each player."""
    players: dict[str, list[str]] = {"critic": [], "autoencoder": []}
    for name, value in measurements.items():
        if _is_measurement(name):
            player, term = name.split("/")
            players[player].append(f"{term.replace('_', ' '):<24}{value:>10.4f}")
    table = Table(*(f"{player}s"[: len(player) + (player == "critic")] for player in players), box=None)
    table.add_row(*("\n".join(lines) for lines in players.values()))
    return table


def _open_stats(path: Path, start_kimg: float) -> TextIO:
    """Opens for appending, without the lines of steps that are going to be taken again."""
    if path.exists():
        lines = path.read_text("utf-8", errors="replace").split("\n")
        kept = "".join(f"{line}\n" for line in lines if _kimg_of(line) <= start_kimg)
        write_file(path, kept.encode())  # whole or not at all: it is all that is left of the run so far
    return path.open("a")


def _kimg_of(line: str) -> float:
    try:
        return float(json.loads(line)["kimg"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")  # half a line, cut off when the run was killed

"""What the data sets of `bench/data.py` are drawn from, and a build of shards that is watched."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fes.expressions import EXPRESSIONS
from fes.machine import cores
from shards.drawing.faces import draw_identities, render
from shards.sources.celeba import ALIGNED, HEIGHT, WIDTH
from shards.sources.celeba_lists import USUAL_NAMES
from shards.workers import spread

SIDE, LIGHTS = 48, 6
PEOPLE_AT_ONCE = 50
NUMBERS = [str(value) for value in range(256)]
USAGES = ("Training",) * 8 + ("PublicTest", "PrivateTest")
PORTRAIT_SIDE, VIEWS, QUALITY = 240, 6, 90
WATCH_SECONDS = 0.05
PROC = Path("/proc")


@dataclass(frozen=True)
class Build:
    """The seconds that a build took, by the clock and of all processors, and the most memory its processes
    had together (None: not known)."""

    seconds: float
    cpu_seconds: float
    peak_mb: float | None


def build_fer2013(source: Path, out: Path) -> Build:
    """Runs `fes-shards build fer2013` and watches its memory; where it fails, so does this process."""
    command = [sys.executable, "-m", "shards", "build", "fer2013", "--overwrite"]
    start, cpu_start, peak = time.perf_counter(), _cpu_seconds(), 0.0
    with subprocess.Popen(
        [*command, "--source", str(source), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_memory_mb, _family(process.pid))))
            time.sleep(WATCH_SECONDS)
        if process.returncode:
            sys.stderr.write(process.stderr.read())
            raise SystemExit(process.returncode)
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu_start
    return Build(seconds, cpu_seconds, peak if PROC.exists() else None)


def _cpu_seconds() -> float:
    """What all processes took that this one has started, and that have ended."""
    taken = os.times()
    return taken.children_user + taken.children_system


def _family(process: int) -> Iterator[int]:
    """A process and all that it and its own have started."""
    yield process
    for children in PROC.glob(f"{process}/task/*/children"):
        for child in _read(children).split():
            yield from _family(int(child))


def _memory_mb(process: int) -> float:
    """The resident memory of a process, a page that n processes share counted as an n-th."""
    lines = _read(PROC / str(process) / "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""


def draw_fer2013(path: Path, rows: int) -> None:
    """Writes a csv like fer2013.csv: drawn faces, each of another person and in another light."""
    with path.open("w") as file:
        file.write("emotion,pixels,Usage\n")
        for lines in spread(_rows, rows, _chunks(rows), cores()):
            file.writelines(lines)


def _chunks(people: int) -> list[range]:
    return [range(at, min(at + PEOPLE_AT_ONCE, people)) for at in range(0, people, PEOPLE_AT_ONCE)]


def _rows(rows: int, people: range) -> list[str]:
    labels = np.arange(people.start, people.stop) % len(EXPRESSIONS)
    faces = _lit(render(draw_identities(0, people), labels, SIDE)[..., 0], seed=people.start)
    return [
        f"{label},{' '.join(map(NUMBERS.__getitem__, face))},{USAGES[person * len(USAGES) // rows]}\n"
        for person, label, face in zip(people, labels, faces.reshape(len(faces), -1).tolist(), strict=True)
    ]


def _lit(faces: np.ndarray, seed: int) -> np.ndarray:
    """Grey faces [n, SIDE, SIDE] with a light that varies over each of them.

    Photographs are less alike than drawings, of which the search for near copies would compare a million.
    """
    at = np.linspace(0, LIGHTS - 1, SIDE)
    weights = (1 - np.abs(at[:, None] - np.arange(LIGHTS))).clip(0, 1)
    light = np.random.default_rng(seed).random((len(faces), LIGHTS, LIGHTS))
    return (faces * (weights @ light @ weights.T)).astype(np.uint8)


def draw_celeba(folder: Path, people: int) -> None:
    """Writes JPEG files and lists laid out like CelebA's: of each person's face `VIEWS` parts."""
    pictures = folder / ALIGNED
    pictures.mkdir(parents=True)
    for _ in spread(_portraits, pictures, _chunks(people), cores()):
        pass
    numbers = range(people * VIEWS)
    lists = {
        "identities": [f"{_name(number)} {number // VIEWS + 1}\n" for number in numbers],
        "partition": [f"{_name(number)} 0\n" for number in numbers],
    }
    for kind, lines in lists.items():
        (folder / USUAL_NAMES[kind][0]).write_text("".join(lines))


def _name(number: int) -> str:
    return f"{number + 1:06d}.jpg"


def _portraits(folder: Path, people: range) -> None:
    labels = np.arange(len(people)) % len(EXPRESSIONS)
    portraits = render(draw_identities(1, people), labels, PORTRAIT_SIDE, channels=3)
    for person, portrait in zip(people, portraits, strict=True):
        for view in range(VIEWS):
            left = (PORTRAIT_SIDE - WIDTH) * view // (VIEWS - 1)
            top = (PORTRAIT_SIDE - HEIGHT) * (view % 2)
            picture = Image.fromarray(portrait[top : top + HEIGHT, left : left + WIDTH])
            picture.save(folder / _name(person * VIEWS + view), quality=QUALITY)

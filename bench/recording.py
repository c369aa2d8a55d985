"""What figures were measured on, and where they are kept: a line of json for each result."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from fes.errors import InputError
from fes.machine import cores

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "accelerate", "numpy", "webdataset", "pillow", "simplejpeg")
CPUS = Path("/proc/cpuinfo")


def machine(device: str) -> dict[str, object]:
    """The device (`cpu`, `cuda`), the versions and the commit; ask before measuring begins.

    `load` is how many processes wanted a processor in the minute before: where others computed beside,
    figures are worth little.
    """
    versions = {library: importlib.metadata.version(library) for library in LIBRARIES}
    if device == "cuda":
        versions |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
        versions["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _cpu(),
        "gpus": torch.cuda.device_count(),
        "cores": cores(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **versions,
    }


def keep(path: Path, about: Mapping[str, object], results: Iterable[Mapping[str, object]]) -> None:
    """Adds a line for each result to a file, with what it was measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps({**about, **result}) + "\n" for result in results)


def kept(path: Path) -> list[dict]:
    """The lines of a file, oldest first; none where there is no file.

    Raises:
        InputError: it cannot be read, or a line is no object in json.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} ({error}): move it away, and measure anew") from None
    return [_parsed(line, f"line {number} of {path}") for number, line in enumerate(lines, start=1)]


def _parsed(line: str, place: str) -> dict:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{place} is no object in json: take that line out")
    return found


def _commit() -> str | None:
    """The commit, followed by `-dirty` where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.check_output(
            command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu() -> str:
    lines = CPUS.read_text().splitlines() if CPUS.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())

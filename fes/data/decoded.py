"""A cache of decoded pictures: one file of pixels, made once, read by all processes of a machine."""

import json
import math
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fes.data.reading import OnBadSample, Samples, Sharded
from fes.errors import DamagedSample, InputError
from fes.files import remove_if_there, write_file
from shards.schema import Progress, no_progress
from shards.workers import spread

CHUNK = 256  # samples that a process decodes between two words on how far it is
SHARDS_AHEAD = 4  # that are asked for, where they have to be fetched


class DecodedSplit:
    """A split whose pictures are read from one file of decoded pixels, shared by all who map it."""

    def __init__(self, samples: Samples, path: Path, shape: tuple[int, int, int]) -> None:
        """`shape` is [channels, height, width]; the file is written by `decode_to`."""
        self.samples, self.shard_starts = samples.samples, samples.shard_starts
        self.channels, self.resolution = shape[0], shape[1]
        self.place = str(path)
        self._samples, self._path, self._shape = samples, path, shape
        self._bad = read_bad(path)
        self._pixels: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """int64 [samples], -1 where unlabelled."""
        return self._samples.labels

    def image(self, position: int) -> np.ndarray:
        """uint8 [channels, height, width]. Raises DamagedSample where there was nothing to decode."""
        if position in self._bad:
            raise DamagedSample(self._bad[position])
        return self._mapped[position]

    def images(self, positions: np.ndarray, out: np.ndarray) -> None:
        """Puts pictures in `out`, uint8 [n, channels, height, width]. Raises as `image` does."""
        bad = [position for position in positions.tolist() if position in self._bad] if self._bad else []
        if bad:
            raise DamagedSample(self._bad[bad[0]])
        np.take(self._mapped, positions, axis=0, out=out, mode="clip")  # "raise" would copy `out`

    @property
    def _mapped(self) -> np.ndarray:
        if self._pixels is None:
            shape = self.samples, *self._shape
            self._pixels = np.asarray(np.memmap(self._path, np.uint8, "r", shape=shape))
        return self._pixels

    def __getstate__(self) -> dict[str, object]:
        # Each process maps the file itself: a pickled map would travel as a copy of all the pixels.
        return {**self.__dict__, "_pixels": None}


def decode_to(
    path: Path,
    samples: Samples,
    shape: tuple[int, int, int],
    *,
    workers: int = 1,
    on_bad_sample: OnBadSample = "fail",
    progress: Progress = no_progress,
) -> None:
    """Writes all pictures of a split, decoded, to one file, unless it is there already.

    Samples that are damaged and to be skipped are listed beside it, and tried again each time.

    Args:
        workers: processes that share the work.
        progress: called with the numbers of samples done and in all.

    Raises:
        InputError: the folder cannot be written, or has no room; a shard cannot be had; a sample is
            damaged and none is to be skipped.
    """
    picture_bytes = math.prod(shape)
    size = samples.samples * picture_bytes
    partial = _partial(path)
    try:
        if path.exists() and path.stat().st_size == size:
            _try_again(_Job(samples, path, picture_bytes, on_bad_sample))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        _make_file(partial, size)
        job = _Job(samples, partial, picture_bytes, on_bad_sample)
        chunks = [range(at, min(at + CHUNK, samples.samples)) for at in range(0, samples.samples, CHUNK)]
        bad = {}
        for done, found in enumerate(spread(_decode, job, chunks, workers)):
            bad |= found
            progress(chunks[done].stop, samples.samples)
        _write_bad(path, bad)
        _finish(partial, path)
    except OSError as error:
        raise InputError(f"cannot write the decoded pictures to {path}: {error.strerror}") from None
    finally:
        remove_if_there(partial)


def read_bad(path: Path) -> dict[int, str]:
    """The samples that could not be read as a cache was made: what was wrong with each."""
    try:
        return {
            int(position): trouble for position, trouble in json.loads(_bad_path(path).read_text()).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{_bad_path(path)} is damaged: remove it and {path}, both are made anew") from None


@dataclass(frozen=True)
class _Job:
    samples: Samples
    path: Path
    picture_bytes: int
    on_bad_sample: OnBadSample


def _decode(job: _Job, positions: Sequence[int]) -> dict[int, str]:
    """Decodes adjacent samples to their place in the file; returns what cannot be read, and why."""
    _tell_ahead(job.samples, positions[0])
    pixels, bad = bytearray(), {}
    for position in positions:
        try:
            pixels += job.samples.image(position).tobytes()
        except DamagedSample as error:
            if job.on_bad_sample == "fail":
                raise
            bad[position] = str(error)
            pixels += bytes(job.picture_bytes)
    with job.path.open("r+b") as file:
        file.seek(positions[0] * job.picture_bytes)
        file.write(pixels)
    return bad


def _tell_ahead(samples: Samples, position: int) -> None:
    if isinstance(samples, Sharded):
        shard = int(np.searchsorted(samples.shard_starts, position, side="right")) - 1
        samples.shelf.ahead([each.file for each in samples.shards[shard : shard + SHARDS_AHEAD]])


def _try_again(job: _Job) -> None:
    """Decodes what could not be read before and now can: a shard may have been copied again."""
    path, before = job.path, read_bad(job.path)
    bad = {at: why for position in before for at, why in _decode(job, (position,)).items()}
    if bad != before:
        _write_bad(path, bad)


def _write_bad(path: Path, bad: dict[int, str]) -> None:
    if bad:
        write_file(_bad_path(path), json.dumps(bad).encode())
    else:
        remove_if_there(_bad_path(path))


def _bad_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.unreadable.json")


def _partial(path: Path) -> Path:
    # The folder may be shared, and two machines give their processes the same numbers.
    return path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")


def _remove_left(path: Path) -> None:
    """Removes what processes of this machine left that were killed."""
    before = f"{path.name}.{socket.gethostname()}."
    for each in path.parent.iterdir():
        number = each.name.removeprefix(before)
        if each.name.startswith(before) and number.isdecimal() and not _runs(int(number)):
            remove_if_there(each)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return process != os.getpid()


def _make_file(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise InputError(
            f"the decoded pictures take {size / 1e9:.1f} GB and {path.parent} has room for {free / 1e9:.1f}: "
            "give another folder, or decode them each time"
        )
    with path.open("wb") as file:
        file.truncate(size)


def _finish(partial: Path, path: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())  # else a machine that fails may come back with black pictures
    os.replace(partial, path)

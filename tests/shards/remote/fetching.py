"""Shards on a server that are fetched impatiently, and what is left of it in the cache and on the machine."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.remote.cache import LOCK_NAME, Wanted
from shards.remote.shelf import CachedShards
from tests.shards.remote.unreliable_server import UnreliableServer

SIZE = 300_000
LIMIT = 10 * SIZE


def publish(server: UnreliableServer, name: str, contents: bytes) -> Wanted:
    server.files[name] = contents
    return Wanted(name, len(contents), hashlib.sha256(contents).hexdigest())


def impatient(base: str, cache: Path, **options: float) -> CachedShards:
    usual = {"limit_bytes": LIMIT, "patience": 0.3, "attempts": 3, "pause": 0.01, "outage": 0.5}
    return CachedShards(base, cache, **{**usual, **options})


def contents_of(cached: CachedShards, shard: Wanted) -> bytes:
    file = cached.open(*shard)
    try:
        return os.pread(file, shard.size + 1, 0)
    finally:
        os.close(file)


def refusal(act: Callable[[], object]) -> str:
    """The one sentence that something is refused with."""
    with pytest.raises(InputError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def held(cache: Path) -> int:
    """What the files in the cache have in sum, at a time when none comes or goes."""
    if not cache.exists():
        return 0
    with open(cache / LOCK_NAME, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return sum(map(size_of, cache.iterdir()))


def size_of(path: Path) -> int:
    """0 for a part that was given up meanwhile: that asks for no lock."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def unfinished(cache: Path) -> list[str]:
    return [path.name for path in cache.glob("*.part")]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def runs(process: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[str]:
    """The processes that this one started and has not seen the end of, dead ones too."""
    return {
        child for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()
    }

"""A server that serves badly as told, what it holds, and an impatient shelf with an empty cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.remote.cache import Wanted
from shards.remote.shelf import CachedShards
from tests.shards.remote.fetching import SIZE, impatient, publish
from tests.shards.remote.unreliable_server import UnreliableServer, serving


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[UnreliableServer]:
    with serving() as server:
        yield server


@pytest.fixture
def shards(server: UnreliableServer) -> list[Wanted]:
    """What the server holds: eight shards of equal size."""
    return [publish(server, f"{n}.tar", bytes([n]) * SIZE) for n in range(8)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cached(server: UnreliableServer, cache: Path) -> CachedShards:
    return impatient(server.address, cache)

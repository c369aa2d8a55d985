"""A data set behind an address: whole shards are fetched ahead into a bounded cache on this machine.

Shards come over networks that drop, stall and lie: each is tried several times, or for an hour by who is amid
reading them, and counts only once its size and its sha256 are those in the index. All processes of a machine
share the cache, so each shard is fetched once.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from fes.errors import InputError
from shards.remote.addresses import address, checked_base, shown
from shards.remote.attempts import OUTAGE, Attempts
from shards.remote.cache import Cache, Wanted
from shards.remote.opener import Altered

DOCUMENT_LIMIT_BYTES = 1 << 28
FETCHERS = 2
"""Threads that fetch ahead in each process. Processes that read the same shards wait for one another's, so
this is also about how many are on their way to a machine at a time."""


class CachedShards:
    """The files of a data set behind an address. Pickles, and survives a fork."""

    def __init__(
        self,
        base: str,
        cache: Path,
        *,
        limit_bytes: int,
        patience: float = 30.0,
        attempts: int = 5,
        pause: float = 1.0,
        outage: float = OUTAGE,
    ) -> None:
        """
        Args:
            base: the address of the folder, or `pipe:COMMAND` with `{}` for the name of a file. The command
                is run by a shell, so it has to be the user's own word, never one out of a file.
            cache: a folder on this machine; is made where it is not there.
            limit_bytes: what the cache may hold, of all data sets in it.
            patience: seconds without a byte after which an attempt has failed.
            attempts: how often a file is tried.
            pause: seconds between the first two attempts; doubles after each.
            outage: for how many seconds a file is tried instead, once files were asked for ahead.

        Raises:
            InputError: the address makes no sense.
        """
        self.base = checked_base(base)
        self._cache = Cache(cache, limit_bytes)
        self._attempts, self._outage, self._endures = Attempts(patience, attempts, pause), outage, False
        self._plans: dict[int, _Plan] = {}
        self.remedy = (
            "what lies there is no better, or its copy here would be: build the data set there again, or "
            "copy it there again"
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_plans": {}}

    def document(self, name: str) -> bytes:
        """The contents of a small file, fetched anew.

        Raises:
            InputError: as `open` does, or the file is too large to be a document.
        """
        where, told = address(self.base, name), shown(self.base, name)
        what = f"{shown(self.base)}: '{name}'"
        return self._attempts.at(where, told, lambda arriving: _joined(arriving, what))

    def open(self, name: str, size: int, sha256: str) -> int:
        """A descriptor of a whole, verified shard, to be closed by the caller; waits until it is there.

        The descriptor reads on whatever becomes of the cache.

        Raises:
            InputError: the file cannot be had, however often tried; it is none that the index describes; it
                is larger than the cache; the cache cannot be written.
            Lost: files were asked for ahead, and this one cannot be had for longer than an outage lasts.
        """
        shard = Wanted(name, size, sha256)
        file = self._cache.find(shard) if _is_digest(sha256) else None
        if file is None:
            file = self._fetch(shard)
        self._plan.opened(shard)
        return file

    def ahead(self, shards: Iterable[tuple[str, int, str]]) -> None:
        """Fetches these shards (name, size, sha256) in the background, in this order; returns at once.

        Takes the place of what was asked before. Goes only so far that what is not yet opened fits in half
        of the cache, so that nothing is removed before it was used; goes on when a shard is opened. What
        cannot be had is told when it is opened, not here.

        Who asks ahead reads on and on, as a run does that trains, from an address that was right so far: from
        here on each file is tried for as long as an outage may last.
        """
        self._endures = True
        self._plan.replace(Wanted(*shard) for shard in shards)

    def forget(self, shard: tuple[str, int, str], descriptor: int) -> bool:
        """Removes a copy that is no longer what was fetched, unless another has taken its place already.

        Returns True: the next `open` gives a verified copy.
        """
        self._cache.forget(Wanted(*shard), descriptor)
        return True

    @property
    def _plan(self) -> "_Plan":
        # A forked process has the plan but not the threads, and maybe a lock that nobody will release.
        return self._plans.setdefault(os.getpid(), _Plan(self._cache, self._fetch))

    def _fetch(self, shard: Wanted, wanted: Callable[[Wanted], bool] = lambda _: True) -> int:
        where, told = address(self.base, shard.name), shown(self.base, shard.name)
        if not _is_digest(shard.sha256) or not isinstance(shard.size, int) or shard.size < 0:
            raise InputError(
                f"the index of {shown(self.base)} does not tell the size and sha256 of '{shard.name}'; "
                f"without them it cannot be checked: write the index anew"
            )

        # Who had to wait for the attempts of others has less time for his own.
        since, seconds = time.monotonic(), self._outage if self._endures else 0.0

        def fill(file: int) -> None:
            def receive(arriving: Iterator[bytes]) -> None:
                if not wanted(shard):  # attempts took their time: opened since, and gone again
                    raise _NotWanted
                _write_verified(arriving, file, shard)

            self._attempts.at(where, told, receive, since, seconds)

        return self._cache.obtain(shard, fill, self._plan.window())


class _NotWanted(Exception):
    """What was to be fetched ahead no longer has to be."""


class _Plan:
    """What one process fetches ahead, and the threads that do; these end when there is nothing to fetch.

    Nothing that may take long is done under its lock, so no call waits for a disk or a network.
    """

    def __init__(self, cache: Cache, fetch: Callable[[Wanted, Callable[[Wanted], bool]], int]) -> None:
        self._cache, self._fetch = cache, fetch
        self._shards: list[Wanted] = []
        self._seen_to: set[Wanted] = set()  # there, on their way, or not to be had
        self._running = 0
        self._lock = threading.Lock()

    def replace(self, shards: Iterable[Wanted]) -> None:
        """Takes other shards to fetch."""
        with self._lock:
            self._shards = list(dict.fromkeys(shards))
            self._seen_to.intersection_update(self._shards)
            self._start()

    def opened(self, shard: Wanted) -> None:
        """Strikes a shard off, which makes way for others."""
        with self._lock:
            self._seen_to.discard(shard)
            if shard in self._shards:
                self._shards.remove(shard)
                self._start()

    def wants(self, shard: Wanted) -> bool:
        """Whether a shard is still to be fetched."""
        with self._lock:
            return shard in self._shards

    def window(self) -> set[str]:
        """The sha256 of what is wanted soon."""
        with self._lock:
            return {shard.sha256 for shard in self._within_reach()}

    def _within_reach(self) -> Iterator[Wanted]:
        room = self._cache.limit_bytes // 2
        for shard in self._shards:
            room -= shard.size
            if room < 0:
                return
            yield shard

    def _take(self) -> Wanted | None:
        for shard in self._within_reach():
            if shard not in self._seen_to:
                self._seen_to.add(shard)
                return shard
        return None

    def _start(self) -> None:
        while self._running < FETCHERS and (shard := self._take()) is not None:
            self._running += 1
            threading.Thread(target=self._run, args=(shard,), daemon=True).start()

    def _run(self, shard: Wanted | None) -> None:
        while shard is not None:
            # Whoever opens a shard that fails tries it again, and tells.
            with suppress(Exception):
                if not self._cache.has(shard):
                    os.close(self._fetch(shard, self.wants))
            with self._lock:
                shard = self._take()
                self._running -= shard is None


def _is_digest(sha256: object) -> bool:
    return isinstance(sha256, str) and len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")


def _joined(arriving: Iterator[bytes], what: str) -> bytes:
    pieces, size = [], 0
    for chunk in arriving:
        pieces.append(chunk)
        size += len(chunk)
        if size > DOCUMENT_LIMIT_BYTES:
            raise InputError(f"{what} has more than {DOCUMENT_LIMIT_BYTES} bytes; is it what it should be?")
    return b"".join(pieces)


def _write_verified(arriving: Iterator[bytes], file: int, shard: Wanted) -> None:
    digest, received = hashlib.sha256(), 0
    os.lseek(file, 0, os.SEEK_SET)
    for chunk in arriving:
        received += len(chunk)
        if received > shard.size:
            raise Altered(f"more than the {shard.size} bytes that the index tells came")
        digest.update(chunk)
        _write(file, chunk)
    if received < shard.size:
        raise Altered(f"the file ended after {received} of {shard.size} bytes")
    if digest.hexdigest() != shard.sha256:
        raise Altered("the sha256 was not the one in the index")


def _write(file: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]

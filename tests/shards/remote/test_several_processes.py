"""Processes that share a cache: each shard fetched once, whoever is killed or forked, and nothing left."""

import multiprocessing
import os
import pickle
import signal
import threading
import time

import pytest

from shards.remote.cache import Wanted
from shards.remote.shelf import CachedShards
from tests.shards.remote.fetching import (
    SIZE,
    children,
    contents_of,
    held,
    impatient,
    refusal,
    runs,
    unfinished,
    wait_until,
)
from tests.shards.remote.unreliable_server import DROP, STALL


def open_at_once(cached: CachedShards, shard: Wanted, barrier: object, contents: object) -> None:
    barrier.wait()
    contents.put(contents_of(cached, shard))


def only_open(cached: CachedShards, shard: Wanted) -> None:
    contents_of(cached, shard)


def open_and_go_on(cached: CachedShards, shards: list[Wanted], contents: object) -> None:
    cached.ahead(shards)
    contents.put([contents_of(cached, shard) for shard in shards])


def test_processes_that_want_the_same_shard_fetch_it_once(server, shards, cache):
    cached = impatient(server.address, cache, patience=60)
    spawning = multiprocessing.get_context("spawn")
    server.delay = 0.2
    barrier, contents = spawning.Barrier(3), spawning.Queue()
    processes = [
        spawning.Process(target=open_at_once, args=(cached, shards[1], barrier, contents)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert [contents.get(timeout=20) for _ in processes] == [server.files["1.tar"]] * 3
    for process in processes:
        process.join()
    assert server.requests["1.tar"] == 1


def test_when_a_process_that_fetches_is_killed_those_who_wait_go_on(server, shards, cache):
    server.faults["1.tar"] = [STALL]
    patient = impatient(server.address, cache, patience=60)
    process = multiprocessing.get_context("spawn").Process(target=only_open, args=(patient, shards[1]))
    process.start()
    assert server.stalled.wait(20)
    waiting = threading.Thread(target=contents_of, args=(patient, shards[1]))
    waiting.start()
    time.sleep(0.1)
    assert (server.requests["1.tar"], waiting.is_alive()) == (1, True)
    assert held(cache) == SIZE
    os.kill(process.pid, signal.SIGKILL)
    waiting.join(5)
    process.join()
    assert not waiting.is_alive()
    assert server.requests["1.tar"] == 2
    assert contents_of(patient, shards[1]) == server.files["1.tar"]
    assert unfinished(cache) == []


def test_a_killed_process_takes_its_command_along(tmp_path, shards, cache):
    log = tmp_path / "log"
    command = f"pipe:echo $$ > {log}.new; mv {log}.new {log}; sleep 100; : {{}}"
    patient = impatient(command, cache, patience=60)
    process = multiprocessing.get_context("spawn").Process(target=only_open, args=(patient, shards[1]))
    process.start()
    wait_until(log.exists)
    started = int(log.read_text())
    assert runs(started)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: not runs(started))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_amid_fetching_fetches_on_its_own(server, shards, cached):
    forking = multiprocessing.get_context("fork")
    server.delay = 0.05
    cached.ahead(shards[:4])
    contents = forking.Queue()
    process = forking.Process(target=open_and_go_on, args=(cached, shards, contents))
    process.start()
    assert contents.get(timeout=10) == [server.files[shard.name] for shard in shards]
    process.join()
    for shard in shards:
        contents_of(cached, shard)
    assert set(server.requests.values()) == {1}


def test_it_is_not_held_up_by_what_it_fetches_ahead_and_pickles_meanwhile(server, shards, cache):
    server.faults["0.tar"] = [STALL]
    cached = impatient(server.address, cache, patience=60)
    cached.ahead(shards[:1])
    assert server.stalled.wait(10)
    copy = pickle.loads(pickle.dumps(cached))
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    copy.ahead(shards[1:3])
    assert contents_of(copy, shards[2]) == server.files["2.tar"]


def test_nothing_stays_open(tmp_path, server, shards, cache):
    (tmp_path / "1.tar").write_bytes(server.files["1.tar"])
    server.faults["0.tar"] = [DROP, STALL, 503]
    server.faults["2.tar"] = [404]
    bases = (server.address, f"pipe:cat {tmp_path}/{{}}", f"file:{tmp_path}")

    def try_all() -> None:
        for base in bases:
            cached = impatient(base, cache, limit_bytes=SIZE)
            contents_of(cached, shards[1])
            for shard in (shards[0], shards[2]):
                refusal(lambda cached=cached, shard=shard: cached.open(*shard))

    before, children_before = os.listdir("/proc/self/fd"), children()
    try_all()
    # One is the server's own: the connection that it holds on to in silence.
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= len(before) + 1)
    assert children() == children_before

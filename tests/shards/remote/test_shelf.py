"""Shards that are fetched into the cache: tried again, checked, refused where they are wrong, and ahead."""

import subprocess
import sys
import threading
import time

import pytest

from fes.errors import InputError, Unreachable
from shards.remote import shelf as remote
from tests.shards.remote.fetching import (
    LIMIT,
    SIZE,
    contents_of,
    held,
    impatient,
    publish,
    refusal,
    unfinished,
    wait_until,
)
from tests.shards.remote.unreliable_server import DROP, HALF, LONGER, STALL, WRONG


def test_a_shard_is_fetched_once_and_then_read_from_the_cache(server, shards, cached):
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert server.requests["1.tar"] == 1
    assert server.headers[0]["User-Agent"] == "fes"


@pytest.mark.parametrize("fault", [DROP, STALL, HALF, WRONG, LONGER, 500, 503, 429])
def test_a_shard_that_comes_badly_is_asked_for_again(server, shards, cached, cache, fault):
    server.faults["1.tar"] = [fault, fault]
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert server.requests["1.tar"] == 3
    assert unfinished(cache) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (DROP, f"the connection ended {SIZE // 2} bytes too early"),
        (STALL, "no byte came for 0.3 s"),
        (HALF, f"the file ended after {SIZE // 2} of {SIZE} bytes"),
        (WRONG, "the sha256 was not the one in the index"),
        (LONGER, f"more than the {SIZE} bytes that the index tells came"),
        (503, "the server answered 503 Service Unavailable"),
    ],
)
def test_what_fails_every_time_is_told_once(server, shards, cached, cache, fault, reason):
    server.faults["1.tar"] = [fault] * 9
    told = refusal(lambda: cached.open(*shards[1]))
    assert told.startswith(
        f"cannot fetch {server.address}/1.tar: tried 3 times, and the last time {reason}; check the"
    )
    assert server.requests["1.tar"] == 3
    assert held(cache) == 0
    server.faults["1.tar"] = [fault] * 9
    with pytest.raises(InputError) as refused:
        cached.open(*shards[1])
    assert isinstance(refused.value, Unreachable) == (fault in (DROP, STALL, 503))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_shard_that_is_not_there_is_told_at_once(server, shards, cached, status):
    server.faults["1.tar"] = [status] * 9
    told = refusal(lambda: cached.open(*shards[1]))
    assert f"{server.address}/1.tar: the server answered {status}" in told
    assert "check the address and the right to read it" in told
    assert server.requests["1.tar"] == 1


def test_the_pauses_between_attempts_double(server, shards, cache):
    server.faults["1.tar"] = [503] * 3
    begun = time.monotonic()
    contents_of(impatient(server.address, cache, attempts=4, pause=0.05), shards[1])
    assert time.monotonic() - begun >= 0.35


def test_a_document_is_fetched_anew_each_time(server, cached):
    server.faults["index.json"] = [503, DROP]
    publish(server, "index.json", b"[1]")
    assert cached.document("index.json") == b"[1]"
    server.files["index.json"] = b"[2]"
    assert cached.document("index.json") == b"[2]"


def test_a_document_without_end_is_refused(server, cached, monkeypatch):
    monkeypatch.setattr(remote, "DOCUMENT_LIMIT_BYTES", 10)
    publish(server, "index.json", b"x" * 11)
    assert "'index.json' has more than 10 bytes" in refusal(lambda: cached.document("index.json"))


@pytest.mark.parametrize(
    "change", [{"name": "../1.tar"}, {"sha256": "../../x"}, {"sha256": None}, {"size": "3"}]
)
def test_an_index_that_would_lead_elsewhere_is_refused(server, shards, cached, cache, change):
    refusal(lambda: cached.open(*shards[1]._replace(**change)))
    assert not server.requests
    assert held(cache) == 0


def test_a_shard_larger_than_the_cache_is_told(server, shards, cache):
    cached = impatient(server.address, cache, limit_bytes=SIZE - 1)
    assert f"'1.tar' has {SIZE} bytes, more than the {SIZE - 1}" in refusal(lambda: cached.open(*shards[1]))
    assert not server.requests


# Fetching ahead


def test_shards_are_fetched_ahead_as_far_as_half_of_the_cache_and_then_as_they_are_opened(
    server, shards, cache
):
    cached = impatient(server.address, cache, limit_bytes=6 * SIZE)
    cached.ahead(shards)
    wait_until(lambda: sum(server.requests.values()) == 3 and not unfinished(cache))
    time.sleep(0.1)
    assert sorted(server.order) == ["0.tar", "1.tar", "2.tar"]
    assert set(server.order[:2]) == {"0.tar", "1.tar"}
    contents_of(cached, shards[0])
    wait_until(lambda: server.requests["3.tar"] == 1)
    assert "4.tar" not in server.requests


def test_reading_in_order_fetches_every_shard_once_within_the_limit(server, shards, cache):
    cached = impatient(server.address, cache, limit_bytes=4 * SIZE)
    cached.ahead(shards)
    for shard in shards:
        assert contents_of(cached, shard) == server.files[shard.name]
        assert held(cache) <= 4 * SIZE
    assert set(server.requests.values()) == {1}
    assert len(server.requests) == len(shards)


def test_what_fails_in_the_background_is_tried_and_told_when_it_is_opened(server, shards, cached):
    server.faults["0.tar"] = [404, 404]
    cached.ahead(shards[:3])
    wait_until(lambda: len(server.requests) == 3)
    time.sleep(0.05)
    assert server.requests["0.tar"] == 1
    assert "404" in refusal(lambda: cached.open(*shards[0]))
    assert contents_of(cached, shards[0]) == server.files["0.tar"]


def test_nonsense_asked_for_ahead_is_told_when_it_is_opened(server, shards, cached):
    bad = shards[0]._replace(sha256="../x")
    cached.ahead([bad, shards[1]])
    wait_until(lambda: server.requests["1.tar"] == 1)
    assert "sha256" in refusal(lambda: cached.open(*bad))


def test_what_is_asked_for_ahead_takes_the_place_of_what_was(server, shards, cache):
    server.delay = 0.2
    cached = impatient(server.address, cache)
    cached.ahead(shards[:4])
    wait_until(lambda: sum(server.requests.values()) == 2)
    cached.ahead(shards[6:])
    wait_until(lambda: server.requests["7.tar"] == 1)
    time.sleep(0.1)
    assert sorted(server.order) == ["0.tar", "1.tar", "6.tar", "7.tar"]


def test_the_threads_that_fetch_ahead_end_when_nothing_is_left(server, shards, cached):
    before = set(threading.enumerate())
    cached.ahead(shards[:2])
    wait_until(lambda: len(server.requests) == 2)
    fetching = "_run"
    wait_until(lambda: not any(fetching in thread.name for thread in set(threading.enumerate()) - before))


def test_a_program_ends_at_once_and_silently_while_it_fetches_ahead(server, shards, cache):
    server.faults["0.tar"] = server.faults["1.tar"] = [STALL]
    program = (
        "import pathlib, time; from shards.remote.shelf import CachedShards\n"
        f"cached = CachedShards({server.address!r}, pathlib.Path({str(cache)!r}), limit_bytes={LIMIT})\n"
        f"cached.ahead({[tuple(shard) for shard in shards]}); time.sleep(0.3)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=10)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert server.stalled.is_set()

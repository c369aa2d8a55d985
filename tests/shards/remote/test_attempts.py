"""Outages: for how long a file is asked for, how often, and what is told when it cannot be had."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from fes.errors import InputError, Lost
from shards.remote import attempts
from shards.remote.attempts import LONGEST_PAUSE, OUTAGE, Attempts
from tests.shards.remote.fetching import contents_of, held, impatient, refusal
from tests.shards.remote.unreliable_server import HALF, WRONG

IN_AN_HOUR = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, which take no time but on the clock."""
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    monkeypatch.setattr(attempts, "time", clock)
    return pauses


@pytest.fixture
def reading(server, shards, cache):
    """A shelf in the midst of a data set, of which the server now answers no more."""
    cached = impatient(server.address, cache)
    cached.ahead(shards[:1])
    contents_of(cached, shards[0])
    server.answers = 1
    return cached


def test_who_is_amid_reading_gets_a_shard_after_many_more_attempts_than_at_the_start(server, shards, reading):
    server.faults["1.tar"], server.answers = [503] * 5, None
    assert contents_of(reading, shards[1]) == server.files["1.tar"]
    assert server.requests["1.tar"] == 6


def test_an_outage_that_lasts_too_long_is_told_as_one_that_another_start_may_heal(
    server, shards, cache, reading
):
    told = refusal(lambda: reading.open(*shards[1]))
    assert "and the last time the server answered 503 Service Unavailable; the same command goes on" in told
    with pytest.raises(Lost):
        reading.open(*shards[1])
    assert held(cache) == len(server.files["0.tar"])


def test_before_anything_is_read_ahead_a_server_that_is_away_is_an_error_of_the_user(server, shards, cached):
    server.answers = 0
    for ask in (lambda: cached.document("index.json"), lambda: cached.open(*shards[1])):
        with pytest.raises(InputError) as caught:
            ask()
        assert caught.value.code == 2


@pytest.mark.parametrize(("fault", "requests"), [(404, 1), (403, 1), (WRONG, 3), (HALF, 3)])
def test_what_no_repetition_heals_is_told_as_soon_as_ever(server, shards, reading, fault, requests):
    server.faults["1.tar"], server.answers = [fault] * 9, None
    with pytest.raises(InputError) as caught:
        reading.open(*shards[1])
    assert caught.value.code == 2
    assert server.requests["1.tar"] == requests


def test_those_who_want_the_same_shard_do_not_wait_for_one_another_and_then_as_long_again(shards, reading):
    begun = time.monotonic()
    others = [threading.Thread(target=refusal, args=(lambda: reading.open(*shards[1]),)) for _ in range(6)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert 0.5 <= time.monotonic() - begun < 1.5


def test_an_hour_s_outage_is_survived_by_attempts_that_become_rare(server, shards, slept):
    server.answers = 0

    def receive(arriving: object) -> bytes:
        if sum(slept) > 0.99 * OUTAGE:
            server.answers = None
        return b"".join(arriving)

    where = f"{server.address}/1.tar"
    assert Attempts(1.0, 5, 1.0).at(where, where, receive, 0.0, OUTAGE) == server.files["1.tar"]
    assert all(now <= 1.5 * LONGEST_PAUSE for now in slept)
    assert all(2**n <= now <= 1.5 * 2**n for n, now in enumerate(slept[:6]))
    assert 40 < len(slept) < 80
    assert len(set(slept)) == len(slept)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("20", 20, 30),
        pytest.param(IN_AN_HOUR, 60, 90, id="in an hour"),
        ("86400", 60, 90),
        ("inf", 60, 90),
        ("-7", 1, 1.5),
        ("nan", 1, 1.5),
        ("soon", 1, 1.5),
        ("Fri, 01 Jan 2100 00:00:00", 1, 1.5),
    ],
)
def test_a_server_may_say_when_to_come_again_within_bounds(server, shards, slept, asked, least, most):
    server.faults["1.tar"], server.retry_after = [429], asked
    Attempts(1.0, 5, 1.0).at(f"{server.address}/1.tar", "it", list, 0.0, OUTAGE)
    (pause,) = slept
    assert least <= pause <= most

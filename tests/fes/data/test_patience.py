"""Waiting that takes too long is told, again and again, and is over when what was awaited comes."""

import queue
import threading
import time

import pytest

from fes.data.patience import Watchdog

pytestmark = pytest.mark.alone


class Told:
    """Keeps what is told until it is asked for."""

    def __init__(self) -> None:
        self.news: queue.Queue[tuple[str, float]] = queue.Queue()

    def __call__(self, awaited: str, seconds: float) -> None:
        self.news.put((awaited, seconds))

    def next(self) -> tuple[str, float]:
        return self.news.get(timeout=5)


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def all_gone() -> bool:
    """Whether no watchdog is left, if not now then soon."""
    for _ in range(200):
        if not watchdogs():
            return True
        time.sleep(0.01)
    return False


def test_waiting_is_told_after_the_patience_and_whenever_that_has_doubled():
    told = Told()
    begun = time.monotonic()
    with Watchdog(0.05, told) as watchdog:
        watchdog.waits_for("batch 7")
        assert [told.next() for _ in range(4)] == [("batch 7", 0.05 * 2**turn) for turn in range(4)]
    assert 0.4 <= time.monotonic() - begun < 3


def test_waiting_anew_is_told_after_the_first_patience_again():
    told = Told()
    with Watchdog(0.05, told) as watchdog:
        for name in ("one", "two"):
            watchdog.waits_for(name)
            assert told.next() == (name, 0.05)
            assert told.next() == (name, 0.1)
            watchdog.has_it()


def test_many_short_waits_are_not_one_long_one():
    told = Told()
    with Watchdog(0.3, told) as watchdog:
        for number in range(60):
            watchdog.waits_for(str(number))
            time.sleep(0.01)
            watchdog.has_it()
    assert told.news.empty()


def test_what_happens_between_two_waits_does_not_count():
    told = Told()
    with Watchdog(0.05, told) as watchdog:
        watchdog.waits_for("one")
        watchdog.has_it()
        time.sleep(0.3)
        watchdog.waits_for("two")
        watchdog.has_it()
    assert told.news.empty()


def test_the_thread_ends_with_the_watchdog_even_amid_patience():
    assert all_gone()
    with Watchdog(3600.0, Told()) as watchdog:
        assert len(watchdogs()) == 1
        watchdog.waits_for("ever")
    assert all_gone()


@pytest.mark.parametrize("patience", [1e300, float("inf")])
def test_endless_patience_is_possible(patience):
    with Watchdog(patience, Told()) as watchdog:
        watchdog.waits_for("ever")
        time.sleep(0.02)
        assert len(watchdogs()) == 1
    assert all_gone()


def test_waiting_again_and_again_starts_no_threads():
    with Watchdog(60.0, Told()) as watchdog:
        (only,) = watchdogs()
        for step in range(1000):
            watchdog.waits_for(str(step))
            watchdog.has_it()
        assert watchdogs() == [only]

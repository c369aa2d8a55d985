"""How often, and for how long, a file behind an address is asked for."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple, TypeVar

from fes.errors import InputError, Lost, Unreachable
from shards.remote.opener import Altered, Dropped, Refused, chunks

OUTAGE = 3600.0
"""Seconds for which a file is asked for where much depends on it, and its address was right so far."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, at the most and whatever a server asks for; lengthened by up to half."""

Result = TypeVar("Result")


class Attempts(NamedTuple):
    """Attempts at a file: `most` of them, after pauses that double, or as many as a time allows.

    `patience` is the seconds without a byte after which one has failed, `pause` those between the first two.
    """

    patience: float
    most: int
    pause: float

    def at(
        self,
        where: str,
        told: str,
        receive: Callable[[Iterator[bytes]], Result],
        since: float = 0.0,
        seconds: float = 0.0,
    ) -> Result:
        """What `receive` makes of a file's contents.

        Args:
            where: the file's address; `told`: as a message may show it.
            seconds: for how long to try, from `since` on by the monotonic clock; 0: `most` times.

        Raises:
            InputError: no attempt will do better, or something else came as often as is tried; `Unreachable`
                where nothing came.
            Lost: the file could not be had in all those seconds.
        """
        altered = 0
        for attempt in itertools.count(1):
            try:
                with closing(chunks(where, self.patience)) as arriving:
                    return receive(arriving)
            except Dropped as error:
                failure = error
            except Refused as error:
                why = f"{error}; check the address and the right to read it"
                raise InputError(f"cannot fetch {told}: {why}") from None
            altered += isinstance(failure, Altered)
            left = since + seconds - time.monotonic()
            if altered >= self.most or (attempt >= self.most and not seconds):
                raise _in_vain(told, attempt, failure)
            if seconds and left <= 0:
                raise _out_of_reach(told, seconds, failure)
            usual = self.pause * 2.0 ** min(attempt - 1, 30)
            time.sleep(min(_spread(max(usual, failure.pause)), left) if seconds else usual)
        raise AssertionError("the count never ends")


def _spread(pause: float) -> float:
    """A pause within bounds, somewhat lengthened: else all who were cut off together came back together."""
    return min(pause, LONGEST_PAUSE) * random.uniform(1.0, 1.5)


def _in_vain(told: str, attempts: int, last: Dropped) -> InputError:
    kind = InputError if isinstance(last, Altered) else Unreachable
    return kind(
        f"cannot fetch {told}: tried {attempts} times, and the last time {last}; "
        f"check the connection and that the data set there is whole, then start again"
    )


def _out_of_reach(told: str, seconds: float, last: Dropped) -> Lost:
    return Lost(
        f"cannot fetch {told}: tried for {seconds / 60:.0f} minutes, and the last time {last}; "
        f"the same command goes on from the last state once it can be had again"
    )

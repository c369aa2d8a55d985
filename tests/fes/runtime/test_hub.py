"""What is told about ranks that are gone or hang: one sentence, however many they are."""

import pytest

from fes.runtime.hub import sentence_on_hung, sentence_on_lost
from fes.runtime.pulse import Beat

pytestmark = pytest.mark.alone

NAMES = [f"rank {rank} (host a, process {100 + rank})" for rank in range(8)]
GO_ON = "and the same command goes on from the newest state"


def test_several_lost_ranks_share_a_sentence() -> None:
    gone = {1: "the process has ended", 2: "no sign of life for 30 s"}
    assert sentence_on_lost(NAMES, gone) == (
        "rank 1 (host a, process 101) and rank 2 (host a, process 102) are gone: the process has ended or "
        f"no sign of life for 30 s; the others leave, {GO_ON}"
    )


def test_of_many_lost_ranks_some_are_named() -> None:
    told = sentence_on_lost(NAMES, dict.fromkeys(range(1, 8), "no sign of life for 30 s"))
    assert "rank 4 (host a, process 104) and 3 others are gone" in told
    assert told.count("no sign of life") == 1


def test_where_no_rank_stands_out_the_place_of_the_first_is_told() -> None:
    beats = {rank: Beat(7, 9, True, 1.0, "ddp.py:12 in forward") for rank in (0, 1)}
    assert sentence_on_hung(NAMES, beats, 31.0) == (
        f"all ranks hang, rank 0 for 31 s in step 7 at ddp.py:12 in forward; all leave, {GO_ON}"
    )


def test_a_rank_that_stands_elsewhere_is_told_with_its_place() -> None:
    places = ["ddp.py:12 in forward", "ddp.py:12 in forward", "read.py:3 in read"]
    beats = {rank: Beat(7, 9, True, 1.0, place) for rank, place in enumerate(places)}
    assert sentence_on_hung(NAMES, beats, 31.0) == (
        f"rank 2 (host a, process 102) hangs, for 31 s in step 7 at read.py:3 in read; all leave, {GO_ON}"
    )

"""What a main thread is at, and which of several that stand still keeps the others."""

import time

import pytest

from fes.runtime.pulse import FIRST, SLOWER, UNTRIED, Beat, Pulse, stragglers

pytestmark = pytest.mark.alone


def beat(step: int, place: str) -> Beat:
    return Beat(step, moves=7, expected_soon=True, patience=1.0, place=place)


def test_ranks_that_have_come_less_far_keep_the_others():
    beats = {0: beat(8, "gather"), 1: beat(7, "forward"), 2: beat(8, "gather"), 3: beat(7, "sleep")}
    assert stragglers(beats) == [1, 3]


def test_in_one_step_those_that_stand_elsewhere_than_most_keep_the_others():
    assert stragglers({0: beat(7, "gather"), 1: beat(7, "sleep"), 2: beat(7, "gather")}) == [1]


def test_of_two_places_with_as_many_ranks_none_stands_out():
    assert stragglers({0: beat(7, "gather"), 1: beat(7, "sleep")}) == []
    assert stragglers({0: beat(7, "gather"), 1: beat(7, "gather")}) == []


def test_only_steps_and_exchanges_are_expected_to_be_over_soon():
    pulse = Pulse()
    assert not pulse.beat().expected_soon
    pulse.reaches(3)
    with pulse.among_ranks():
        assert pulse.beat().expected_soon
    assert not pulse.beat().expected_soon
    pulse.takes_step()
    with pulse.among_ranks():
        assert pulse.beat().expected_soon
    assert pulse.beat().expected_soon
    pulse.reaches(4)
    assert not pulse.beat().expected_soon
    assert pulse.beat().step == 4


def test_every_note_is_a_move():
    pulse = Pulse()
    moves = {pulse.beat().moves}
    for note in (lambda: pulse.reaches(1), pulse.takes_step, lambda: pulse.reaches(2)):
        note()
        moves.add(pulse.beat().moves)
    assert len(moves) == 4


def test_first_steps_may_take_minutes_and_later_ones_what_was_usual_lately():
    pulse = Pulse()
    for step in range(FIRST + 1):
        assert pulse.beat().patience == UNTRIED
        pulse.takes_step()
        time.sleep(0.02 * (step >= FIRST))
        with pulse.among_ranks():  # over in no time, which says nothing of a step
            pass
        pulse.reaches(step)
    assert SLOWER * 0.02 <= pulse.beat().patience < UNTRIED


def test_a_beat_tells_where_the_main_thread_stands():
    assert "fes/runtime/pulse.py:" in Pulse().beat().place

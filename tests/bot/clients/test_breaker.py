"""When a service is left alone, and who may see whether it is back."""

from __future__ import annotations

import pytest

from bot.clients.breaker import FAILURES, PROBE, REST, WINDOW, Attempt, Breaker
from engine.errors import EngineError, UnreachableError


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(attempt: Attempt) -> None:
    with attempt:
        raise UnreachableError("Away.")


def opened(breaker: Breaker) -> None:
    for _ in range(FAILURES):
        assert breaker.pause() == 0
        fail(breaker.attempt())


def test_five_failures_within_half_a_minute_open_it(breaker: Breaker) -> None:
    opened(breaker)
    assert breaker.pause() == REST


def test_failures_far_apart_don_t(breaker: Breaker, clock: Clock) -> None:
    for _ in range(3 * FAILURES):
        fail(breaker.attempt())
        clock.time += WINDOW / (FAILURES - 1) + 0.1
    assert breaker.pause() == 0


def test_a_success_in_between_begins_the_count_anew(breaker: Breaker) -> None:
    for _ in range(3):
        for _ in range(FAILURES - 1):
            fail(breaker.attempt())
        with breaker.attempt() as attempt:
            attempt.succeeded()
    assert not breaker.is_open


def test_one_probe_at_a_time_until_one_succeeds(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.time += REST
    probe = breaker.attempt()
    assert breaker.pause() == PROBE, "somebody looks already"
    fail(probe)
    assert breaker.pause() == REST
    clock.time += REST
    with breaker.attempt() as probe:
        probe.succeeded()
        assert breaker.pause() == 0, "the others needn't wait for its end"


def test_calls_from_before_neither_prolong_the_rest_nor_make_room_for_a_second_probe(
    breaker: Breaker, clock: Clock
) -> None:
    stragglers = [breaker.attempt() for _ in range(3)]
    opened(breaker)
    clock.time += REST - 1
    fail(stragglers[0])
    assert breaker.pause() == 1
    clock.time += 1
    breaker.attempt()
    fail(stragglers[1])
    with pytest.raises(KeyError), stragglers[2]:
        raise KeyError
    assert breaker.pause() == PROBE


def test_a_probe_that_is_given_up_leaves_room_for_another(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.time += REST
    with pytest.raises(EngineError), breaker.attempt():
        raise EngineError("Nobody waits for it any more.")
    assert breaker.is_open
    assert breaker.pause() == 0


def test_a_straggler_s_answer_closes_it(breaker: Breaker) -> None:
    straggler = breaker.attempt()
    opened(breaker)
    with straggler:
        straggler.succeeded()
    assert not breaker.is_open

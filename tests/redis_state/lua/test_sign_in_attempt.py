"""sign_in_attempt.lua"""

from __future__ import annotations

from typing import Any

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State
from tests.support.virtual_time import Clock

KEY = keys.sign_in_attempts("user", "u")


def attempt(state: State, wish: Any = "begin", **limits: int) -> int:
    limits = {"free_count": 2, "delay_ms": 60_000, "longest_ms": 200_000, "memory_ms": 900_000, **limits}
    return state.run(scripts.sign_in_attempt(KEY, wish=wish, **limits))


def reopen(state: State) -> None:
    """As if the wait were over."""
    state.client.hset(KEY, "open_at_ms", 0)


def test_the_first_failures_cost_nothing_and_the_next_a_growing_wait(state: State) -> None:
    assert [attempt(state) for _ in range(3)] == [0, 0, 0]

    waits = []
    for _ in range(3):
        waits.append(attempt(state))
        reopen(state)
        assert attempt(state) == 0
    assert 59_000 < waits[0] <= 60_000
    assert 119_000 < waits[1] <= 120_000
    assert 199_000 < waits[2] <= 200_000


def test_who_must_wait_is_not_counted(state: State) -> None:
    for _ in range(50):
        attempt(state)

    assert state.client.hget(KEY, "failures") == "3"


def test_a_wait_ends_at_its_moment_and_who_comes_then_is_counted(state: State, clock: Clock) -> None:
    for _ in range(3):
        attempt(state)

    clock.advance(59.999)
    assert attempt(state) == 1
    clock.advance(0.001)
    assert attempt(state) == 0
    assert state.client.hget(KEY, "failures") == "4"


def test_success_is_refunded_or_clears_all(state: State) -> None:
    for _ in range(3):
        attempt(state)
    attempt(state, "refund")
    assert state.client.hget(KEY, "failures") == "2"
    assert attempt(state) == 0

    attempt(state, "forget")
    assert not state.client.exists(KEY)


def test_a_refund_makes_nothing_that_stays(state: State) -> None:
    attempt(state, "refund")

    assert not state.client.exists(KEY)


def test_it_is_forgotten_after_a_while(state: State) -> None:
    attempt(state)

    assert 0 < state.client.pttl(KEY) <= 900_000


def test_many_failures_do_not_overflow(state: State) -> None:
    attempt(state)
    state.client.hset(KEY, "failures", 10_000)

    assert attempt(state) == 0
    assert 199_000 < attempt(state) <= 200_000

"""take_quota.lua"""

from __future__ import annotations

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State
from tests.support.virtual_time import Clock

KEY = keys.token_quota(7)


def take(state: State, count: int = 1, limit: int = 5) -> int:
    answer: int = state.run(scripts.take_quota(KEY, count=count, limit=limit, window_seconds=60))
    return answer


def test_a_minute_holds_the_limit_and_what_is_refused_is_not_counted(state: State, clock: Clock) -> None:
    assert [take(state) for _ in range(5)] == [0] * 5
    assert [take(state) for _ in range(3)] == [61] * 3
    clock.advance(61)
    assert take(state) == 0


def test_no_window_holds_more_than_the_limit_wherever_it_begins(state: State, clock: Clock) -> None:
    made: list[int] = []
    for _ in range(400):
        if take(state) == 0:
            made.append(clock.now_ms)
        clock.advance(0.73)

    assert all(sum(at <= each < at + 60_000 for each in made) <= 5 for at in made)
    assert len(made) >= 5 * (400 * 0.73 // 61)


def test_the_wait_that_is_named_is_enough_and_not_too_long(state: State, clock: Clock) -> None:
    take(state, 3)
    clock.advance(20)
    take(state, 2)
    wait = take(state, 3)
    clock.advance(wait - 1)
    assert take(state, 3) > 0
    clock.advance(1)
    assert take(state, 3) == 0


def test_a_wait_goes_on_until_enough_have_left_the_window(state: State, clock: Clock) -> None:
    take(state, 1)
    clock.advance(20)
    take(state, 4)

    assert take(state, 3) == 61
    assert take(state, 1) == 41


def test_more_than_the_limit_at_once_never_fits(state: State, clock: Clock) -> None:
    assert take(state, 6) == 60
    assert not state.client.exists(KEY)


def test_it_is_forgotten_and_a_clock_that_is_set_back_blocks_nobody(state: State, clock: Clock) -> None:
    take(state, 5)
    clock.advance(-3_600)
    assert take(state) == 0
    assert state.client.hlen(KEY) == 1
    clock.advance(62)

    assert not state.client.exists(KEY)

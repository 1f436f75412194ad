"""use_session.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State
from tests.support.virtual_time import Clock

KEY = keys.session("s")


def opened(state: State, *, longest_ms: int = 600_000) -> None:
    state.run(scripts.open_session(KEY, idle_ms=60_000, longest_ms=longest_ms, fields={"name": "a"}))


def used(state: State, *, is_use: bool = True, coarse_ms: int = 0) -> dict[str, str]:
    return state.run(scripts.use_session(KEY, idle_ms=60_000, is_use=is_use, coarse_ms=coarse_ms))


def test_use_puts_off_the_idle_end(state: State) -> None:
    opened(state)
    state.client.pexpire(KEY, 1_000)

    assert used(state)["name"] == "a"
    assert state.client.pttl(KEY) > 50_000


def test_looking_does_not_put_it_off(state: State) -> None:
    opened(state)
    state.client.pexpire(KEY, 1_000)

    assert used(state, is_use=False)["name"] == "a"
    assert state.client.pttl(KEY) <= 1_000


def test_use_is_written_down_only_so_often(state: State, clock: Clock) -> None:
    opened(state)
    before = state.client.hgetall(KEY)
    clock.advance(29.999)
    used(state, coarse_ms=30_000)

    assert state.client.hgetall(KEY) == before
    assert clock.ends_in_ms(KEY) == 60_000 - 29_999

    clock.advance(0.001)
    used(state, coarse_ms=30_000)

    assert state.client.hget(KEY, "seen_at_ms") == str(clock.now_ms)
    assert clock.ends_in_ms(KEY) == 60_000


def test_use_does_not_put_off_the_last_end(state: State) -> None:
    opened(state)
    seconds, micro = state.client.time()
    now_ms = seconds * 1000 + micro // 1000
    state.client.hset(KEY, "ends_at_ms", now_ms + 5_000)
    used(state)
    assert state.client.pttl(KEY) <= 5_000

    state.client.hset(KEY, "ends_at_ms", now_ms - 1)
    assert used(state) == {}
    assert not state.client.exists(KEY)


def test_it_ends_at_the_very_millisecond_of_its_last_end(state: State, clock: Clock) -> None:
    opened(state)
    state.client.hset(KEY, "ends_at_ms", clock.now_ms + 1)
    assert used(state, is_use=False)["name"] == "a"

    clock.advance(0.001)

    assert used(state) == {}
    assert not state.client.exists(KEY)


def test_there_is_none(state: State) -> None:
    assert used(state) == {}
    assert not state.client.exists(KEY)


@pytest.mark.parametrize("missing", ["seen_at_ms", "ends_at_ms", "seen_at_ms ends_at_ms"])
def test_what_is_no_session_is_removed(state: State, missing: str) -> None:
    opened(state)
    state.client.hdel(KEY, *missing.split())

    assert used(state) == {}
    assert not state.client.exists(KEY)

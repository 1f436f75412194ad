"""mark_session.lua"""

from __future__ import annotations

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State
from tests.support.virtual_time import Clock

KEY = keys.session("s")


def test_an_open_session_is_marked_and_lives_no_longer_for_it(state: State) -> None:
    state.run(scripts.open_session(KEY, idle_ms=60_000, longest_ms=600_000, fields={"name": "a", "epoch": 1}))
    state.client.pexpire(KEY, 5_000)

    assert state.run(scripts.mark_session(KEY, fields={"epoch": 2})) == 1

    assert state.client.hget(KEY, "epoch") == "2"
    assert state.client.hget(KEY, "name") == "a"
    assert 0 < state.client.pttl(KEY) <= 5_000


def test_the_present_moment_is_written_where_it_is_asked_for(state: State, clock: Clock) -> None:
    state.run(scripts.open_session(KEY, idle_ms=60_000, longest_ms=600_000, fields={"name": "a"}))
    clock.advance(0.25)

    assert state.run(scripts.mark_session(KEY, fields={"epoch": 2})) == 1
    before = state.client.hgetall(KEY)
    assert state.run(scripts.mark_session(KEY, now_field="proved_at_ms")) == 1

    assert state.client.hgetall(KEY) == before | {"proved_at_ms": str(clock.now_ms)}


def test_one_that_has_ended_stays_away(state: State) -> None:
    assert state.run(scripts.mark_session(KEY, fields={"epoch": 2})) == 0
    assert not state.client.exists(KEY)

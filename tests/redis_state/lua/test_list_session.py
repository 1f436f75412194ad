"""list_session.lua"""

from __future__ import annotations

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State
from tests.support.virtual_time import Clock

KEY = keys.user_sessions("digest")


def listed(state: State, session_id: str, longest_ms: int) -> list[str]:
    return state.run(scripts.list_session(KEY, session_id=session_id, longest_ms=longest_ms, kept_ms=600_000, most=2))


def test_the_first_to_end_of_too_many_are_named_and_stay_listed_until_the_caller_has_ended_them(state: State) -> None:
    assert listed(state, "long", 500_000) == listed(state, "short", 60_000) == []
    assert listed(state, "middle", 300_000) == ["short"]

    assert listed(state, "middle", 300_000) == ["short"], "the first answer may have been lost"
    assert state.client.zrange(KEY, 0, -1) == ["short", "middle", "long"]
    assert 300_000 < state.client.pttl(KEY) <= 600_000


def test_of_one_too_many_one_is_named_and_each_is_listed_with_its_end(state: State, clock: Clock) -> None:
    clock.advance(0.25)
    assert listed(state, "short", 60_000) == listed(state, "middle", 300_000) == []
    assert listed(state, "long", 500_000) == ["short"]

    ends = [(name, clock.now_ms + ms) for name, ms in (("short", 60_000), ("middle", 300_000), ("long", 500_000))]
    assert state.client.zrange(KEY, 0, -1, withscores=True) == ends


def test_a_new_session_that_ends_first_is_not_the_one_too_many(state: State) -> None:
    listed(state, "long", 500_000)
    listed(state, "middle", 300_000)

    assert listed(state, "short", 60_000) == ["middle"]


def test_ended_sessions_leave_the_list(state: State) -> None:
    state.client.zadd(KEY, {"ended": 1})
    assert listed(state, "new", 60_000) == []
    assert state.client.zrange(KEY, 0, -1) == ["new"]

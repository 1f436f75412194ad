"""open_session.lua"""

from __future__ import annotations

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State
from tests.support.virtual_time import Clock

KEY = keys.session("s")


def test_a_session_ends_after_a_pause_and_after_its_longest_time(state: State, clock: Clock) -> None:
    clock.advance(0.25)
    ends_at = state.run(scripts.open_session(KEY, idle_ms=60_000, longest_ms=600_000, fields={"name": "سارا"}))

    kept = state.client.hgetall(KEY)
    assert kept["name"] == "سارا"
    assert int(kept["ends_at_ms"]) == ends_at == clock.now_ms + 600_000
    assert (int(kept["opened_at_ms"]), int(kept["seen_at_ms"])) == (clock.now_ms, clock.now_ms)
    assert clock.ends_in_ms(KEY) == 60_000


def test_a_long_pause_does_not_outlive_the_session(state: State) -> None:
    state.run(scripts.open_session(KEY, idle_ms=600_000, longest_ms=60_000, fields={"name": "a"}))

    assert 0 < state.client.pttl(KEY) <= 60_000

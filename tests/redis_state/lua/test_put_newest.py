"""put_newest.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import State

KEY = "teknav:dashboard:7"


def put(state: State, made_at_ms: int, text: str, ttl_ms: int = 60_000) -> bool:
    return state.run(scripts.put_newest(KEY, made_at_ms=made_at_ms, ttl_ms=ttl_ms, json_text=text))


def test_a_newer_value_replaces_and_an_older_one_does_not(state: State) -> None:
    assert put(state, 100, "first")
    assert put(state, 200, "second")
    assert not put(state, 150, "late")
    assert put(state, 200, "again")
    assert state.client.hgetall(KEY) == {"made_at_ms": "200", "json": "again"}


def test_it_goes_away_when_nobody_renews_it(state: State) -> None:
    put(state, 100, "first", ttl_ms=5_000)
    assert 0 < state.client.pttl(KEY) <= 5_000
    put(state, 200, "second", ttl_ms=90_000)
    assert state.client.pttl(KEY) > 60_000

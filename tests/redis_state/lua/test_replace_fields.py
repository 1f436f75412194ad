"""replace_fields.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import State

KEY = "teknav:alerts:open"


def test_fields_are_written_and_others_dropped(state: State) -> None:
    state.run(scripts.replace_fields(KEY, written={"a": "1", "b": "2"}, dropped=[]))
    state.run(scripts.replace_fields(KEY, written={"b": "3", "c": "4"}, dropped=["a", "never there"]))
    assert state.client.hgetall(KEY) == {"b": "3", "c": "4"}

    state.run(scripts.replace_fields(KEY, written={}, dropped=["b", "c"]))
    assert not state.client.exists(KEY)


def test_more_fields_than_a_call_of_lua_can_take(state: State) -> None:
    many = {f"field {n}": str(n) for n in range(20_000)}
    state.run(scripts.replace_fields(KEY, written=many, dropped=[]))
    assert state.client.hlen(KEY) == 20_000

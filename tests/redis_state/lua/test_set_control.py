"""set_control.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def set_control(state: State, **fields: str) -> int:
    return state.run(scripts.set_control(KEYS, actor="sara", action="queue.configured", fields=fields))


def test_changes_fields_once_with_an_audit_entry(state: State) -> None:
    assert set_control(state, concurrency="2", rate_count="5") == 2

    assert state.client.hgetall(KEYS.control) == {"concurrency": "2", "rate_count": "5"}
    ((_, entry),) = state.client.xrange(KEYS.audit)
    assert entry == {
        "action": "queue.configured", "actor": "sara", "detail": "concurrency:  -> 2, rate_count:  -> 5",
    }  # fmt: skip


def test_an_empty_value_puts_the_topologys_back(state: State) -> None:
    set_control(state, concurrency="2")
    assert set_control(state, concurrency="") == 1
    assert state.client.hgetall(KEYS.control) == {}


def test_changing_nothing_writes_nothing(state: State) -> None:
    set_control(state, concurrency="2")
    before = dump(state.client)
    assert set_control(state, concurrency="2") == 0
    assert dump(state.client) == before

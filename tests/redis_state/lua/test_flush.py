"""flush.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def test_drops_a_bounded_number_of_what_has_not_begun(state: State) -> None:
    for facts in ({}, {}, {}, {"priority": 1}, {"delay_ms": 9_000}):
        state.enqueue(**facts)
    state.fetch()

    assert state.run(scripts.flush(KEYS, actor="test", count=1)) == 3
    assert state.run(scripts.flush(KEYS, actor="test", count=500)) == 1
    assert state.run(scripts.flush(KEYS, actor="test", count=500)) == 0
    assert state.client.zcard(KEYS.active) == 1


def test_the_keys_of_what_is_dropped_are_free_again(state: State) -> None:
    facts: list[dict[str, int]] = [{}, {"priority": 1}, {"delay_ms": 9_000}]
    for number, fact in enumerate(facts):
        state.enqueue(idempotency_key=f"k{number}", **fact)

    state.run(scripts.flush(KEYS, actor="test", count=10))

    assert list(state.client.scan_iter(KEYS.idempotency_family + "*")) == []

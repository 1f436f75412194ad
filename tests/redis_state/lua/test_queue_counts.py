"""queue_counts.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def test_counts_every_state_at_one_instant(state: State) -> None:
    state.dead()
    for facts in ({}, {"priority": 1}, {"delay_ms": 9_000}):
        state.enqueue(**facts)
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1700000000000"}))

    counts = state.run(scripts.queue_counts(KEYS, heartbeat_ms=60_000))

    assert (counts.waiting, counts.delayed, counts.active, counts.failed, counts.dlq) == (2, 1, 0, 1, 1)
    assert counts.paused_since_ms == 1_700_000_000_000 and counts.is_paused
    assert counts.concurrency is None
    assert counts.audit_backlog == len(state.actions())

"""audit_lag.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def test_the_oldest_entrys_age_is_by_the_servers_clock(state: State) -> None:
    assert state.run(scripts.audit_lag(KEYS)) == (0, 0)

    seconds, _ = state.client.time()
    state.client.xadd(KEYS.audit, {"action": "job.enqueued"}, id=f"{(seconds - 90) * 1000}-7")
    state.enqueue()

    count, age_ms = state.run(scripts.audit_lag(KEYS))
    assert count == 2
    assert 90_000 <= age_ms < 150_000


def test_an_entry_from_before_the_clock_was_set_back_is_new(state: State) -> None:
    seconds, _ = state.client.time()
    state.client.xadd(KEYS.audit, {"action": "job.enqueued"}, id=f"{(seconds + 3600) * 1000}-0")

    assert state.run(scripts.audit_lag(KEYS)) == (1, 0)

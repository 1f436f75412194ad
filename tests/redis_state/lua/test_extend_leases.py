"""extend_leases.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def test_extends_what_is_held_and_names_what_is_lost(state: State) -> None:
    held, lost = state.enqueue(), state.enqueue()
    state.fetch(2, lease_ms=1_000)
    state.client.hset(KEYS.job(lost), "delivery", 7)
    before = state.client.zscore(KEYS.active, held)

    call = scripts.extend_leases(KEYS, worker="w:1", lease_ms=60_000, held=[(held, 1), (lost, 1)])
    extended = state.run(call)
    assert extended.lost == [lost] and before - 1_000 <= extended.at_ms < before + 30_000

    assert state.client.zscore(KEYS.active, held) > before + 50_000
    assert state.client.zrange(KEYS.workers, 0, -1) == ["w:1"]

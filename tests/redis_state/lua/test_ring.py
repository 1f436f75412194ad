"""ring.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def test_puts_one_token_and_no_second_beside_it(state: State) -> None:
    assert state.run(scripts.ring(KEYS.wake)) is True
    assert state.run(scripts.ring(KEYS.wake)) is False

    assert state.client.lrange(KEYS.wake, 0, -1) == ["1"]
    assert state.client.ttl(KEYS.wake) == -1


def test_a_token_for_one_process_goes_when_that_process_has(state: State) -> None:
    own = KEYS.waiter("w:1")

    state.run(scripts.ring(own, ttl_ms=60_000))

    assert state.client.lrange(own, 0, -1) == ["1"]
    assert 0 < state.client.pttl(own) <= 60_000

"""put_text.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import State

KEY = "teknav:sign-in-link:x"


def test_a_text_stays_for_a_while(state: State) -> None:
    state.run(scripts.put_text(KEY, text="سارا", ttl_ms=60_000))
    assert state.client.get(KEY) == "سارا" and 0 < state.client.pttl(KEY) <= 60_000

    state.run(scripts.put_text(KEY, text="again", ttl_ms=120_000))
    assert state.client.get(KEY) == "again" and state.client.pttl(KEY) > 60_000

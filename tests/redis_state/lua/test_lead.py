"""lead.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import State


def lead(state: State, holder: str, wish: str = "renew") -> bool:
    return state.run(scripts.lead("teknav:lease:test", holder=holder, lease_ms=60_000, wish=wish))  # type: ignore[arg-type]


def test_one_leads_until_it_releases(state: State) -> None:
    assert lead(state, "a") and lead(state, "a")
    assert not lead(state, "b")
    assert not lead(state, "b", "release")
    assert lead(state, "a", "release")
    assert lead(state, "b")

"""lead.lua"""

from __future__ import annotations

from teknav_ops.redis_state import keys, scripts
from tests.support.state import State


def lead(state: State, holder: str, wish: str = "renew") -> int:
    return state.run(scripts.lead("test", holder=holder, lease_ms=60_000, wish=wish))  # type: ignore[arg-type]


def test_one_leads_until_it_releases(state: State) -> None:
    assert lead(state, "a") == lead(state, "a") == 1
    assert lead(state, "b") == 0
    assert lead(state, "b", "release") == 0
    assert lead(state, "a", "release") == 1
    assert lead(state, "b") == 2
    assert lead(state, "b", "release") == 2


def test_each_taking_begins_a_new_term(state: State) -> None:
    lead(state, "a")
    state.client.delete(keys.lease("test"))

    assert lead(state, "b") == 2
    assert lead(state, "a") == 0


def test_a_term_that_was_lost_is_begun_anew(state: State) -> None:
    lead(state, "a")
    state.client.delete(keys.lease_term("test"))

    assert lead(state, "a") == 1

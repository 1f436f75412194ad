"""promote.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


@pytest.mark.parametrize(("priority", "place"), [(0, "waiting"), (-2, "prioritized")])
def test_a_delayed_job_waits_at_its_place_now(state: State, priority: int, place: str) -> None:
    job_id = state.enqueue(delay_ms=60_000, priority=priority)

    assert state.run(scripts.promote(KEYS, job_id=job_id, actor="sara")) == "promoted"
    assert state.places(job_id) == [place]


def test_other_states_are_refused(state: State) -> None:
    job_id = state.enqueue()
    before = dump(state.client)

    assert state.run(scripts.promote(KEYS, job_id=job_id, actor="sara")) == "waiting"
    assert state.run(scripts.promote(KEYS, job_id="ghost", actor="sara")) == ""
    assert dump(state.client) == before

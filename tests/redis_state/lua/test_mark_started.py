"""mark_started.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_marks_the_current_delivery_only(state: State) -> None:
    job_id = state.enqueue()
    state.fetch()
    assert state.run(scripts.mark_started(KEYS, job_id=job_id, delivery=1)) is True
    before = dump(state.client)

    assert state.run(scripts.mark_started(KEYS, job_id=job_id, delivery=2)) is False
    assert dump(state.client) == before

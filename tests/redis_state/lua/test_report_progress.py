"""report_progress.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_records_progress_of_the_current_delivery_only(state: State) -> None:
    job_id = state.enqueue()
    state.fetch()
    assert state.run(scripts.report_progress(KEYS, job_id=job_id, delivery=1, fraction=0.25, note="a"))
    before = dump(state.client)

    assert not state.run(scripts.report_progress(KEYS, job_id=job_id, delivery=9, fraction=0.5, note="b"))
    assert dump(state.client) == before
    assert state.job(job_id)["progress"] == "0.25"

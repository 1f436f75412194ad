"""cancel.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def cancel(state: State, job_id: str, kept: int = 10) -> str:
    return state.run(scripts.cancel(KEYS, job_id=job_id, actor="sara", cancelled_kept=kept))


@pytest.mark.parametrize("facts", [{}, {"priority": 3}, {"delay_ms": 60_000}])
def test_a_job_that_has_not_begun_is_taken_out(state: State, facts: dict[str, int]) -> None:
    job_id = state.enqueue(**facts)

    assert cancel(state, job_id) == "cancelled"
    assert state.places(job_id) == ["cancelled"]
    assert state.actions()[-1] == "job.cancelled"


def test_an_active_job_is_refused_with_its_state(state: State) -> None:
    job_id = state.enqueue()
    state.fetch()
    before = dump(state.client)

    assert cancel(state, job_id) == "active"
    assert cancel(state, "ghost") == ""
    assert dump(state.client) == before


def test_only_the_newest_cancelled_jobs_stay(state: State) -> None:
    for _ in range(4):
        cancel(state, state.enqueue(), kept=2)

    assert state.client.zcard(KEYS.cancelled) == 2


@pytest.mark.parametrize("facts", [{}, {"priority": 3}, {"delay_ms": 60_000}])
def test_its_key_is_free_again(state: State, facts: dict[str, int]) -> None:
    first = state.enqueue(idempotency_key="k", **facts)
    cancel(state, first)

    second = state.enqueue(idempotency_key="k", **facts)
    assert second != first
    cancel(state, first)
    assert state.client.get(KEYS.idempotency_family + "k") == second

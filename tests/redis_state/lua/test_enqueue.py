"""enqueue.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import NewJob
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_writes_the_record_the_queue_the_audit_entry_and_the_token(state: State) -> None:
    job_id = state.enqueue(trace_id="a" * 32)

    assert state.places(job_id) == ["waiting"]
    assert state.job(job_id)["state"] == "waiting"
    assert state.actions() == ["job.enqueued"]
    assert state.client.lrange(KEYS.wake, 0, -1) == ["1"]


@pytest.mark.parametrize(("facts", "place"), [({"delay_ms": 60_000}, "delayed"), ({"priority": -1}, "prioritized")])
def test_puts_the_job_where_it_waits(state: State, facts: dict[str, int], place: str) -> None:
    assert state.places(state.enqueue(**facts)) == [place]


def test_a_used_idempotency_key_is_refused_with_the_first_jobs_id(state: State) -> None:
    first = state.enqueue(idempotency_key="k")
    before = dump(state.client)
    job = NewJob(id="second", name="work", payload="{}", idempotency_key="k")

    (accepted,) = state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=[job]))

    assert (accepted.job_id, accepted.is_new) == (first, False)
    assert dump(state.client) == before
    assert 0 < state.client.pttl(KEYS.idempotency_family + "k") <= 86_400_000


def test_sending_the_same_job_again_writes_nothing_and_says_it_is_accepted(state: State) -> None:
    state.enqueue(id="one")
    before = dump(state.client)
    job = NewJob(id="one", name="work", payload="{}")

    (accepted,) = state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=[job]))

    assert (accepted.job_id, accepted.is_new) == ("one", True)
    assert dump(state.client) == before


def test_a_thousand_at_once_keep_their_order(state: State) -> None:
    jobs = [NewJob(id=f"{n:04}", name="work", payload="{}") for n in range(1_000)]

    state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=jobs))

    assert state.client.lrange(KEYS.waiting, 0, -1) == [job.id for job in jobs]
    assert state.client.llen(KEYS.wake) == 1

"""note_started.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def note(state: State, *begun: tuple[str, int]) -> int:
    return state.run(scripts.note_started(KEYS, worker="w:1", begun=begun))


def test_a_beginning_is_noted_once_with_what_is_known(state: State) -> None:
    job_id = state.enqueue(trace_id="ab" * 16)
    (delivery,) = state.fetch()
    assert note(state, (job_id, delivery.delivery)) == 1
    assert note(state, (job_id, delivery.delivery)) == 0

    assert state.actions() == ["job.enqueued", "job.started"]
    fields = state.client.xrange(KEYS.audit)[-1][1]
    assert fields.pop("waited_ms").isdecimal()
    assert fields == {
        "action": "job.started", "job_id": job_id, "job_name": "work", "actor": "w:1", "trace_id": "ab" * 16,
        "attempt": "1", "delivery": "1",
    }  # fmt: skip


def test_each_run_of_a_job_is_noted(state: State) -> None:
    job_id = state.enqueue()
    (first,) = state.fetch()
    note(state, (job_id, first.delivery))
    state.postpone(first, delay_ms=0)
    (second,) = state.fetch()
    note(state, (job_id, second.delivery))

    assert state.actions() == ["job.enqueued", "job.started", "job.retried", "job.started"]
    assert state.client.xrange(KEYS.audit)[-1][1]["attempt"] == "2"


def test_a_job_that_is_no_longer_ours_or_is_over_is_left_out(state: State) -> None:
    ids = [state.enqueue() for _ in range(3)]
    deliveries = state.fetch(3)
    state.complete(deliveries[1])

    assert note(state, (ids[0], 2), (ids[1], 1), ("ghost", 1), (ids[2], 1)) == 1
    assert [fields["job_id"] for _, fields in state.client.xrange(KEYS.audit)][-1] == ids[2]

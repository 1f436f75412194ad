"""note_stuck.lua"""

from __future__ import annotations

from teknav_ops.jobs.record import read_record
from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, QUEUE, State
from tests.support.virtual_time import Clock

ATTEMPT = (
    '{"attempt": 1, "delivery": 1, "started_at": 1, "duration_ms": 5, "worker": "w:1", "error_type": "JobStuck", '
    '"error": "e", "stack": "s"}'
)


def note(state: State, job_id: str, delivery: int) -> bool:
    call = scripts.note_stuck(
        KEYS, worker="w:1", job_id=job_id, delivery=delivery, detail="at a.py:3 in f", attempt=ATTEMPT
    )
    return state.run(call)


def test_a_stuck_run_is_noted_once_with_where_it_is(state: State) -> None:
    job_id = state.enqueue(trace_id="ab" * 16)
    (delivery,) = state.fetch()
    assert note(state, job_id, delivery.delivery)
    assert not note(state, job_id, delivery.delivery)

    assert state.actions() == ["job.enqueued", "job.stuck"]
    fields = state.client.xrange(KEYS.audit)[-1][1]
    assert fields.pop("waited_ms").isdecimal()
    assert fields == {
        "action": "job.stuck", "job_id": job_id, "job_name": "work", "actor": "w:1", "trace_id": "ab" * 16,
        "attempt": "1", "delivery": "1", "detail": "at a.py:3 in f",
    }  # fmt: skip
    record = read_record(QUEUE, job_id, state.job(job_id))
    assert record.stuck_at is not None and [run.stack for run in record.attempts] == ["s"]


def test_it_is_stuck_since_now_and_runs_long_ago_are_forgotten(state: State, clock: Clock) -> None:
    job_id = state.enqueue()
    state.client.hset(KEYS.job(job_id), mapping={"delivery": 24} | {f"attempt:{n}": ATTEMPT for n in (4, 5, 6, 45)})
    (delivery,) = state.fetch()
    clock.advance(0.25)

    assert note(state, job_id, delivery.delivery)

    record = state.job(job_id)
    assert record["stuck_at_ms"] == str(clock.now_ms)
    assert {name for name in record if name.startswith("attempt:")} == {f"attempt:{n}" for n in (4, 6, 25, 45)}


def test_a_job_is_stuck_no_longer_when_its_run_is_over_or_lost(state: State) -> None:
    ends, is_lost = state.enqueue(), state.enqueue()
    first, second = state.fetch(2)
    note(state, ends, first.delivery)
    note(state, is_lost, second.delivery)
    state.postpone(first, delay_ms=0)
    state.expire_leases()
    state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=1_000, worker="w:2"))
    assert len(state.fetch(2)) == 2

    assert [read_record(QUEUE, job_id, state.job(job_id)).stuck_at for job_id in (ends, is_lost)] == [None, None]
    # The end of a run takes the place of its note; of the lost one the note is all that says where it was.
    (lost,) = read_record(QUEUE, is_lost, state.job(is_lost)).attempts
    assert lost.error_type == "JobStuck"


def test_a_job_that_is_no_longer_ours_or_is_over_is_left_out(state: State) -> None:
    job_id = state.enqueue()
    (delivery,) = state.fetch()

    assert not note(state, job_id, delivery.delivery + 1)
    assert not note(state, "ghost", 1)
    state.complete(delivery)
    assert not note(state, job_id, delivery.delivery)
    assert state.actions() == ["job.enqueued", "job.completed"]

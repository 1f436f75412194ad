"""Cases for what producers and workers send."""

from __future__ import annotations

from typing import Any, Final

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Call, NewJob
from tests.fault_points.cases import ENDED, JOB, OTHER_JOB, CaseList, Play, enqueue_call, fetch_call, held, reclaim_call
from tests.support.state import KEYS, failure, run_of

CASES: Final = CaseList()


@CASES.add("enqueue")
def _(state: Play) -> Call[Any]:
    return enqueue_call(idempotency_key="key")


@CASES.add("enqueue: with a priority, a delay, and a key that is used")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=OTHER_JOB, idempotency_key="used")
    facts = ({"priority": -3}, {"delay_ms": 60_000}, {"idempotency_key": "used"}, {"idempotency_key": "new"})
    jobs = [NewJob(id=f"new-{n}", name="work", payload="{}", **fact) for n, fact in enumerate(facts)]  # type: ignore[arg-type]
    return scripts.enqueue(KEYS, idempotency_ms=86_400_000, actor="test", jobs=jobs)


@CASES.add("fetch")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return fetch_call()


@CASES.add("fetch: more jobs wait than are asked for")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB)
    return fetch_call()


@CASES.add("fetch: under a rate limit")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB)
    return fetch_call(rate_count=5)


@CASES.add("fetch: a job of another priority is left")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB, priority=3)
    return fetch_call()


@CASES.add("fetch: a delayed job with a priority is due")
def _(state: Play) -> Call[Any]:
    state.postpone(held(state, priority=2), delay_ms=0)
    return fetch_call()


@CASES.add("complete")
def _(state: Play) -> Call[Any]:
    runs = [(run_of(held(state)), '{"ok": true}')]
    return scripts.complete(KEYS, worker="w:1", completed_kept=1_000, wakes=True, runs=runs)


@CASES.add("complete: a group of which one job has gone to another worker")
def _(state: Play) -> Call[Any]:
    lost = held(state, lease_ms=ENDED)
    state.run(reclaim_call())
    state.enqueue(id=OTHER_JOB)
    state.enqueue(id="job-3")
    mine = [delivery for delivery in state.fetch(3) if delivery.id != lost.id]
    runs = [(run_of(delivery), "") for delivery in (lost, *mine)]
    return scripts.complete(KEYS, worker="w:1", completed_kept=1_000, wakes=False, runs=runs)


@CASES.add("postpone")
def _(state: Play) -> Call[Any]:
    run = run_of(held(state))
    return scripts.postpone(KEYS, worker="w:1", run=run, failure=failure(), delay_ms=60_000, uses_attempt=True)


@CASES.add("postpone: a snooze")
def _(state: Play) -> Call[Any]:
    run = run_of(held(state))
    return scripts.postpone(KEYS, worker="w:1", run=run, failure=failure(), delay_ms=60_000, uses_attempt=False)


@CASES.add("dead_letter")
def _(state: Play) -> Call[Any]:
    return scripts.dead_letter(KEYS, worker="w:1", run=run_of(held(state)), failure=failure(), failed_kept=5_000)


@CASES.add("extend_leases")
def _(state: Play) -> Call[Any]:
    delivery = held(state)
    pairs = [(delivery.id, delivery.delivery), ("gone", 1)]
    return scripts.extend_leases(KEYS, worker="w:1", lease_ms=60_000, held=pairs)


@CASES.add("reclaim")
def _(state: Play) -> Call[Any]:
    held(state, lease_ms=ENDED)
    return reclaim_call()


@CASES.add("reclaim: a job that has cost too many workers their life")
def _(state: Play) -> Call[Any]:
    held(state, lease_ms=ENDED)
    return reclaim_call(lost_limit=1)


@CASES.add("mark_started")
def _(state: Play) -> Call[Any]:
    return scripts.mark_started(KEYS, job_id=JOB, delivery=held(state).delivery)


@CASES.add("note_started")
def _(state: Play) -> Call[Any]:
    return scripts.note_started(KEYS, worker="w:1", begun=[(JOB, held(state).delivery)])


@CASES.add("note_stuck")
def _(state: Play) -> Call[Any]:
    return scripts.note_stuck(
        KEYS, worker="w:1", job_id=JOB, delivery=held(state).delivery, detail="here", attempt="{}"
    )


@CASES.add("report_progress")
def _(state: Play) -> Call[Any]:
    return scripts.report_progress(KEYS, job_id=JOB, delivery=held(state).delivery, fraction=0.5, note="half")


@CASES.add("release")
def _(state: Play) -> Call[Any]:
    return scripts.release(KEYS, held=[(JOB, held(state).delivery)])


@CASES.add("ring")
def _(state: Play) -> Call[Any]:
    return scripts.ring(KEYS.wake)


@CASES.add("ring: for one process")
def _(state: Play) -> Call[Any]:
    return scripts.ring(KEYS.waiter("w:1"), ttl_ms=60_000)

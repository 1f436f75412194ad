"""complete.lua"""

from __future__ import annotations

import dataclasses

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State, run_of


def test_finishes_jobs_with_record_counters_sketch_and_audit(state: State) -> None:
    job_id = state.enqueue()
    (delivery,) = state.fetch()

    assert state.complete(delivery) == [1]

    assert state.places(job_id) == ["completed"]
    assert state.job(job_id)["result"] == '{"ok": true}'
    assert state.actions() == ["job.enqueued", "job.completed"]
    (minute,) = state.client.scan_iter(KEYS.minute_family + "*")
    counters = state.client.hgetall(minute)
    assert counters["work|completed"] == "1" and counters["work|b41"] == "1" and counters["work|sum_us"] == "5000"
    assert "work|waited_ms" in counters
    assert "waited_ms" in state.client.xrange(KEYS.audit)[-1][1]


def test_each_record_says_when_its_own_run_began_and_how_long_it_took(state: State) -> None:
    ids = [state.enqueue(), state.enqueue()]
    deliveries = state.fetch(2)
    runs = [
        dataclasses.replace(run_of(d), started_at_ms=1_000 + n, duration_ms=7.0 + n) for n, d in enumerate(deliveries)
    ]

    call = scripts.complete(KEYS, worker="w:1", completed_kept=10, wakes=False, runs=[(run, "") for run in runs])
    assert state.run(call) == [1, 1]

    records = [state.job(run.job_id) for run in runs]
    assert {run.job_id for run in runs} == set(ids)
    assert [record["started_at_ms"] for record in records] == ["1000", "1001"]
    assert [float(record["duration_ms"]) for record in records] == [7.0, 8.0]


def test_totals_count_on_when_the_minutes_are_gone(state: State) -> None:
    for _ in range(2):
        state.enqueue()
        (delivery,) = state.fetch()
        state.complete(delivery)
        state.client.delete(*state.client.scan_iter(KEYS.minute_family + "*"))

    totals = state.client.hgetall(KEYS.totals)
    assert int(totals.pop("work|waited_ms")) >= 0
    assert totals == {"enqueued": "2", "work|completed": "2", "work|b41": "2", "work|sum_us": "10000"}
    assert state.client.ttl(KEYS.totals) == -1


def test_a_job_that_makes_room_under_a_limit_wakes_one_worker(state: State) -> None:
    for _ in range(3):
        state.enqueue()
    first, second, third = state.fetch(3)
    state.client.delete(KEYS.wake)

    state.complete(first)
    assert state.client.llen(KEYS.wake) == 0
    state.complete(second, wakes=True)
    state.complete(third, wakes=True)
    assert state.client.llen(KEYS.wake) == 1


def test_finishing_twice_is_recognised_and_writes_nothing(state: State) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    state.complete(delivery)
    before = dump(state.client)

    assert state.complete(delivery) == [2]
    assert dump(state.client) == before


def test_a_stale_delivery_is_refused_and_writes_nothing(state: State) -> None:
    state.enqueue()
    (old,) = state.fetch()
    state.expire_leases()
    state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=1_000, worker="w:2"))
    (new,) = state.fetch()
    before = dump(state.client)

    assert state.complete(old) == [0]
    assert dump(state.client) == before
    assert state.complete(new) == [1]


def test_only_the_newest_records_stay(state: State) -> None:
    for _ in range(5):
        state.enqueue()
    deliveries = state.fetch(5)

    state.complete(*deliveries, kept=2)

    assert state.client.zcard(KEYS.completed) == 2
    assert len(list(state.client.scan_iter(KEYS.job_family + "*"))) == 2

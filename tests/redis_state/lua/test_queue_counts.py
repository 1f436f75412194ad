"""queue_counts.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import QueueCounts
from tests.support.state import KEYS, State


def count(state: State) -> QueueCounts:
    counts: QueueCounts = state.run(scripts.queue_counts(KEYS, heartbeat_ms=60_000))
    return counts


def age(state: State, job_id: str, *, seconds: int, field: str = "enqueued_at_ms") -> None:
    """Say that a job has waited for so long."""
    state.client.hset(KEYS.job(job_id), field, now_ms(state) - seconds * 1000)


def now_ms(state: State) -> int:
    seconds, microseconds = state.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_counts_every_state_at_one_instant(state: State) -> None:
    state.dead()
    for facts in ({}, {"priority": 1}, {"delay_ms": 9_000}):
        state.enqueue(**facts)
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1700000000000"}))
    before = now_ms(state)

    counts = count(state)

    assert (counts.waiting, counts.delayed, counts.active, counts.failed, counts.dlq) == (2, 1, 0, 1, 1)
    assert counts.paused_since_ms == 1_700_000_000_000 and counts.is_paused
    assert counts.concurrency is None
    assert counts.audit_backlog == len(state.actions())
    assert before <= counts.at_ms <= now_ms(state)


def test_nothing_waits_in_an_empty_queue(state: State) -> None:
    counts = count(state)

    assert (counts.waiting, counts.oldest_waiting_age_ms, counts.audit_backlog, counts.audit_lag_ms) == (0, None, 0, 0)


def test_the_head_of_the_list_has_waited_longest(state: State) -> None:
    oldest, *_ = [state.enqueue() for _ in range(3)]
    age(state, oldest, seconds=40)

    assert 40_000 <= count(state).oldest_waiting_age_ms < 100_000  # type: ignore[operator]


@pytest.mark.parametrize("priority", [-9, -1, 1, 9])
def test_every_priority_is_looked_at(state: State, priority: int) -> None:
    for level in (-9, -5, -1, 0, 1, 5, 9):
        state.enqueue(priority=level)
    oldest = state.client.zrangebyscore(KEYS.prioritized, priority * 2**40, (priority + 1) * 2**40)[0]
    age(state, oldest, seconds=70)

    assert 70_000 <= count(state).oldest_waiting_age_ms < 130_000  # type: ignore[operator]


def test_a_retry_waits_from_when_it_was_due(state: State) -> None:
    job_id = state.enqueue()
    age(state, job_id, seconds=3_000)
    age(state, job_id, seconds=20, field="ready_at_ms")

    assert 20_000 <= count(state).oldest_waiting_age_ms < 80_000  # type: ignore[operator]


def test_what_fell_due_waits_though_no_worker_has_asked_since(state: State) -> None:
    state.enqueue(delay_ms=3_600_000)
    assert count(state).oldest_waiting_age_ms is None

    overdue = state.enqueue(delay_ms=3_600_000)
    state.client.zadd(KEYS.delayed, {overdue: now_ms(state) - 30_000})
    assert 30_000 <= count(state).oldest_waiting_age_ms < 90_000  # type: ignore[operator]

    age(state, state.enqueue(), seconds=600)
    assert count(state).oldest_waiting_age_ms >= 600_000  # type: ignore[operator]


@pytest.mark.parametrize("facts", [{}, {"priority": 3}])
def test_a_damaged_or_missing_record_breaks_nothing(state: State, facts: dict[str, int]) -> None:
    damaged, missing, nonsense, whole = [state.enqueue(**facts) for _ in range(4)]
    state.client.delete(KEYS.job(damaged), KEYS.job(missing))
    state.client.set(KEYS.job(damaged), "no hash")
    age(state, whole, seconds=50)
    state.client.hset(KEYS.job(nonsense), "enqueued_at_ms", "yesterday")

    counts = count(state)

    assert counts.waiting == 4
    assert 50_000 <= counts.oldest_waiting_age_ms < 110_000  # type: ignore[operator]


def test_a_clock_that_stepped_back_makes_no_negative_ages(state: State) -> None:
    age(state, state.enqueue(), seconds=-3_600)
    state.client.xtrim(KEYS.audit, 0)
    state.client.xadd(KEYS.audit, {"action": "job.enqueued"}, id=f"{now_ms(state) + 3_600_000}-0")

    counts = count(state)

    assert (counts.oldest_waiting_age_ms, counts.audit_lag_ms) == (0, 0)


def test_the_audit_lag_is_the_age_of_the_oldest_entry(state: State) -> None:
    state.client.xadd(KEYS.audit, {"action": "job.enqueued"}, id=f"{now_ms(state) - 90_000}-0")
    state.enqueue()

    counts = count(state)

    assert counts.audit_backlog == 2
    assert 90_000 <= counts.audit_lag_ms < 150_000


def test_the_totals_count_what_ended_though_its_records_are_gone(state: State) -> None:
    for _ in range(3):
        state.enqueue()
    for delivery in state.fetch(3):
        state.complete(delivery)
    state.dead()
    state.client.delete(KEYS.completed, KEYS.failed)

    counts = count(state)

    assert (counts.completed, counts.failed) == (0, 0)
    assert (counts.completed_total, counts.failed_total) == (3, 1)


def test_damaged_totals_hide_no_other_count(state: State) -> None:
    state.enqueue()
    state.client.set(KEYS.totals, "no hash")

    counts = count(state)

    assert (counts.waiting, counts.completed_total, counts.failed_total) == (1, None, None)

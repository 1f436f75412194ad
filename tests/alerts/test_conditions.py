"""Rules times facts, without anything else."""

from __future__ import annotations

from typing import Any

import pytest

from teknav_ops.alerts.conditions import Condition, evaluate
from teknav_ops.alerts.facts import Facts, QueueFacts
from teknav_ops.jobs.sketch import RunDurations, bucket
from teknav_ops.jobs.worker_queries import HeldJob
from teknav_ops.metrics.minutes import MINUTE_MS, MinuteCounts
from teknav_ops.redis_state.scripts import ServerMemory
from teknav_ops.redis_state.server_clock import ClockFacts
from teknav_ops.triage.burn_rate import EventCounts
from tests.alerts.conftest import rules

NOW = 29_000_000  # minutes
HOUR = NOW // 60


def minute(at: int, *, completed: int = 0, failed: int = 0, duration_ms: float = 50.0) -> dict[int, MinuteCounts]:
    row = MinuteCounts(
        minute=at, job=None, enqueued=0, completed=completed, failed=failed, retried=0,
        completed_runs=RunDurations(0.0, {bucket(duration_ms): completed}),
    )  # fmt: skip
    return {at: row}


def queue(**facts: Any) -> QueueFacts:
    calm = {
        "queue": "test:work", "at_ms": NOW * MINUTE_MS, "time_limit_ms": 60_000, "waiting": 0, "dlq": 0, "workers": 2,
        "is_paused": False, "oldest_waiting_age_ms": None, "audit_backlog": 0, "audit_lag_ms": 0, "stats_age_ms": 500,
    }  # fmt: skip
    return QueueFacts(**{**calm, **facts})


def memory(used: int, limit: int, server: str = "a") -> ServerMemory:
    """In MiB."""
    return ServerMemory(server, used * 2**20, limit * 2**20)


def look(rule: dict[str, Any], **facts: Any) -> Condition:
    (condition,) = evaluate(rules({**rule, "queues": ["test:work"]}), Facts({"test:work": queue(**facts)}))
    return condition


def test_dead_letters_are_counted_within_the_window_only() -> None:
    rule = {"kind": "dlq_inflow", "limit_count": 3, "window_minutes": 10}
    inside, outside = minute(NOW - 9, failed=2), minute(NOW - 11, failed=100)

    assert not look(rule, minutes=inside | outside | minute(NOW, failed=1)).is_firing
    over = look(rule, dlq=70, minutes=inside | outside | minute(NOW, failed=2))
    assert (over.is_firing, over.value, over.limit, over.unit) == (True, 4, 3, "jobs")
    assert over.message == "test:work: 4 new dead letters in 10 min (limit 3), 70 in all"


def test_the_oldest_job_may_wait_as_long_as_the_limit_and_longer_while_the_queue_is_paused() -> None:
    rule = {"kind": "oldest_waiting_age", "limit_seconds": 60}

    assert not look(rule, waiting=5, oldest_waiting_age_ms=60_000).is_firing
    late = look(rule, waiting=5, oldest_waiting_age_ms=61_000)
    assert late.is_firing and "the oldest of 5 waiting jobs has waited 61 s (limit 60 s)" in late.message
    due = look(rule, waiting=0, oldest_waiting_age_ms=61_000)
    assert due.is_firing and "the oldest job that fell due has waited 61 s (limit 60 s)" in due.message
    assert not look(rule, waiting=5, oldest_waiting_age_ms=61_000, is_paused=True).is_firing
    forgotten = look({**rule, "counts_paused": True}, waiting=5, oldest_waiting_age_ms=90_000_000, is_paused=True)
    assert forgotten.is_firing and forgotten.message.endswith("has waited 25.0 h (limit 60 s); the queue is paused")
    assert not look(rule).is_firing


def test_p95_is_judged_by_the_target_or_by_half_the_time_limit_and_only_with_enough_runs() -> None:
    rule = {"kind": "p95_over_target", "least_run_count": 100, "window_minutes": 5}
    slow = minute(NOW, completed=100, duration_ms=31_000)

    assert look(rule, minutes=slow).is_firing
    assert not look({**rule, "target_ms": 40_000}, minutes=slow).is_firing
    few = look(rule, minutes=minute(NOW, completed=99, duration_ms=31_000))
    assert (few.state, few.value) == ("clear", None) and "too few for a p95" in few.message
    assert not look(rule, minutes=minute(NOW - 6, completed=100, duration_ms=31_000)).is_firing


@pytest.mark.parametrize(
    ("clock", "message"),
    [
        (ClockFacts(200, 0, 0), None),
        (ClockFacts(-7_000, 0, 0), "is 7 s behind the scheduler's machine (limit 5 s)"),
        (ClockFacts(0, 3_600_000, NOW * MINUTE_MS - 60_000), "was set 60 min forward, 60 s ago (limit 5 s)"),
        (ClockFacts(0, -20_000, NOW * MINUTE_MS - 1_000), "was set 20 s back, 1 s ago (limit 5 s)"),
        (ClockFacts(0, 3_600_000, NOW * MINUTE_MS - 3_600_000), None),
        (ClockFacts(0, 4_000, NOW * MINUTE_MS), None),
    ],
)
def test_a_clock_that_was_set_or_is_far_from_ours_fires_once(clock: ClockFacts, message: str | None) -> None:
    facts = Facts({name: queue(queue=name) for name in ("test:work", "test:other")}, clock)

    first, second = evaluate(rules({"kind": "server_clock"}), facts)

    assert first.is_firing == (message is not None) and (message or "") in first.message
    assert (second.state, second.value) == ("clear", None)


def test_a_stuck_job_fires_and_the_message_names_one() -> None:
    stuck = [HeldJob("test:work", f"j{n}", "work", "host:7", None, None, None, None) for n in (1, 2)]

    assert not look({"kind": "stuck_jobs"}).is_firing
    assert not look({"kind": "stuck_jobs", "limit_count": 2}, stuck=stuck).is_firing
    condition = look({"kind": "stuck_jobs"}, stuck=stuck)
    assert condition.is_firing and condition.value == 2
    assert "2 running past their time limit" in condition.message and "such as work j1 on host:7" in condition.message


def test_a_burning_budget_pages_by_the_minute() -> None:
    rule = {"kind": "burn_rate", "severity": "page", "objective": 0.99}
    broken = minute(NOW, completed=80, failed=20) | minute(NOW - 59, completed=60)

    burning = look(rule, minutes=broken)
    assert burning.is_firing and "12.5 times too fast over 6 h (limit 6), 160 jobs finished" in burning.message
    fast = look(rule, minutes=minute(NOW, completed=80, failed=20))
    assert fast.is_firing and "20.0 times too fast over 1 h (limit 14.4)" in fast.message
    few = look(rule, minutes=minute(NOW, completed=5, failed=94))
    assert not few.is_firing and few.message.endswith("99 jobs finished, too few to judge")
    assert look(rule).message == "test:work: no job finished in 1 h"
    ended = minute(NOW - 40, completed=80, failed=20) | minute(NOW, completed=60)
    assert not look(rule, minutes=ended).is_firing


def test_a_slow_leak_is_judged_by_hours_on_record_and_the_minutes_of_this_one() -> None:
    rule = {"kind": "burn_rate", "severity": "ticket", "objective": 0.99}
    leak = {hour: EventCounts(100, 2) for hour in range(HOUR - 71, HOUR)}
    recent = {at: row for hour in range(6) for at, row in minute(NOW - 60 * hour, completed=98, failed=2).items()}

    leaking = look(rule, minutes=recent, hours=leak)
    assert leaking.is_firing
    assert "2.0 times too fast over 72 h (limit 1), 7,200 jobs finished" in leaking.message
    mended = {at: row for hour in range(6) for at, row in minute(NOW - 60 * hour, completed=100).items()}
    assert not look(rule, minutes=mended, hours=leak).is_firing
    # An hour that is over and not on record yet is counted from its minutes.
    late = {hour: events for hour, events in leak.items() if hour < HOUR - 1}
    assert look(rule, minutes=recent, hours=late).message == leaking.message


def test_without_the_record_of_hours_a_slow_leak_is_unknown_and_not_mended() -> None:
    assert look({"kind": "burn_rate", "severity": "ticket"}).state == "unknown"
    assert look({"kind": "burn_rate", "severity": "page"}).state == "clear"


def test_audit_lag_is_the_age_of_the_oldest_entry() -> None:
    rule = {"kind": "audit_lag", "limit_seconds": 120}

    assert not look(rule, audit_lag_ms=120_000, audit_backlog=3).is_firing
    behind = look(rule, audit_lag_ms=600_000, audit_backlog=3_000)
    assert behind.is_firing and "3,000 audit entries" in behind.message and "10 min (limit 2 min)" in behind.message


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        ({"waiting": 3, "workers": 0}, True),
        ({"waiting": 3, "workers": 1}, False),
        ({"waiting": 0, "workers": 0}, False),
        ({"waiting": 3, "workers": 0, "is_paused": True}, False),
    ],
)
def test_a_queue_with_work_needs_a_worker_that_answers(facts: dict[str, Any], fires: bool) -> None:
    assert look({"kind": "no_heartbeat"}, **facts).is_firing is fires


def test_stats_must_be_published_and_young() -> None:
    rule = {"kind": "stats_stale", "limit_seconds": 30}

    assert not look(rule, stats_age_ms=30_000).is_firing
    assert look(rule, stats_age_ms=31_000).is_firing
    assert look(rule, stats_age_ms=None).message == "test:work: nobody has published stats"


def test_a_server_fills_up_to_its_limit_if_it_has_one() -> None:
    rule = {"kind": "redis_memory", "limit_ratio": 0.8}

    assert not look(rule, redis_memory=memory(80, 100)).is_firing
    filling = look(rule, redis_memory=memory(91, 100))
    assert filling.is_firing and "has used 91% of 100 MiB (limit 80%)" in filling.message
    assert (filling.value, filling.limit, filling.unit) == (91.0, 80.0, "%")
    assert look(rule, redis_memory=memory(91, 0)).state == "clear"


def test_a_server_is_told_of_once_and_each_server_of_its_own() -> None:
    def states(*on: str | None) -> list[str]:
        """By queue, where each lies on the named server, or its memory could not be read."""
        facts = Facts({
            name: queue(queue=name, redis_memory=server and memory(9, 10, server))
            for name, server in zip(("test:other", "test:work"), on, strict=True)
        })  # fmt: skip
        return [condition.state for condition in evaluate(rules({"kind": "redis_memory"}), facts)]

    # What does not speak for its server is clear, so that its alert ends when another comes to speak.
    assert states("a", "a") == ["firing", "clear"]
    assert states("a", "b") == ["firing", "firing"]
    assert states(None, "a") == ["unknown", "firing"]
    assert states(None, None) == ["unknown", "unknown"]


def test_a_rule_looks_at_its_queues_and_at_those_that_could_be_read() -> None:
    facts = Facts({"test:other": queue(queue="test:other")})

    found = evaluate(rules({"kind": "no_heartbeat"}, {"kind": "audit_lag", "queues": ["test:work"]}), facts)

    assert [condition.key for condition in found] == ["no-heartbeat|test:other"]

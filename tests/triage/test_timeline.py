"""Waits and runs are worked out from the ends of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from teknav_ops.audit.trail import AuditEntry
from teknav_ops.triage.timeline import stretches

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def entry(seconds: float, action: str, **facts: object) -> AuditEntry:
    given = {"queue": "q", "job_id": "j", "job_name": "work", **facts}
    return AuditEntry(id=1, at=NOON + timedelta(seconds=seconds), action=action, **given)  # type: ignore[arg-type]


def test_a_retried_job_waited_ran_waited_and_ran() -> None:
    entries = [
        entry(0, "job.enqueued"),
        entry(5, "job.retried", attempt=1, duration_ms=2_000.0, waited_ms=3_000.0, error_type="Boom"),
        entry(20, "job.completed", attempt=2, duration_ms=4_000.0, waited_ms=1_000.0),
        entry(20, "dlq.added", attempt=2, duration_ms=4_000.0),
    ]

    found = stretches(entries)

    seconds = [(s.part, (s.since - NOON).total_seconds(), (s.until - NOON).total_seconds(), s.outcome) for s in found]
    assert seconds == [
        ("waited", 0, 3, "retried"), ("ran", 3, 5, "retried"), ("waited", 15, 16, "completed"),
        ("ran", 16, 20, "completed"),
    ]  # fmt: skip
    assert [s.error_type for s in found] == ["Boom", "Boom", None, None]


def test_a_run_of_which_nobody_knows_how_long_it_took_is_left_out() -> None:
    assert stretches([entry(5, "job.failed", attempt=1), entry(6, "job.completed", job_id=None, duration_ms=1.0)]) == []

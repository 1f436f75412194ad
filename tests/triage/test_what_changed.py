"""What changed, ranked; and that an ordinary hour changes nothing."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.what_changed import Cause, JobCounts, WhatChanged, period_before, summarize

SINCE = datetime(2026, 11, 24, 12, tzinfo=UTC)
PERIODS = {"since": SINCE, "until": SINCE + timedelta(hours=1), "before_since": SINCE - timedelta(hours=4)}


def job(queue: str = "mail", name: str | None = "send", **facts: Any) -> JobCounts:
    usual = {"enqueued": 0, "completed": 0, "failed": 0, "retried": 0, "n": 0, "p95_ms": None}
    return JobCounts(queue=queue, job_name=name, **{**usual, **facts})


def look(before: JobCounts | None, window: JobCounts | None, **facts: Any) -> WhatChanged:
    return summarize([before] if before else [], [window] if window else [], **{**PERIODS, **facts})


def kinds(found: WhatChanged) -> list[str]:
    return [change.kind for change in found.changes]


def test_counts_are_compared_per_time() -> None:
    steady = look(job(enqueued=4_000, completed=4_000), job(enqueued=1_000, completed=1_000))
    doubled = look(job(enqueued=4_000, completed=4_000), job(enqueued=2_000, completed=1_000))

    assert steady.changes == []
    (change,) = doubled.changes
    assert (change.kind, change.size) == ("arrivals", pytest.approx(1.0, abs=0.01))
    assert change.words == "mail send: arrivals ×2.00 (16.7/min to 33.3/min)"


def test_an_ordinary_hour_changes_nothing() -> None:
    chance = random.Random(3)

    def poisson(mean: float) -> int:
        return sum(chance.random() < mean / 10_000 for _ in range(10_000))

    false_alarms = 0
    for _ in range(60):
        before = job(enqueued=poisson(400), completed=poisson(380), failed=poisson(20), n=380, p95_ms=100.0)
        window = job(enqueued=poisson(100), completed=poisson(95), failed=poisson(5), n=95, p95_ms=300.0)
        false_alarms += bool(look(before, window).changes)

    assert false_alarms == 0


def test_errors_are_judged_by_their_share() -> None:
    found = look(job(completed=3_960, failed=40), job(completed=800, retried=150, failed=50))

    (change,) = [change for change in found.changes if change.kind == "error rate"]
    assert (change.before, change.after) == (0.01, 0.2)
    assert change.words == "mail send: 1.0% to 20.0% of runs end in an error (1,000 runs)"
    few = look(job(completed=10), job(completed=1, failed=1))
    assert "error rate" not in kinds(few)


def test_p95_needs_enough_runs_on_both_sides() -> None:
    slow = look(job(n=1_000, p95_ms=100.0), job(n=200, p95_ms=400.0))

    assert [change.words for change in slow.changes] == ["mail send: p95 of completed runs 100 to 400 ms (200 runs)"]
    assert look(job(n=1_000, p95_ms=100.0), job(n=199, p95_ms=400.0)).changes == []
    assert look(job(n=1_000, p95_ms=100.0), job(n=1_000, p95_ms=110.0)).changes == []


def test_a_job_that_is_new_and_one_that_fell_silent() -> None:
    usual, new = job(enqueued=4), job(name="other", enqueued=3)
    assert kinds(summarize([usual], [job(enqueued=1), new], **PERIODS)) == ["new job"]
    assert kinds(look(job(enqueued=400), None)) == ["silent job"]
    assert kinds(look(job(enqueued=30), None)) == []


def test_without_a_time_before_no_job_is_called_new() -> None:
    found = look(None, job(enqueued=3))
    assert kinds(found) == [] and not found.is_comparable
    assert "so there is nothing to compare with" in found.words()[0]
    assert look(job(enqueued=1), job(enqueued=1)).is_comparable


def test_a_cause_is_new_if_it_was_never_seen_before() -> None:
    def cause(first_seen_at: datetime, count: int = 40) -> Cause:
        return Cause(queue="mail", fingerprint="f1", error_type="OSError", example_error="no\nroute", n_in_window=count,
                     first_seen_at=first_seen_at)  # fmt: skip

    new = look(None, None, causes=[cause(SINCE)])
    old = look(None, None, causes=[cause(SINCE - timedelta(seconds=1))])

    assert [change.words for change in new.changes] == ["mail: new cause OSError f1, 40 times: no route"]
    assert old.changes == []


def test_the_largest_change_comes_first_and_operators_are_told_in_order() -> None:
    actions = [{"at": SINCE + timedelta(minutes=minute), "action": "queue.paused"} for minute in (30, 10)]
    found = summarize(
        [job(enqueued=4_000, completed=4_000, n=4_000, p95_ms=100.0)],
        [job(enqueued=1_500, completed=100, failed=900, n=1_000, p95_ms=150.0)],
        **PERIODS, workers={"mail": (2, 2), "sms": (3, 0)}, operator_actions=actions,
    )  # fmt: skip

    assert kinds(found) == ["error rate", "completions", "workers", "arrivals", "p95"]
    assert [action["at"].minute for action in found.operator_actions] == [10, 30]
    assert found.words(1) == [found.changes[0].words]
    frame = found.to_frame()
    assert list(frame.kind) == kinds(found) and frame["size"].is_monotonic_decreasing
    assert list(look(None, None).to_frame().columns) == list(frame.columns)


def test_periods_must_follow_each_other() -> None:
    with pytest.raises(InvalidRequest, match="since"):
        look(None, None, until=SINCE)
    assert period_before(SINCE, SINCE + timedelta(hours=1)) == SINCE - timedelta(hours=4)
    assert period_before(SINCE, SINCE + timedelta(hours=1), timedelta(days=1)) == SINCE - timedelta(days=1)

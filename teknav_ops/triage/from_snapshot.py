"""Triage over a snapshot: the questions asked, and the answers handed to what judges them."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.snapshots import questions
from teknav_ops.snapshots.open import Snapshot
from teknav_ops.snapshots.questions.asking import require_span
from teknav_ops.triage.proportions import ErrorRates
from teknav_ops.triage.regression import LEAST_COUNT, Regression, compare
from teknav_ops.triage.what_changed import Cause, JobCounts, WhatChanged, period_before, summarize

if TYPE_CHECKING:
    import pandas

Window = tuple[datetime, datetime]

#: One bucket holds any window.
_WHOLE: Final = timedelta(days=36_500)
_CAUSES: Final = 500


def compare_windows(
    snapshot: Snapshot, queue: str, window: Window, baseline: Window, *, job_name: str | None = None,
    quantile: float = 0.95, least_count: int = LEAST_COUNT, outcome: RunOutcome = "completed",
) -> Regression:  # fmt: skip
    """Did a queue's runs of the outcome (or those of one job) get slower in `window` than they were in `baseline`, and
    did the share of runs that fail move?
    """
    asked: dict[str, Any] = {"queues": queue, "job_name": job_name, "outcome": outcome}
    before, now = (
        questions.run_durations(snapshot, since=since, until=until, **asked).duration_ms
        for since, until in (baseline, window)
    )
    found = compare(before.to_numpy(), now.to_numpy(), quantile=quantile, least_count=least_count)
    found = dataclasses.replace(found, outcome=outcome)
    rates = ErrorRates(*(n for period in (baseline, window) for n in _ended(snapshot, queue, job_name, period)))
    if outcome == "any" and rates.has_moved and found.verdict != "too few":
        # Runs that fail at once are no speed.
        found = dataclasses.replace(found, verdict="errors moved")
    return dataclasses.replace(found, error_rates=rates)


def _ended(snapshot: Snapshot, queue: str, job_name: str | None, period: Window) -> tuple[int, int]:
    """Runs that failed, and all that ended."""
    counts = questions.run_summary(snapshot, queues=queue, since=period[0], until=period[1])
    if job_name is not None:
        counts = counts[counts["job_name"] == job_name]
    completed, failed, retried = (int(counts[name].sum()) for name in ("completed", "failed", "retried"))
    return failed + retried, completed + failed + retried


def what_changed(
    snapshot: Snapshot, since: datetime, until: datetime, *, before: timedelta | None = None,
    queues: str | list[str] | None = None,
) -> WhatChanged:  # fmt: skip
    """An incident's window against the time `before` it (four times as long, unless given).

    New causes are those that were never seen before in all that the snapshot holds.

    Raises:
        InvalidRequest: an end is missing or no time, or the window or the time before it has no length.
    """
    require_span(since, until)
    if before is not None and not (isinstance(before, timedelta) and before > timedelta(0)):
        raise InvalidRequest(f"before: {before!r:.60} is no length of time; write timedelta(hours=…)")
    before_since = period_before(since, until, before)
    window: dict[str, Any] = {"queues": queues, "since": since, "until": until}
    earlier: dict[str, Any] = {"queues": queues, "since": before_since, "until": since}
    return summarize(
        _counts(questions.run_summary(snapshot, **earlier)),
        _counts(questions.run_summary(snapshot, **window)),
        since=since,
        until=until,
        before_since=before_since,
        causes=_causes(questions.fingerprints_over_time(snapshot, width=_WHOLE, top=_CAUSES, **window)),
        workers=_workers(
            questions.queue_metrics(snapshot, **earlier), questions.queue_metrics(snapshot, **window)
        ),
        operator_actions=_rows(questions.operator_actions(snapshot, **window)),
    )  # fmt: skip


def _rows(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _counts(frame: pandas.DataFrame) -> list[JobCounts]:
    return [
        JobCounts(
            queue=row["queue"], job_name=row["job_name"] or None, enqueued=row["enqueued"],
            completed=row["completed"], failed=row["failed"], retried=row["retried"], n=row["n"],
            p95_ms=None if row["p95_ms"] is None or math.isnan(row["p95_ms"]) else row["p95_ms"],
        )
        for row in _rows(frame)
    ]  # fmt: skip


def _causes(frame: pandas.DataFrame) -> list[Cause]:
    return [
        Cause(
            queue=row["queue"], fingerprint=row["fingerprint"], error_type=row["error_type"] or "?",
            example_error=row["example_error"] or None, first_seen_at=row["first_seen_at"].to_pydatetime(),
            n_in_window=row["n_in_window"],
        )
        for row in _rows(frame)
    ]  # fmt: skip


def _workers(before: pandas.DataFrame, window: pandas.DataFrame) -> dict[str, tuple[float, float]]:
    """Per queue: the median before, and the last of the window; queues of which nobody knew are left out."""
    usual = before.dropna(subset=["workers"]).groupby("queue")["workers"].median()
    last = window.dropna(subset=["workers"]).sort_values("at").groupby("queue")["workers"].last()
    return {str(queue): (float(usual[queue]), float(last[queue])) for queue in usual.index.intersection(last.index)}

"""Questions that a snapshot answers: one `.sql` file and one function of its name each, answered as DataFrames."""

from teknav_ops.snapshots.questions.failing import (
    dlq_flow,
    error_types_over_time,
    failure_causes,
    failure_reach,
    failures_in_window,
    fingerprints_over_time,
    retries_per_success,
)
from teknav_ops.snapshots.questions.running import (
    duration_sketch,
    first_ends,
    job_outcomes,
    p95_by_time,
    queue_metrics,
    run_counts,
    run_durations,
    run_summary,
    slowest_jobs,
    totals,
    waiting_time,
)
from teknav_ops.snapshots.questions.telling import ai_costs, job_story, operator_actions

__all__ = [
    "ai_costs",
    "dlq_flow",
    "duration_sketch",
    "error_types_over_time",
    "failure_causes",
    "failure_reach",
    "failures_in_window",
    "fingerprints_over_time",
    "first_ends",
    "job_outcomes",
    "job_story",
    "operator_actions",
    "p95_by_time",
    "queue_metrics",
    "retries_per_success",
    "run_counts",
    "run_durations",
    "run_summary",
    "slowest_jobs",
    "totals",
    "waiting_time",
]

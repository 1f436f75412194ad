"""THE CATALOGUE of exported metrics: name, kind, labels, meaning, and where its numbers come from.

Prometheus and OpenTelemetry export the same families under the same names; docs/metrics.md is their table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final, Literal

from teknav_ops.jobs.sketch import RunDurations, counts_up_to
from teknav_ops.metrics.reading import JobTotals, QueueReading, Reading

Kind = Literal["gauge", "counter", "histogram", "summary"]
#: Upper bounds of the exported histogram. They hold within two per cent, as the sketch behind it does.
BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


@dataclasses.dataclass(frozen=True, slots=True)
class Distribution:
    """So many observations, their sum in seconds, and how many lie at or below each bound ('+Inf' last)."""

    count: int
    sum_seconds: float
    buckets: tuple[tuple[str, int], ...] = ()


Sample = tuple[tuple[str, ...], float | Distribution]


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` is Prometheus's, without the `_total` that it adds to counters."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    #: Its samples: label values in the order of `labels`, and the value. No reading, no samples.
    samples: Callable[[Reading], Iterator[Sample]]

    @property
    def exported_name(self) -> str:
        """As it is queried; `_bucket`, `_sum` and `_count` belong to a histogram or summary."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _per_queue(value: Callable[[QueueReading], float | None]) -> Callable[[Reading], Iterator[Sample]]:
    def samples(reading: Reading) -> Iterator[Sample]:
        for queue, found in reading.queues.items():
            number = value(found)
            if number is not None:
                yield (queue,), float(number)

    return samples


def _per_job(value: Callable[[JobTotals], float | Distribution]) -> Callable[[Reading], Iterator[Sample]]:
    def samples(reading: Reading) -> Iterator[Sample]:
        for queue, found in reading.queues.items():
            for job, totals in found.jobs.items():
                yield (queue, job), value(totals)

    return samples


def _states(reading: Reading) -> Iterator[Sample]:
    for queue, found in reading.queues.items():
        counts = found.counts
        yield (queue, "waiting"), 0 if counts.is_paused else counts.waiting
        yield (queue, "paused"), counts.waiting if counts.is_paused else 0
        for state in ("active", "delayed", "completed", "failed", "cancelled"):
            yield (queue, state), getattr(counts, state)


def _durations(reading: Reading) -> Iterator[Sample]:
    for queue, found in reading.queues.items():
        for job, totals in found.jobs.items():
            yield (queue, job, "completed"), _distribution(totals.completed_runs)
            yield (queue, job, "failed"), _distribution(totals.failed_runs)


def _distribution(runs: RunDurations) -> Distribution:
    counts = counts_up_to(runs.buckets, [seconds * 1000 for seconds in BOUNDS_SECONDS])
    bounds = [str(float(seconds)) for seconds in BOUNDS_SECONDS]
    return Distribution(runs.count, runs.sum_ms / 1e3, (*zip(bounds, counts, strict=True), ("+Inf", runs.count)))


def _waits(totals: JobTotals) -> Distribution:
    return Distribution(totals.runs.count, totals.waited_ms / 1e3)


def _once(value: Callable[[Reading], float | None]) -> Callable[[Reading], Iterator[Sample]]:
    def samples(reading: Reading) -> Iterator[Sample]:
        number = value(reading)
        if number is not None:
            yield (), float(number)

    return samples


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


_QUEUE: Final = ("queue",)
_JOB: Final = ("queue", "job")

#: The one family that is there without a reading, and then it is 0.
UP: Final = Family("teknav_up", "gauge", (), "Whether Redis answered this scrape: 1 or 0.", _once(lambda _: 1.0))

#: All others.
FAMILIES: Final[tuple[Family, ...]] = (
    Family("teknav_jobs", "gauge", ("queue", "state"),
           "Jobs on record by state. A paused queue's waiting jobs count as paused; those that ended are kept for a "
           "while.", _states),
    Family("teknav_dead_letters", "gauge", _QUEUE, "Dead letters that wait for an operator.",
           _per_queue(lambda q: q.counts.dlq)),
    Family("teknav_oldest_waiting_age_seconds", "gauge", _QUEUE,
           "For how long the job that waits longest could have begun; 0 while none waits.",
           _per_queue(lambda q: (q.counts.oldest_waiting_age_ms or 0) / 1000)),
    Family("teknav_workers", "gauge", _QUEUE, "Worker processes that serve the queue and were heard of lately.",
           _per_queue(lambda q: q.counts.workers)),
    Family("teknav_queue_paused", "gauge", _QUEUE, "Whether the queue hands out nothing: 1 or 0.",
           _per_queue(lambda q: q.counts.is_paused)),
    Family("teknav_corrupt_records", "gauge", _QUEUE, "Jobs set aside because their record could not be read.",
           _per_queue(lambda q: q.counts.corrupt)),
    Family("teknav_audit_backlog_entries", "gauge", _QUEUE, "Audit entries that are not yet in AuditLog.",
           _per_queue(lambda q: q.counts.audit_backlog)),
    Family("teknav_audit_lag_seconds", "gauge", _QUEUE, "Age of the oldest audit entry that is not yet in AuditLog.",
           _per_queue(lambda q: q.counts.audit_lag_ms / 1000)),
    Family("teknav_stats_age_seconds", "gauge", _QUEUE, "Age of the published live stats; absent while there are none.",
           _per_queue(lambda q: _seconds(q.stats_age_ms))),
    Family("teknav_jobs_enqueued", "counter", _QUEUE, "Jobs accepted.", _per_queue(lambda q: q.enqueued)),
    Family("teknav_jobs_completed", "counter", _JOB, "Jobs that succeeded.", _per_job(lambda t: t.completed)),
    Family("teknav_jobs_failed", "counter", _JOB, "Jobs that were given up; each made a dead letter.",
           _per_job(lambda t: t.failed)),
    Family("teknav_jobs_retried", "counter", _JOB, "Runs that failed and are tried again.",
           _per_job(lambda t: t.retried)),
    Family("teknav_jobs_snoozed", "counter", _JOB,
           "Runs put off without using an attempt: at another side's wish, or because Redis or SQL were away.",
           _per_job(lambda t: t.snoozed)),
    Family("teknav_jobs_lost", "counter", _JOB, "Runs whose worker fell silent.", _per_job(lambda t: t.lost)),
    Family("teknav_job_duration_seconds", "histogram", (*_JOB, "outcome"),
           "How long runs took, by outcome (completed, failed); bounds hold within two per cent.", _durations),
    Family("teknav_job_wait_seconds", "summary", _JOB, "How long runs waited from when they could begin.",
           _per_job(_waits)),
    Family("teknav_scheduler_leading", "gauge", (), "Whether a scheduler leads: 1 or 0.", _once(lambda r: r.is_led)),
    Family("teknav_scheduler_term", "gauge", (), "How often the lead was taken; it grows with each failover.",
           _once(lambda r: r.term)),
    Family("teknav_snapshot_age_seconds", "gauge", (),
           "Age of the newest DuckDB snapshot on this host; absent while there is none.",
           _once(lambda r: r.snapshot_age_seconds)),
)  # fmt: skip

"""Questions about how jobs run: how fast, how many, how long they wait, how full the queues are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from teknav_ops.jobs.sketch import GAMMA, SMALLEST_MS
from teknav_ops.snapshots.open import Snapshot
from teknav_ops.snapshots.questions.asking import ask, at_most, bucket, named, window

if TYPE_CHECKING:
    import pandas

_FIVE_MINUTES: Final = timedelta(minutes=5)
Queues = str | Sequence[str] | None


def p95_by_time(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and time bucket: runs with a known duration (`n`), exact percentiles in ms, finished jobs per second
    (`rate`), and the share of runs that ended in an error. Buckets in which nothing ended are absent.
    """
    return ask(snapshot, "p95_by_time", **named(queues), **window(since, until), **bucket(width))


def slowest_jobs(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None,
    limit: int = 20,
) -> pandas.DataFrame:  # fmt: skip
    """The runs that took longest, durations in ms."""
    return ask(snapshot, "slowest_jobs", **named(queues), **window(since, until), **at_most(limit))


def waiting_time(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and time bucket: how long runs had waited, in ms, from when they could have begun."""
    return ask(snapshot, "waiting_time", **named(queues), **window(since, until), **bucket(width))


def run_counts(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per queue, job name and time bucket: jobs that came, completed, failed and were retried, and sums in ms."""
    return ask(snapshot, "run_counts", **named(queues), **window(since, until), **bucket(width))


def run_summary(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """Per queue and job name, over the whole window: jobs that came, completed, failed and were retried, and mean and
    exact p95 in ms of `n` runs with a known duration.
    """
    return ask(snapshot, "run_summary", **named(queues), **window(since, until))


def run_durations(
    snapshot: Snapshot, *, queues: Queues = None, job_name: str | None = None, since: datetime | None = None,
    until: datetime | None = None, limit: int = 200_000,
) -> pandas.DataFrame:  # fmt: skip
    """Durations in ms, one per run, in no order. Beyond `limit` a fair sample, the same each time."""
    parameters = {**named(queues), **window(since, until), **at_most(limit)}
    return ask(snapshot, "run_durations", job_name=job_name, **parameters)


def duration_sketch(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per queue, job name and time bucket: how many durations fall into each bucket of the live sketch."""
    scale = {"inverse_log_gamma": 1 / math.log(GAMMA), "smallest_ms": SMALLEST_MS}
    return ask(snapshot, "duration_sketch", **named(queues), **window(since, until), **bucket(width), **scale)


def queue_metrics(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """Per queue and five-minute aggregate: how many jobs waited, ran, were delayed or dead; null where nobody knew."""
    return ask(snapshot, "queue_metrics", **named(queues), **window(since, until))


def totals(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """Per queue: what happened in all, first and last."""
    return ask(snapshot, "totals", **named(queues), **window(since, until))

"""Questions about how jobs run: how fast, how many, how long they wait, how full the queues are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from teknav_ops.jobs.sketch import GAMMA, SMALLEST_MS
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.snapshots.open import Snapshot
from teknav_ops.snapshots.questions.asking import ask, at_most, bucket, named, of_outcome, window

if TYPE_CHECKING:
    import pandas

_FIVE_MINUTES: Final = timedelta(minutes=5)
Queues = str | Sequence[str] | None


def p95_by_time(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None, outcome: RunOutcome = "completed",
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and time bucket: exact percentiles in ms of the `n` runs of the outcome whose duration is known,
    finished jobs per second (`rate`), and the share of runs that ended in an error. Buckets in which nothing ended are
    absent.
    """
    asked = {**named(queues), **window(since, until), **bucket(width), **of_outcome(outcome)}
    return ask(snapshot, "p95_by_time", **asked)


def slowest_jobs(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None,
    limit: int = 20, outcome: RunOutcome = "completed",
) -> pandas.DataFrame:  # fmt: skip
    """The runs that took longest, durations in ms."""
    asked = {**named(queues), **window(since, until), **at_most(limit), **of_outcome(outcome)}
    return ask(snapshot, "slowest_jobs", **asked)


def waiting_time(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None, outcome: RunOutcome = "any",
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and time bucket: how long runs had waited, in ms, from when they could have begun. A wait is over
    before a run's outcome is known, so all of them count unless one is asked for.
    """
    asked = {**named(queues), **window(since, until), **bucket(width), **of_outcome(outcome)}
    return ask(snapshot, "waiting_time", **asked)


def run_counts(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None, outcome: RunOutcome = "completed",
) -> pandas.DataFrame:  # fmt: skip
    """Per queue, job name and time bucket: jobs that came, completed, failed and were retried; `runs` of the outcome
    whose duration is known, with its sum in ms; and all `waited_runs` with the sum of their waits.
    """
    asked = {**named(queues), **window(since, until), **bucket(width), **of_outcome(outcome)}
    return ask(snapshot, "run_counts", **asked)


def run_summary(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None,
    outcome: RunOutcome = "completed",
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and job name, over the whole window: jobs that came, completed, failed and were retried, the share of
    runs that ended in an error, and mean and exact p95 in ms of the `n` runs of the outcome whose duration is known.
    """
    return ask(snapshot, "run_summary", **named(queues), **window(since, until), **of_outcome(outcome))


def run_durations(
    snapshot: Snapshot, *, queues: Queues = None, job_name: str | None = None, since: datetime | None = None,
    until: datetime | None = None, limit: int = 200_000, outcome: RunOutcome = "completed",
) -> pandas.DataFrame:  # fmt: skip
    """Durations in ms, one per run of the outcome, in no order. Beyond `limit` a fair sample, the same each time."""
    parameters = {**named(queues), **window(since, until), **at_most(limit), **of_outcome(outcome)}
    return ask(snapshot, "run_durations", job_name=job_name, **parameters)


def duration_sketch(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None, outcome: RunOutcome = "completed",
) -> pandas.DataFrame:  # fmt: skip
    """Per queue, job name and time bucket: how many durations of the outcome fall into each bucket of the sketch."""
    scale = {"inverse_log_gamma": 1 / math.log(GAMMA), "smallest_ms": SMALLEST_MS}
    asked = {**named(queues), **window(since, until), **bucket(width), **of_outcome(outcome)}
    return ask(snapshot, "duration_sketch", **asked, **scale)


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


def job_outcomes(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _FIVE_MINUTES,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and time bucket of arrival: jobs that arrived, and how each stands as of the snapshot (completed,
    failed, cancelled, or still `open`), counted once however often it was retried or replayed; `runs` counts those.
    """
    return ask(snapshot, "job_outcomes", **named(queues), **window(since, until), **bucket(width))


def first_ends(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """Per queue: jobs that came to an end for the first time, and those of them that failed. What a replay makes of a
    job that had ended is not counted.
    """
    return ask(snapshot, "first_ends", **named(queues), **window(since, until))

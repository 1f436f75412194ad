"""What happened per minute: the counters and duration sketches that the finish scripts keep for 25 hours."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.sketch import PREFIX, quantile
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys

log = structlog.get_logger("teknav.metrics")

MINUTE_MS: Final = 60_000
#: As many minutes as Redis keeps.
KEPT_MINUTES: Final = 25 * 60
#: Hashes asked for per round trip: an answer of some megabytes at most.
_CHUNK: Final = 240


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MinuteCounts:
    """One minute (since the epoch) of one job name, or of a whole queue where `job` is None.

    `enqueued` is None by job: it is counted for the whole queue. A run that was retried, and one that failed for
    good, has a duration as well as one that completed; snoozes are no runs. `buckets` is the sketch of durations.
    """

    minute: int
    job: str | None
    enqueued: int | None
    completed: int
    failed: int
    retried: int
    duration_sum_ms: float
    waited_sum_ms: float
    buckets: dict[str, int]

    @property
    def finished(self) -> int:
        """Jobs that came to their end, well or not."""
        return self.completed + self.failed

    @property
    def measured(self) -> int:
        """Runs whose duration is known (a lost worker's is not)."""
        return sum(self.buckets.values())

    @property
    def mean_duration_ms(self) -> float | None:
        """How long a run took on average; None without runs."""
        return self.duration_sum_ms / self.measured if self.measured else None

    @property
    def mean_waited_ms(self) -> float | None:
        """How long a run waited on average from when it could begin; None without runs."""
        return self.waited_sum_ms / self.measured if self.measured else None

    def percentile_ms(self, q: float) -> float | None:
        """The q-quantile of durations, with a relative error of at most 2 %; None without runs."""
        return quantile(self.buckets, q)


def read_minutes(
    client: Client, queue: str, first_minute: int, last_minute: int, *, by_job: bool = False
) -> list[MinuteCounts]:
    """The minutes from first to last (both included) in which something happened, in their order.

    `by_job` gives a row per minute and job name instead of one per minute.

    Raises:
        InvalidRequest: the range is empty, or longer than what Redis keeps.
    """
    return read_many_minutes(client, {queue: range(first_minute, last_minute + 1)}, by_job=by_job)[queue]


def read_many_minutes(
    client: Client, minutes: Mapping[str, range], *, by_job: bool = False
) -> dict[str, list[MinuteCounts]]:
    """`read_minutes` of several queues, each with its own minutes, in as few round trips."""
    for wanted in minutes.values():
        if not 1 <= len(wanted) <= KEPT_MINUTES:
            raise InvalidRequest(f"last_minute: {len(wanted)} minutes from first to last; ask for 1 to {KEPT_MINUTES}")
    found: dict[str, list[MinuteCounts]] = {queue: [] for queue in minutes}
    places = [(queue, minute) for queue, wanted in minutes.items() for minute in wanted]
    for start in range(0, len(places), _CHUNK):
        chunk = places[start : start + _CHUNK]
        hashes = _read_hashes(client, [QueueKeys(queue).minute(minute) for queue, minute in chunk])
        for (queue, minute), fields in zip(chunk, hashes, strict=True):
            found[queue] += _rows(queue, minute, fields, by_job=by_job)
    return found


def merge(counts: Iterable[MinuteCounts]) -> MinuteCounts:
    """Several rows as one: of the earliest minute, and of their job if they are all of one. No rows make zeros."""
    rows = list(counts)
    jobs = {row.job for row in rows}
    enqueued = [row.enqueued for row in rows if row.enqueued is not None]
    buckets: Counter[str] = Counter()
    for row in rows:
        buckets.update(row.buckets)
    return MinuteCounts(
        minute=min((row.minute for row in rows), default=0),
        job=jobs.pop() if len(jobs) == 1 else None,
        enqueued=None if rows and not enqueued else sum(enqueued),
        completed=sum(row.completed for row in rows),
        failed=sum(row.failed for row in rows),
        retried=sum(row.retried for row in rows),
        duration_sum_ms=sum(row.duration_sum_ms for row in rows),
        waited_sum_ms=sum(row.waited_sum_ms for row in rows),
        buckets=dict(buckets),
    )


def _read_hashes(client: Client, keys: Sequence[str]) -> list[dict[str, str]]:
    # Plain reads: a Cluster's pipeline carries them too, each to its node.
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    return [_readable(key, answer) for key, answer in zip(keys, pipeline.execute(raise_on_error=False), strict=True)]


def _rows(queue: str, minute: int, fields: Mapping[str, str], *, by_job: bool) -> list[MinuteCounts]:
    if not fields:
        return []
    try:
        return _by_job(minute, fields) if by_job else [_whole(minute, fields)]
    except ValueError as error:
        log.error("minutes.damaged", queue=queue, minute=minute, error=str(error))
        return []


def _readable(key: str, answer: Any) -> dict[str, str]:
    if isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer):
        # One damaged key must not hide all the others.
        log.error("minutes.damaged", key=key)
        return {}
    if isinstance(answer, Exception):
        raise answer
    fields: dict[str, str] = answer
    return fields


def _whole(minute: int, fields: Mapping[str, str]) -> MinuteCounts:
    counters: Counter[str] = Counter()
    for field, count in fields.items():
        counters[field.rpartition("|")[2]] += int(count)
    return _row(minute, None, counters["enqueued"], counters)


def _by_job(minute: int, fields: Mapping[str, str]) -> list[MinuteCounts]:
    jobs: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for field, count in fields.items():
        job, separator, counter = field.rpartition("|")
        if separator:
            jobs[job][counter] = int(count)
    return [_row(minute, job, None, counters) for job, counters in sorted(jobs.items())]


def _row(minute: int, job: str | None, enqueued: int | None, counters: Mapping[str, int]) -> MinuteCounts:
    return MinuteCounts(
        minute=minute,
        job=job,
        enqueued=enqueued,
        completed=counters.get("completed", 0),
        failed=counters.get("failed", 0),
        retried=counters.get("retried", 0),
        duration_sum_ms=counters.get("sum_us", 0) / 1000,
        waited_sum_ms=float(counters.get("waited_ms", 0)),
        buckets={name: count for name, count in counters.items() if name[:1] == PREFIX},
    )

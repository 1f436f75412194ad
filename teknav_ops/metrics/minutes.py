"""What happened per minute: the counters and duration sketches that the finish scripts keep for 25 hours."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.sketch import PREFIX, RunDurations, merge_durations
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.redis_state.connection import Client, is_wrong_type
from teknav_ops.redis_state.keys import QueueKeys

log = structlog.get_logger("teknav.metrics")

MINUTE_MS: Final = 60_000
#: As many minutes as Redis keeps.
KEPT_MINUTES: Final = 25 * 60
#: How the fields of failed runs' durations begin (postpone.lua, dead_letter.lua).
FAILED: Final = "failed:"
#: Hashes asked for per round trip: an answer of some megabytes at most.
_CHUNK: Final = 240


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MinuteCounts:
    """One minute (since the epoch) of one job name, or of a whole queue where `job` is None.

    `enqueued` is None by job: it is counted for the whole queue. `completed_again` and `failed_again` are those of
    `completed` and `failed` whose job had been replayed, so had come to an end before. The durations of runs that
    failed, for good or to be retried, are apart from those that completed; snoozes are no runs.
    """

    minute: int
    job: str | None
    enqueued: int | None
    completed: int
    failed: int
    retried: int
    completed_again: int = 0
    failed_again: int = 0
    waited_sum_ms: float = 0.0
    completed_runs: RunDurations = RunDurations()
    failed_runs: RunDurations = RunDurations()

    @property
    def finished(self) -> int:
        """Jobs that came to their end, well or not."""
        return self.completed + self.failed

    @property
    def finished_first(self) -> int:
        """Jobs that came to their end for the first time: a replayed job counts once."""
        return self.finished - self.completed_again - self.failed_again

    @property
    def failed_first(self) -> int:
        """Those of them that failed."""
        return self.failed - self.failed_again

    def runs(self, outcome: RunOutcome = "completed") -> RunDurations:
        """The runs of an outcome whose duration is known (a lost worker's is not)."""
        if outcome == "any":
            return merge_durations([self.completed_runs, self.failed_runs])
        return self.failed_runs if outcome == "failed" else self.completed_runs

    @property
    def error_rate(self) -> float | None:
        """Which share of the runs that ended failed, for good or to be retried; None where none ended."""
        ended = self.finished + self.retried
        return (self.failed + self.retried) / ended if ended else None

    @property
    def mean_waited_ms(self) -> float | None:
        """How long a run waited on average from when it could begin; None without runs."""
        count = self.completed_runs.count + self.failed_runs.count
        return self.waited_sum_ms / count if count else None

    def part(self, share: float) -> MinuteCounts:
        """What a part of the minute holds, as if all that happened in it had been spread over it evenly."""
        completed, failed = self.completed_runs.part(share), self.failed_runs.part(share)
        count = self.completed_runs.count + self.failed_runs.count
        return dataclasses.replace(
            self,
            enqueued=None if self.enqueued is None else round(self.enqueued * share),
            completed=round(self.completed * share),
            failed=round(self.failed * share),
            retried=round(self.retried * share),
            completed_again=round(self.completed_again * share),
            failed_again=round(self.failed_again * share),
            waited_sum_ms=self.waited_sum_ms * (completed.count + failed.count) / count if count else 0.0,
            completed_runs=completed,
            failed_runs=failed,
        )


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
    return MinuteCounts(
        minute=min((row.minute for row in rows), default=0),
        job=jobs.pop() if len(jobs) == 1 else None,
        enqueued=None if rows and not enqueued else sum(enqueued),
        completed=sum(row.completed for row in rows),
        failed=sum(row.failed for row in rows),
        retried=sum(row.retried for row in rows),
        completed_again=sum(row.completed_again for row in rows),
        failed_again=sum(row.failed_again for row in rows),
        waited_sum_ms=sum(row.waited_sum_ms for row in rows),
        completed_runs=merge_durations(row.completed_runs for row in rows),
        failed_runs=merge_durations(row.failed_runs for row in rows),
    )


def without_durations(row: MinuteCounts) -> MinuteCounts:
    """The same counts without the sketches, which are most of what a row holds."""
    return dataclasses.replace(row, completed_runs=RunDurations(), failed_runs=RunDurations())


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
    if is_wrong_type(answer):
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
        completed_again=counters.get("completed_again", 0),
        failed_again=counters.get("failed_again", 0),
        waited_sum_ms=float(counters.get("waited_ms", 0)),
        completed_runs=durations_of(counters),
        failed_runs=durations_of(counters, FAILED),
    )


def durations_of(counters: Mapping[str, int], prefix: str = "") -> RunDurations:
    """The durations among a job's counters; the fields of failed runs begin with `FAILED`."""
    sketched = prefix + PREFIX
    buckets = {name.removeprefix(prefix): n for name, n in counters.items() if name.startswith(sketched)}
    return RunDurations(counters.get(f"{prefix}sum_us", 0) / 1000, buckets)

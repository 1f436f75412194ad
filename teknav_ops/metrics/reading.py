"""One reading of all that is exported: Redis at this moment, in two round trips, and the newest snapshot's age."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from teknav_ops.jobs.sketch import RunDurations, merge_durations
from teknav_ops.metrics.live import KEPT_MS, count_queues
from teknav_ops.metrics.minutes import FAILED, durations_of
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import QueueKeys, lease, lease_term, stats
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.metrics")

_ROLE: Final = "scheduler"
_COUNTED: Final = ("completed", "failed", "retried", "snoozed", "lost", "waited_ms")


@dataclasses.dataclass(frozen=True, slots=True)
class JobTotals:
    """What has happened to one kind of job since its queue's first, with the durations of its runs by outcome."""

    completed: int = 0
    failed: int = 0
    retried: int = 0
    snoozed: int = 0
    lost: int = 0
    waited_ms: int = 0
    completed_runs: RunDurations = RunDurations()
    failed_runs: RunDurations = RunDurations()

    @property
    def runs(self) -> RunDurations:
        """All runs whose duration is known."""
        return merge_durations([self.completed_runs, self.failed_runs])


@dataclasses.dataclass(frozen=True, slots=True)
class QueueReading:
    """One queue. `stats_age_ms` is None while nobody publishes its stats."""

    counts: QueueCounts
    enqueued: int
    jobs: Mapping[str, JobTotals]
    stats_age_ms: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """Everything. A queue whose structures are damaged is missing; `snapshot_age_seconds` is None without snapshots."""

    queues: Mapping[str, QueueReading]
    is_led: bool
    term: int
    snapshot_age_seconds: float | None


class Reader:
    """Reads when asked; for a moment, the same answer is given again, so that many instruments cost one reading."""

    def __init__(
        self, client: Client, topology: Topology, *, snapshot_root: Path | None = None, fresh_seconds: float = 1.0
    ) -> None:
        self._client = client
        self._runner = ScriptRunner(client)
        self._topology = topology
        self._snapshots = None if snapshot_root is None else SnapshotFolder(snapshot_root)
        self._fresh_seconds = fresh_seconds
        self._last: tuple[float, Reading | None] | None = None

    def read(self) -> Reading | None:
        """What there is now; None while Redis does not answer."""
        now = time.monotonic()
        if self._last is None or now - self._last[0] > self._fresh_seconds:
            try:
                found = self._read()
            except OUTAGE_ERRORS as error:
                log.warning("metrics.unreadable", error=str(error))
                found = None
            self._last = (time.monotonic(), found)
        return self._last[1]

    def _read(self) -> Reading:
        counts = count_queues(self._runner, self._topology)
        pipeline = self._client.pipeline(transaction=False)
        for queue in counts:
            pipeline.hgetall(QueueKeys(queue).totals)
            pipeline.execute_command("PTTL", stats(queue))
        pipeline.execute_command("EXISTS", lease(_ROLE))
        pipeline.execute_command("GET", lease_term(_ROLE))
        *answers, is_led, term = pipeline.execute(raise_on_error=False)
        queues = {}
        for index, (queue, now) in enumerate(counts.items()):
            try:
                totals, stats_live_ms = map(_sound, answers[2 * index : 2 * index + 2])
                # A counter that is there from the start, at 0, shows its first step in a rate.
                jobs = {job: JobTotals() for job in self._topology[queue].jobs} | parse_totals(totals)
                queues[queue] = QueueReading(now, int(totals.get("enqueued", 0)), jobs, _stats_age_ms(stats_live_ms))
            except (ResponseError, ValueError) as error:
                # One queue's damage must not hide the others.
                log.error("metrics.damaged", queue=queue, error=str(error))
        return Reading(queues, bool(_sound(is_led)), int(_sound(term) or 0), self._snapshot_age_seconds())

    def _snapshot_age_seconds(self) -> float | None:
        newest = self._snapshots.newest() if self._snapshots else None
        try:
            return None if newest is None else max(0.0, time.time() - newest.stat().st_mtime)
        except OSError:
            return None


def _sound(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _stats_age_ms(live_ms: int) -> int | None:
    return KEPT_MS - live_ms if live_ms >= 0 else None


def parse_totals(fields: Mapping[str, str]) -> dict[str, JobTotals]:
    """A queue's lifetime counters by job. Fields of a later version are passed over."""
    jobs: dict[str, dict[str, int]] = {}
    for field, value in fields.items():
        job, _, name = field.rpartition("|")
        if job:
            jobs.setdefault(job, {})[name] = int(value)
    return {job: _totals(counters) for job, counters in jobs.items()}


def _totals(counters: Mapping[str, int]) -> JobTotals:
    counted = {name: counters.get(name, 0) for name in _COUNTED}
    return JobTotals(**counted, completed_runs=durations_of(counters), failed_runs=durations_of(counters, FAILED))

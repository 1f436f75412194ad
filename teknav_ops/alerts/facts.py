"""What rules are held against: every queue's counts, minutes and hours, gathered in a few round trips."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog

from teknav_ops.alerts.rules import (
    AuditChanged,
    BurnRate,
    ClockOff,
    DlqInflow,
    P95OverTarget,
    RedisMemory,
    Rule,
    StuckJobs,
)
from teknav_ops.audit.chain.watch import ChainVerdict, read_verdict
from teknav_ops.jobs.worker_queries import HeldJob, WorkerQueries
from teknav_ops.metrics.live import QueueStats, count_queues, in_window, read_all_stats
from teknav_ops.metrics.minutes import (
    MINUTE_MS,
    MinuteCounts,
    merge,
    read_many_minutes,
    without_durations,
)
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner, ServerMemory
from teknav_ops.redis_state.server_clock import ClockFacts, ClockReader, steady_seconds
from teknav_ops.topology import Topology
from teknav_ops.triage.burn_rate import EventCounts

log = structlog.get_logger("teknav.alerts")

HOUR_MINUTES: Final = 60
#: Windows up to this length are counted by the minute, longer ones by the hour.
_MINUTELY_MINUTES: Final = 6 * HOUR_MINUTES
#: Minutes that are read again each time, since they may not have ended when they were read last.
_UNSETTLED_MINUTES: Final = 2

#: queue -> hour (since the epoch) -> what finished in it. None: the record could not be read.
Hours = Mapping[str, Mapping[int, EventCounts]] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """One queue at one instant, by the clock of the server that counts.

    `minutes` are the latest in which something happened; `stats_age_ms` is None where nobody has published; `hours`
    is None where the longer past is unknown, and `redis_memory` (as `stuck` is empty) where no rule asks for it.
    """

    queue: str
    at_ms: int
    time_limit_ms: int
    waiting: int
    dlq: int
    workers: int
    is_paused: bool
    oldest_waiting_age_ms: int | None
    audit_backlog: int
    audit_lag_ms: int
    stats_age_ms: int | None
    redis_memory: ServerMemory | None = None
    stuck: Sequence[HeldJob] = ()
    minutes: Mapping[int, MinuteCounts] = dataclasses.field(default_factory=dict)
    hours: Mapping[int, EventCounts] | None = None

    def counts_of_last(self, minutes: int) -> MinuteCounts:
        """The so many minutes that end with this instant, merged: of the one in which they begin, the part in them."""
        return in_window(self.minutes.values(), self.at_ms, minutes=minutes)

    def events_of_last(self, seconds: int) -> EventCounts | None:
        """Jobs that finished for the first time, and those of them that failed for good; None where that is not known.
        What a replay makes of a job that had ended is no event of its own.

        Beyond six hours in steps of hours on the clock, the current one included.
        """
        minutes = seconds // 60
        if minutes <= _MINUTELY_MINUTES:
            return _events(self.counts_of_last(minutes))
        if self.hours is None:
            return None
        now = self.at_ms // (HOUR_MINUTES * MINUTE_MS)
        wanted = range(now - minutes // HOUR_MINUTES + 1, now + 1)
        parts = [self.hours.get(hour) or self._events_of_hour(hour) for hour in wanted]
        return EventCounts(sum(part.total_count for part in parts), sum(part.bad_count for part in parts))

    def _events_of_hour(self, hour: int) -> EventCounts:
        """From the minutes: the current hour, and one that is not on record yet."""
        return _events(self._merged(range(hour * HOUR_MINUTES, (hour + 1) * HOUR_MINUTES)))

    def _merged(self, wanted: range) -> MinuteCounts:
        return merge(self.minutes[minute] for minute in wanted if minute in self.minutes)


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """All queues that could be read; one whose structures are damaged is left out."""

    queues: Mapping[str, QueueFacts]
    #: None where no rule asks for it.
    clock: ClockFacts | None = None
    #: None where no rule asks for it, or nobody has verified.
    chain: ChainVerdict | None = None

    @property
    def at_ms(self) -> int:
        """This instant, on Redis's clock; 0 without queues."""
        return max((queue.at_ms for queue in self.queues.values()), default=0)


class FactReader:
    """Reads facts again and again, and remembers the minutes that are over: they do not change any more."""

    def __init__(self, client: Client, topology: Topology, rules: Sequence[Rule]) -> None:
        self._client = client
        self._topology = topology
        self._runner = ScriptRunner(client)
        self._minutes: dict[str, dict[int, MinuteCounts]] = {queue: {} for queue in topology}
        self._read_to: dict[str, int] = {}
        self._kept_minutes, self._sketch_minutes = _needs(rules)
        self._workers = WorkerQueries(client, topology) if any(isinstance(rule, StuckJobs) for rule in rules) else None
        self._clock = ClockReader(client) if any(isinstance(rule, ClockOff) for rule in rules) else None
        self._reads_chain = any(isinstance(rule, AuditChanged) for rule in rules)
        self._reads_memory = any(isinstance(rule, RedisMemory) for rule in rules)

    def read(self, hours: Hours = None) -> Facts:
        """What is so now. Raises redis-py's errors during an outage."""
        asked = steady_seconds()
        counts = count_queues(self._runner, self._topology)
        answered = steady_seconds()
        moments = {queue: found.at_ms for queue, found in counts.items()}
        clock = self._clock.look(moments, asked, answered) if self._clock else None
        stats = read_all_stats(self._client, counts)
        memory = self._read_memory(counts)
        stuck = self._workers.stuck() if self._workers else []
        self._read_minutes({queue: found.at_ms // MINUTE_MS for queue, found in counts.items()})
        return Facts(
            {
                queue: dataclasses.replace(
                    self._facts(queue, found, stats[queue], memory.get(queue), hours),
                    stuck=[job for job in stuck if job.queue == queue],
                )
                for queue, found in counts.items()
            },
            clock,
            read_verdict(self._client) if self._reads_chain else None,
        )

    def _read_memory(self, queues: Iterable[str]) -> dict[str, ServerMemory]:
        wanted = list(queues) if self._reads_memory else []
        answers = self._runner.run_many([scripts.server_memory(QueueKeys(queue)) for queue in wanted]) if wanted else []
        return {
            queue: answer for queue, answer in zip(wanted, answers, strict=True) if not isinstance(answer, Exception)
        }

    def _read_minutes(self, now: Mapping[str, int]) -> None:
        wanted = {}
        for queue, minute in now.items():
            oldest = minute - self._kept_minutes + 1
            unread = min(self._read_to.get(queue, oldest), minute) - _UNSETTLED_MINUTES
            wanted[queue] = range(max(oldest, unread), minute + 1)
        for queue, rows in read_many_minutes(self._client, wanted).items() if wanted else ():
            self._remember(queue, now[queue], rows)

    def _remember(self, queue: str, now: int, rows: Iterable[MinuteCounts]) -> None:
        remembered = self._minutes[queue] | {row.minute: row for row in rows}
        sketched_from = now - self._sketch_minutes + 1
        self._minutes[queue] = {
            minute: without_durations(row) if minute < sketched_from else row
            for minute, row in remembered.items()
            if minute > now - self._kept_minutes
        }
        self._read_to[queue] = now

    def _facts(
        self, queue: str, counts: QueueCounts, stats: QueueStats | None, memory: ServerMemory | None, hours: Hours
    ) -> QueueFacts:
        return QueueFacts(
            queue=queue,
            at_ms=counts.at_ms,
            time_limit_ms=self._topology[queue].time_limit_ms,
            waiting=counts.waiting,
            dlq=counts.dlq,
            workers=counts.workers,
            is_paused=counts.is_paused,
            oldest_waiting_age_ms=counts.oldest_waiting_age_ms,
            audit_backlog=counts.audit_backlog,
            audit_lag_ms=counts.audit_lag_ms,
            stats_age_ms=None if stats is None else abs(stats.age_ms),
            redis_memory=memory,
            minutes=self._minutes[queue],
            hours=None if hours is None else hours.get(queue, {}),
        )


def _needs(rules: Iterable[Rule]) -> tuple[int, int]:
    """How many minutes the rules look at, and for how many of them at the sketch. A window begins within one."""
    kept, sketched = [1], [1]
    for rule in rules:
        if isinstance(rule, P95OverTarget):
            sketched.append(rule.window_minutes + 1)
        if isinstance(rule, P95OverTarget | DlqInflow):
            kept.append(rule.window_minutes + 1)
        if isinstance(rule, BurnRate):
            kept.append(_MINUTELY_MINUTES + 1)
    return max(kept), max(sketched)


def _events(counts: MinuteCounts) -> EventCounts:
    return EventCounts(counts.finished_first, counts.failed_first)

"""Live metrics: each queue's numbers as of now, published to `teknav:queue:<queue>:stats` every ten seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field
from pydantic.alias_generators import to_camel
from redis.exceptions import ResponseError

from teknav_ops.events.publish import publish_stats_updated
from teknav_ops.jobs.queries import HEARTBEAT_MS
from teknav_ops.jobs.sketch import of_few
from teknav_ops.metrics.minutes import MINUTE_MS, MinuteCounts, merge
from teknav_ops.metrics.recent_minutes import RecentMinutes
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.metrics")

#: Over how many minutes rate, durations and waiting times are taken: exactly so many, to the second.
WINDOW_MINUTES: Final = 5
#: Minutes that such a window touches: it begins within one and ends within another.
TOUCHED_MINUTES: Final = WINDOW_MINUTES + 1
PUBLISH_SECONDS: Final = 10.0
#: Older stats are not of now: nobody publishes, or nobody can.
STALE_MS: Final = 30_000
#: How long stats stay when no newer ones come; what is left of it says how old they are.
KEPT_MS: Final = 3_600_000


class QueueStats(BaseModel):
    """A queue's published numbers; docs/metrics.md explains them. `age_ms` is as of reading, by Redis's clock."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    queue: str
    waiting: int
    paused: int
    active: int
    delayed: int
    completed: int
    failed: int
    dlq: int
    workers: int
    is_paused: bool
    oldest_waiting_age_ms: int | None
    rate: float
    #: Its two parts.
    completed_rate: float = 0.0
    failed_rate: float = 0.0
    runs: int
    avg_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    #: Of runs that failed; the five above are of runs that completed.
    failed_runs: int = 0
    avg_failed_duration_ms: float | None = None
    p95_failed_duration_ms: float | None = None
    error_rate: float | None = None
    avg_waited_ms: float | None
    audit_backlog: int
    audit_lag_ms: int
    last_updated_at_ms: int = Field(alias="lastUpdatedAt")
    term: int
    publisher: str
    #: Ever, where `completed` and `failed` count the records that are kept. None: damaged, or of an older publisher.
    completed_total: int | None = None
    failed_total: int | None = None
    age_ms: int = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_stale(self) -> bool:
        """Whether these numbers are too old to be of now (or of a future that a clock has since left)."""
        return abs(self.age_ms) > STALE_MS

    @property
    def p95_text(self) -> str:
        """The p95 in ms for people, with the number of runs where they are few; `–` without runs."""
        if self.p95_duration_ms is None:
            return "–"
        return f"{self.p95_duration_ms:,.0f}{of_few(self.runs)}"

    def to_json(self) -> str:
        """As published: what is true of a reading is left out."""
        return self.model_dump_json(by_alias=True, exclude={"age_ms", "is_stale"})


class Leader(Protocol):
    """Who publishes: a process that holds the scheduler's lease."""

    @property
    def holder(self) -> str: ...
    @property
    def term(self) -> int: ...


class StatsPublisher:
    """Writes every queue's stats; the leader calls it every ten seconds."""

    def __init__(self, client: Client, topology: Topology, leader: Leader, *, events_kept: int = 10_000) -> None:
        self._client = client
        self._topology = topology
        self._leader = leader
        self._events_kept = events_kept
        self._runner = ScriptRunner(client)
        self._minutes = RecentMinutes(client, minutes=TOUCHED_MINUTES)

    def step(self) -> None:
        """The scheduler's duty."""
        self.publish()

    def publish(self) -> dict[str, QueueStats]:
        """Write the stats of all queues, and announce them. Answers those that are in place: a queue whose structures
        are damaged is left out, and all are when a leader of a later term has published.
        """
        # The term comes first: numbers that were read in an earlier term must not pass as a later one's.
        term, publisher = self._leader.term, self._leader.holder
        stats = {
            queue: stats_of(queue, counts, minutes, term=term, publisher=publisher)
            for queue, (counts, minutes) in self._read().items()
        }
        calls = [
            scripts.publish_stats(
                queue, term=term, publisher=publisher, fresh_ms=STALE_MS,
                expires_at_ms=now.last_updated_at_ms + KEPT_MS, json_text=now.to_json(),
            )
            for queue, now in stats.items()
        ]  # fmt: skip
        accepted = _answers(self._runner, stats, calls)
        published = {queue: now for queue, now in stats.items() if accepted.get(queue)}
        if len(published) < len(accepted):
            log.warning("stats.overtaken", term=term, publisher=publisher)
        if published:
            at_ms = max(now.last_updated_at_ms for now in published.values())
            publish_stats_updated(self._client, published, at_ms=at_ms, kept=self._events_kept)
        return published

    def _read(self) -> dict[str, tuple[QueueCounts, MinuteCounts]]:
        counts = count_queues(self._runner, self._topology)
        # Minutes are those of the server that counts: a host whose clock is wrong publishes the same numbers.
        minutes = self._minutes.read({queue: now.at_ms for queue, now in counts.items()})
        return {queue: (now, in_window(minutes[queue], now.at_ms)) for queue, now in counts.items()}


def count_queues(runner: ScriptRunner, queues: Iterable[str]) -> dict[str, QueueCounts]:
    """Every queue's counts, in one round trip; a queue whose structures are damaged is logged and left out."""
    wanted = list(queues)
    calls = [scripts.queue_counts(QueueKeys(queue), heartbeat_ms=HEARTBEAT_MS) for queue in wanted]
    return _answers(runner, wanted, calls)


def _answers(runner: ScriptRunner, queues: Iterable[str], calls: list[scripts.Call[Any]]) -> dict[str, Any]:
    """The answers by queue; one queue's damage must not hide the others."""
    found: dict[str, Any] = {}
    for queue, answer in zip(queues, runner.run_many(calls) if calls else [], strict=True):
        if not isinstance(answer, Exception):
            found[queue] = answer
        elif isinstance(answer, OUTAGE_ERRORS):
            raise answer
        else:
            log.error("stats.failed", queue=queue, error=str(answer))
    return found


def in_window(rows: Iterable[MinuteCounts], at_ms: int, *, minutes: int = WINDOW_MINUTES) -> MinuteCounts:
    """What happened in the window that ends at `at_ms`: of the minute in which it begins, the part that lies in it."""
    last = at_ms // MINUTE_MS
    first, share = last - minutes, 1 - at_ms % MINUTE_MS / MINUTE_MS
    return merge(row.part(share) if row.minute == first else row for row in rows if first <= row.minute <= last)


def stats_of(queue: str, counts: QueueCounts, minutes: MinuteCounts, *, term: int, publisher: str) -> QueueStats:
    """A queue's numbers: `counts` of this instant, `minutes` merged over the window that ends with it."""
    return QueueStats(
        queue=queue,
        waiting=0 if counts.is_paused else counts.waiting,
        paused=counts.waiting if counts.is_paused else 0,
        active=counts.active,
        delayed=counts.delayed,
        completed=counts.completed,
        failed=counts.failed,
        dlq=counts.dlq,
        workers=counts.workers,
        is_paused=counts.is_paused,
        oldest_waiting_age_ms=counts.oldest_waiting_age_ms,
        rate=round(minutes.finished / (WINDOW_MINUTES * 60), 6),
        completed_rate=round(minutes.completed / (WINDOW_MINUTES * 60), 6),
        failed_rate=round(minutes.failed / (WINDOW_MINUTES * 60), 6),
        **durations(minutes),
        avg_waited_ms=rounded(minutes.mean_waited_ms),
        audit_backlog=counts.audit_backlog,
        audit_lag_ms=counts.audit_lag_ms,
        last_updated_at_ms=counts.at_ms,
        term=term,
        publisher=publisher,
        completed_total=counts.completed_total,
        failed_total=counts.failed_total,
    )


def durations(minutes: MinuteCounts) -> dict[str, Any]:
    """How long runs took, by outcome, and which share of them failed: fields of stats and of aggregates."""
    completed, failed, share = minutes.runs("completed"), minutes.runs("failed"), minutes.error_rate
    return {
        "runs": completed.count,
        "avg_duration_ms": rounded(completed.mean_ms),
        "p50_duration_ms": rounded(completed.percentile_ms(0.5)),
        "p95_duration_ms": rounded(completed.percentile_ms(0.95)),
        "p99_duration_ms": rounded(completed.percentile_ms(0.99)),
        "failed_runs": failed.count,
        "avg_failed_duration_ms": rounded(failed.mean_ms),
        "p95_failed_duration_ms": rounded(failed.percentile_ms(0.95)),
        "error_rate": None if share is None else round(share, 6),
    }


def read_stats(client: Client, queue: str) -> QueueStats | None:
    """What was published last; None when nobody publishes."""
    return read_all_stats(client, [queue])[queue]


def read_all_stats(client: Client, queues: Iterable[str]) -> dict[str, QueueStats | None]:
    """What was published last of each queue (a `Topology` names them all), in one round trip."""
    wanted = list(queues)
    pipeline = client.pipeline(transaction=False)
    for queue in wanted:
        pipeline.execute_command("GET", keys.stats(queue))
        pipeline.execute_command("PTTL", keys.stats(queue))
    answers = pipeline.execute(raise_on_error=False)
    return {queue: _parse(queue, *answers[2 * index : 2 * index + 2]) for index, queue in enumerate(wanted)}


def _parse(queue: str, stored: Any, lives_ms: Any) -> QueueStats | None:
    try:
        for answer in (stored, lives_ms):
            if isinstance(answer, Exception):
                raise answer
        if stored is None:
            return None
        # They are kept for so long from when they were counted: the server's clock knows their age, not the reader's.
        return QueueStats.model_validate_json(stored).model_copy(update={"age_ms": KEPT_MS - int(lives_ms)})
    except (ValidationError, ResponseError) as error:
        log.warning("stats.unreadable", queue=queue, error=str(error))
        return None


def rounded(value: float | None) -> float | None:
    """As precise as a duration in ms is told."""
    return None if value is None else round(value, 2)

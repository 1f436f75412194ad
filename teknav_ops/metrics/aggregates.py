"""Aggregates: every five minutes one `queue.metrics` row per queue in AuditLog, for as long as AuditLog is kept.

A row covers one slot of the clock, such as 10:05 to 10:10, and is computed from that slot's minutes once it is over.
Queue and slot are its unique key and it is inserted only where it is absent: whoever dies, restarts, or writes beside
another leaves one row. After a downtime, slots are made up for while Redis still has their minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from teknav_ops.metrics.live import count_queues, durations, rounded
from teknav_ops.metrics.minutes import MINUTE_MS, MinuteCounts, merge, read_many_minutes
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import AuditLog
from teknav_ops.topology import Topology

ACTION: Final = "queue.metrics"
ACTOR: Final = "scheduler"
SLOT_MINUTES: Final = 5
SLOT_MS: Final = SLOT_MINUTES * MINUTE_MS
#: A day of slots is made up for at most; Redis keeps minutes a little longer.
LOOKBACK_SLOTS: Final = 24 * 60 // SLOT_MINUTES
CHECK_SECONDS: Final = 5.0
#: Slots written in one transaction.
_SLOTS_AT_ONCE: Final = 12
#: Also while no slot can have ended, the server's clock is asked so often: it may have been set.
_LOOK_AGAIN_SECONDS: Final = 60.0


class SlotStats(BaseModel):
    """A queue in one slot; docs/metrics.md explains the fields. Those of the queue's state are None in a slot that was
    made up for later: nobody knows any more."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    enqueued: int
    completed: int
    failed: int
    retried: int
    rate: float
    error_rate: float | None
    runs: int
    avg_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    failed_runs: int
    avg_failed_duration_ms: float | None
    p95_failed_duration_ms: float | None
    avg_waited_ms: float | None
    waiting: int | None = None
    paused: int | None = None
    active: int | None = None
    delayed: int | None = None
    dlq: int | None = None
    workers: int | None = None
    is_paused: bool | None = None
    oldest_waiting_age_ms: int | None = None


class Aggregator:
    """Writes the rows of slots that are over; the leader calls `step` every few seconds. One thread may use it."""

    def __init__(self, client: Client, database: Database, topology: Topology) -> None:
        self._client = client
        self._database = database
        self._topology = topology
        self._runner = ScriptRunner(client)
        #: queue -> the newest slot on record.
        self._newest: dict[str, int] = {}
        #: The first slot to look at; None until SQL was asked.
        self._next: int | None = None
        self._idle_until = 0.0

    def step(self) -> bool:
        """The scheduler's duty: write what is due, a bounded number of slots. True when there are more.

        Raises:
            StorageUnavailable: nothing was written; the next step makes up for it.
        """
        if time.monotonic() < self._idle_until:
            return False
        counts = count_queues(self._runner, self._topology)
        if not counts:
            return False
        # On a Cluster, a slot is over when it is over on every node.
        at_ms = min(now.at_ms for now in counts.values())
        has_more = self.fill(at_ms, counts)
        if not has_more:
            until_slot_ends = (SLOT_MS - at_ms % SLOT_MS) / 1000
            self._idle_until = time.monotonic() + min(until_slot_ends, _LOOK_AGAIN_SECONDS)
        return has_more

    def fill(self, at_ms: int, counts: Mapping[str, QueueCounts]) -> bool:
        """Write up to an hour of the slots that were over at `at_ms` (the server's clock) and are not on record.
        `counts` are the queues as of then. True when there are more.
        """
        latest = at_ms // SLOT_MS - 1
        oldest = latest - LOOKBACK_SLOTS + 1
        if self._next is None:
            self._newest = self._look_up(oldest, latest)
            self._next = min(self._newest.get(queue, oldest - 1) for queue in self._topology) + 1
        first = max(oldest, self._next)
        slots = range(first, min(first + _SLOTS_AT_ONCE, latest + 1))
        if not slots:
            return False
        newest = dict(self._newest)
        rows = list(self._rows(slots, latest, counts, newest))
        if rows:
            with self._database.session() as session:
                store(session, rows)
        # Only now: what was not committed is due again.
        self._newest, self._next = newest, slots.stop
        return slots.stop <= latest

    def _look_up(self, oldest: int, latest: int) -> dict[str, int]:
        newest_at = func.max(AuditLog.at)
        query = (
            select(AuditLog.queue, newest_at)
            .where(AuditLog.action == ACTION, AuditLog.at.between(_end_of(oldest), _end_of(latest)))
            .group_by(AuditLog.queue)
        )
        with self._database.reading() as session:
            return {queue: _slot_ending(at) for queue, at in session.execute(query) if queue is not None}

    def _rows(
        self, slots: range, latest: int, counts: Mapping[str, QueueCounts], newest: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        """The rows that are due; `newest` is brought up to date."""
        span = range(slots.start * SLOT_MINUTES, slots.stop * SLOT_MINUTES)
        minutes = read_many_minutes(self._client, dict.fromkeys(self._topology, span))
        for slot in slots:
            for queue in self._topology:
                in_slot = [row for row in minutes[queue] if row.minute // SLOT_MINUTES == slot]
                is_known = queue in newest
                # A queue begins with the first slot in which something happened; from then on none is left out.
                if newest.get(queue, -1) < slot and (is_known or in_slot or slot == latest):
                    newest[queue] = slot
                    yield _row(queue, slot, slot_stats(merge(in_slot), counts.get(queue) if slot == latest else None))


def store(session: Session, rows: list[dict[str, Any]]) -> None:
    """Insert rows where they are absent."""
    insert = insert_into(session, AuditLog).on_conflict_do_nothing(index_elements=["queue", "stream_id"])
    session.execute(insert, rows)


def slot_stats(minutes: MinuteCounts, counts: QueueCounts | None) -> SlotStats:
    """A slot's merged minutes, with the queue's state where it is known."""
    state: dict[str, Any] = {}
    if counts is not None:
        state = {
            "waiting": 0 if counts.is_paused else counts.waiting,
            "paused": counts.waiting if counts.is_paused else 0,
            "active": counts.active,
            "delayed": counts.delayed,
            "dlq": counts.dlq,
            "workers": counts.workers,
            "is_paused": counts.is_paused,
            "oldest_waiting_age_ms": counts.oldest_waiting_age_ms,
        }
    return SlotStats(
        enqueued=minutes.enqueued or 0,
        completed=minutes.completed,
        failed=minutes.failed,
        retried=minutes.retried,
        rate=round(minutes.finished / SLOT_MS * 1000, 6),
        **durations(minutes),
        avg_waited_ms=rounded(minutes.mean_waited_ms),
        **state,
    )


def _row(queue: str, slot: int, stats: SlotStats) -> dict[str, Any]:
    ends_at = _end_of(slot)
    return {
        "at": ends_at,
        "action": ACTION,
        "actor": ACTOR,
        "queue": queue,
        "stream_id": f"metrics:{slot}",
        "detail": {"stats": stats.model_dump(mode="json", by_alias=True), "aggregateAt": ends_at.isoformat()},
    }


def _end_of(slot: int) -> datetime:
    return datetime.fromtimestamp((slot + 1) * SLOT_MS / 1000, UTC)


def _slot_ending(at: datetime) -> int:
    return round(at.timestamp() * 1000) // SLOT_MS - 1

"""Hours of each queue on record: what burn rates over days look back on, longer than Redis keeps minutes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import delete, select

from teknav_ops.alerts.facts import HOUR_MINUTES, Hours
from teknav_ops.metrics.live import count_queues
from teknav_ops.metrics.minutes import MINUTE_MS, read_many_minutes
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import QueueHour
from teknav_ops.topology import Topology
from teknav_ops.triage.burn_rate import EventCounts

HOURS_SECONDS: Final = 60.0
_HOUR_MS: Final = HOUR_MINUTES * MINUTE_MS
#: Whole hours that Redis still has.
_CAUGHT_UP_HOURS: Final = 24
#: The longest window that any rule looks back on, and a bit.
_KNOWN_HOURS: Final = 80
_KEPT_HOURS: Final = 35 * 24
_AT_ONCE: Final = 6


class HourBook:
    """Writes each hour once it is over, and knows the latest."""

    def __init__(self, client: Client, database: Database, topology: Topology) -> None:
        self._client = client
        self._database = database
        self._topology = topology
        self._runner = ScriptRunner(client)
        #: The latest hours by queue; None until they have been read.
        self.known: Hours = None

    def look(self) -> Hours:
        """Read what is on record, without writing. Raises StorageUnavailable."""
        now = self._now()
        self.known = None if now is None else self._read(now)
        return self.known

    def step(self) -> bool:
        """The scheduler's duty: write what is over and not on record. True when there is more to catch up with."""
        now = self._now()
        if now is None:
            return False
        known = self._read(now)
        past = range(now - _CAUGHT_UP_HOURS, now)
        missing = [hour for hour in past if any(hour not in hours for hours in known.values())]
        if missing:
            self._write(missing[-_AT_ONCE:], now)
            known = self._read(now)
        self.known = known
        return len(missing) > _AT_ONCE

    def _now(self) -> int | None:
        """The current hour on Redis's clock; None when no queue can be read."""
        return max(
            (counts.at_ms // _HOUR_MS for counts in count_queues(self._runner, self._topology).values()), default=None
        )

    def _read(self, now: int) -> dict[str, dict[int, EventCounts]]:
        known: dict[str, dict[int, EventCounts]] = {name: {} for name in self._topology}
        with self._database.reading() as session:
            rows = session.execute(
                select(QueueHour.queue, QueueHour.hour_at, QueueHour.finished_count, QueueHour.failed_count)
                .where(QueueHour.hour_at >= _moment(now - _KNOWN_HOURS), QueueHour.hour_at < _moment(now))
            )  # fmt: skip
            for queue, hour_at, finished, failed in rows:
                if queue in known:
                    known[queue][int(hour_at.timestamp() * 1000) // _HOUR_MS] = EventCounts(finished, failed)
        return known

    def _write(self, hours: list[int], now: int) -> None:
        rows = [row for hour in hours for row in self._rows(hour)]
        with self._database.session() as session:
            # What is on record stays: a Redis that has lost its past must not rewrite it.
            session.execute(insert_into(session, QueueHour).on_conflict_do_nothing(), rows)
            session.execute(delete(QueueHour).where(QueueHour.hour_at < _moment(now - _KEPT_HOURS)))

    def _rows(self, hour: int) -> list[Mapping[str, object]]:
        minutes = range(hour * HOUR_MINUTES, (hour + 1) * HOUR_MINUTES)
        found = read_many_minutes(self._client, dict.fromkeys(self._topology, minutes))
        return [
            {
                "queue": queue, "hour_at": _moment(hour),
                "finished_count": sum(row.finished for row in rows), "failed_count": sum(row.failed for row in rows),
            }
            for queue, rows in found.items()
        ]  # fmt: skip


def _moment(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * _HOUR_MS / 1000, UTC)

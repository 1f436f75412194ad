"""The audit writer: moves the queues' audit streams into SQL, exactly once.

A batch's rows and the queue's cursor are committed in one transaction, and the stream is trimmed
only afterwards. Whoever dies in between leaves entries that the cursor already covers: they are
skipped, not doubled. The cursor also fences: a second writer's transaction finds it moved and
rolls back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import AuditCursor, AuditLog
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.audit")

BATCH_LIMIT: Final = 2_000
_START: Final = "0-0"
_TEXTS: Final = ("action", "actor", "job_id", "job_name", "error_type", "fingerprint", "trace_id")
_INTEGERS: Final = ("attempt", "delivery")


class CursorMoved(Exception):
    """Another writer committed this batch first; nothing of ours was kept."""


class AuditWriter:
    """Moves entries; `drain` until there are none, or once around with `step`."""

    def __init__(self, client: Client, database: Database, topology: Topology) -> None:
        self._client = client
        self._database = database
        self._queues = [QueueKeys(name) for name in topology]
        #: queue -> the cursor as last seen: an idle writer asks SQL nothing.
        self._seen: dict[str, str] = {}

    def step(self) -> int:
        """Move at most one batch of each queue. Answers how many entries were moved."""
        return sum(self._move(keys) for keys in self._queues)

    def drain(self) -> int:
        """Move everything there is."""
        total = 0
        while moved := self.step():
            total += moved
        return total

    def _move(self, keys: QueueKeys) -> int:
        cursor = self._seen.get(keys.queue) or self._read_cursor(keys.queue)
        entries = self._client.xrange(keys.audit, f"({cursor}", "+", count=BATCH_LIMIT)
        if entries:
            try:
                with self._database.session() as session:
                    self._store(session, keys.queue, cursor, entries)
            except CursorMoved:
                log.info("audit.overtaken", queue=keys.queue)
                del self._seen[keys.queue]
                return 0
            cursor = self._seen[keys.queue] = entries[-1][0]
            self._client.xtrim(keys.audit, minid=_next(cursor), approximate=False)
        return len(entries)

    def _read_cursor(self, queue: str) -> str:
        with self._database.session() as session:
            start = insert_into(session, AuditCursor).values(
                queue=queue, stream_id=_START, updated_at=datetime.now(UTC)
            )
            session.execute(start.on_conflict_do_nothing())
            cursor = session.scalars(select(AuditCursor.stream_id).where(AuditCursor.queue == queue)).one()
        self._seen[queue] = cursor
        if cursor != _START:
            # Whoever wrote it may have died before trimming.
            self._client.xtrim(QueueKeys(queue).audit, minid=_next(cursor), approximate=False)
        return cursor

    def _store(
        self, session: Session, queue: str, cursor: str, entries: Sequence[tuple[str, Mapping[str, str]]]
    ) -> None:
        moved = session.execute(
            update(AuditCursor)
            .where(AuditCursor.queue == queue, AuditCursor.stream_id == cursor)
            .values(stream_id=entries[-1][0], updated_at=datetime.now(UTC))
        )
        if moved.rowcount != 1:  # type: ignore[attr-defined]
            raise CursorMoved(queue)
        session.execute(insert(AuditLog), [_row(queue, stream_id, fields) for stream_id, fields in entries])


def _row(queue: str, stream_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """One stream entry as a row; its time is the stream id's, the server's clock."""
    row: dict[str, Any] = {name: fields.get(name) or None for name in _TEXTS}
    row |= {name: int(fields[name]) if fields.get(name) else None for name in _INTEGERS}
    detail = fields.get("detail")
    return row | {
        "queue": queue,
        "stream_id": stream_id,
        "at": datetime.fromtimestamp(int(stream_id.partition("-")[0]) / 1000, UTC),
        "duration_ms": float(fields["duration_ms"]) if fields.get("duration_ms") else None,
        "waited_ms": float(fields["waited_ms"]) if fields.get("waited_ms") else None,
        "detail": {"text": detail} if detail else None,
    }


def _next(stream_id: str) -> str:
    """The smallest id after this one: what `XTRIM MINID` may keep."""
    at_ms, _, sequence = stream_id.partition("-")
    return f"{at_ms}-{int(sequence) + 1}"

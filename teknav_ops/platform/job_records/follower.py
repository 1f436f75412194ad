"""Follows AuditLog: whatever it tells of a job, other than that it was accepted or has succeeded, its records say too.

How far it has come is written in the transaction that changes the records: nothing is missed, whoever dies. Where
two of them meet, one takes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from teknav_ops.platform.job_records.changes import change_of, rows_of_jobs, write
from teknav_ops.platform.job_records.kind import Kind
from teknav_ops.platform.job_records.kinds import KINDS
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.settled import settled_id
from teknav_ops.storage.tables import AuditLog, AuditPosition

LOOK_SECONDS: Final = 1.0
#: Entries looked at in one step.
_WINDOW: Final = 1_000
_SETTLE_SECONDS: Final = 0.2
_READER: Final = "job-records"
#: What may befall a job outside its processor. The scripts' entries tell it; that of a replay's or a cancellation's
#: request does not.
_ACTIONS: Final = ("job.failed", "job.lost", "job.cancelled", "job.dropped", "job.replayed")


class JobRecordFollower:
    """The duty. One thread may use it; others may do the same elsewhere."""

    def __init__(self, client: Client, database: Database, *, kinds: Sequence[Kind] = KINDS) -> None:
        self._client = client
        self._database = database
        self._kinds = kinds

    def step(self) -> bool:
        """Go on by a bounded number of entries. True when there are more.

        Raises:
            redis-py's errors of an outage, StorageUnavailable: nothing was written, the next step begins there again.
        """
        with self._database.reading() as session:
            begun = select(AuditPosition.last_id).where(AuditPosition.reader == _READER)
            position = session.scalar(begun)
        until = settled_id(self._database, AuditLog.__table__, wait_seconds=_SETTLE_SECONDS)  # type: ignore[arg-type]
        if until is None:
            return False
        if position is None:
            self._begin(until)
            return False
        if until <= position:
            return False
        return self._follow(position, min(until, position + _WINDOW)) and until > position + _WINDOW

    def _begin(self, at: int) -> None:
        """Here, for the first time. Records of before are the sweep's."""
        with self._database.session() as session:
            first = insert_into(session, AuditPosition).values(reader=_READER, last_id=at)
            session.execute(first.on_conflict_do_nothing())

    def _follow(self, position: int, last: int) -> bool:
        named = self._named(position, last)
        changes = [
            change_of(self._client, self._database, kind, rows, may_be_gone=False)
            for kind in self._kinds
            if (rows := rows_of_jobs(self._database, kind, {job_id for q, job_id in named if q in kind.queues}))
        ]
        for change in changes:
            change.prepare(self._client, self._database)
        return write(self._database, changes, move=lambda session: _move(session, position, last))

    def _named(self, position: int, last: int) -> list[tuple[str, str]]:
        """Queue and id of the jobs that these entries tell such things of."""
        between = (AuditLog.id > position, AuditLog.id <= last)
        queues = {queue for kind in self._kinds for queue in kind.queues}
        told = (AuditLog.queue.in_(queues), AuditLog.action.in_(_ACTIONS), AuditLog.stream_id.is_not(None))
        found = select(AuditLog.queue, AuditLog.job_id).where(*between, *told).distinct()
        with self._database.reading() as session:
            return [(queue, job_id) for queue, job_id in session.execute(found) if queue and job_id]


def _move(session: Session, position: int, last: int) -> bool:
    """On to there; False where another one has been here first, and the next step goes on where that has come."""
    here = (AuditPosition.reader == _READER, AuditPosition.last_id == position)
    moved = session.execute(update(AuditPosition).where(*here).values(last_id=last))
    return bool(moved.rowcount == 1)  # type: ignore[attr-defined]

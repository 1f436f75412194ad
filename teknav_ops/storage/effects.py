"""Effects: what lets a job that is handed out again be skipped."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import JobEffect


def record_effect(session: Session, job_id: str, queue: str, summary: Mapping[str, Any]) -> None:
    """Record, in the transaction of the effect itself, that it happened. Recording twice changes nothing."""
    row = insert_into(session, JobEffect).values(job_id=job_id, queue=queue, summary=dict(summary))
    session.execute(row.on_conflict_do_nothing())


class SqlEffects:
    """The engine's view of the effects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, job_id: str) -> Mapping[str, Any] | None:
        """The recorded summary, or None. Raises StorageUnavailable."""
        with self._database.reading() as session:
            return session.scalar(select(JobEffect.summary).where(JobEffect.job_id == job_id))

    def require_writes(self) -> None:
        """Write and take it back, in one transaction. Raises StorageUnavailable."""
        probe = f"probe-{uuid.uuid4()}"
        with self._database.session() as session:
            record_effect(session, probe, "", {})
            session.execute(delete(JobEffect).where(JobEffect.job_id == probe))

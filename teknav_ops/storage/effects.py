"""Effects: what lets a job that is handed out again be skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import JobEffect


def record_effect(session: Session, job_id: str, queue: str, summary: Mapping[str, Any]) -> None:
    """Record, in the transaction of the effect itself, that it happened. Recording twice changes nothing."""
    if session.get(JobEffect, job_id) is None:
        session.add(JobEffect(job_id=job_id, queue=queue, summary=dict(summary)))


class SqlEffects:
    """The engine's view of the effects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, job_id: str) -> Mapping[str, Any] | None:
        """The recorded summary, or None. Raises StorageUnavailable."""
        with self._database.session() as session:
            return session.scalar(select(JobEffect.summary).where(JobEffect.job_id == job_id))

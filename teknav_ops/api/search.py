"""Finding a job from anywhere: by its id on any queue, or by the trace it belongs to."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import select, text

from teknav_ops.jobs.paging import read_hashes
from teknav_ops.jobs.queries import readable_record
from teknav_ops.jobs.record import JobRecord
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from teknav_ops.topology import Topology

TRACE_LIMIT: Final = 100
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_ID_LIMIT_CHARACTERS: Final = 200

#: Where a job is, or was: queue and id.
Place = tuple[str, str]


class JobSearch:
    """Looks in Redis first, and in AuditLog for what Redis does not keep."""

    def __init__(self, client: Client, database: Database, topology: Topology) -> None:
        self._client = client
        self._database = database
        self._topology = topology

    def places(self, q: str) -> list[Place]:
        """Where jobs with this id, or of this trace (32 hex digits), are or were; a hundred and one at most."""
        wanted = q.strip()
        if not wanted or len(wanted) > _ID_LIMIT_CHARACTERS or "\0" in wanted:
            return []
        if _TRACE_ID.fullmatch(wanted.lower()):
            return self._of_trace(wanted.lower())
        return self._of_id(wanted)

    def _of_id(self, job_id: str) -> list[Place]:
        pipeline = self._client.pipeline(transaction=False)
        for queue in self._topology:
            pipeline.execute_command("EXISTS", QueueKeys(queue).job(job_id))
        kept = [(queue, job_id) for queue, found in zip(self._topology, pipeline.execute(), strict=True) if found]
        if kept:
            return kept
        known = select(AuditLog.queue).where(AuditLog.job_id == job_id, AuditLog.queue.is_not(None)).limit(1)
        with self._database.reading() as session:
            return [(queue, job_id) for queue in session.scalars(known) if queue]

    def _of_trace(self, trace_id: str) -> list[Place]:
        # The condition as text: the index is a partial one.
        enqueued = select(AuditLog.queue, AuditLog.job_id).where(text("action = 'job.enqueued'"))
        enqueued = enqueued.where(AuditLog.trace_id == trace_id).limit(TRACE_LIMIT + 1)
        with self._database.reading() as session:
            return [(queue, job_id) for queue, job_id in session.execute(enqueued) if queue and job_id]

    def records(self, places: list[Place]) -> list[JobRecord | None]:
        """Their records, in one round trip; None for those that are not kept."""
        hashes = read_hashes(self._client, [QueueKeys(queue).job(job_id) for queue, job_id in places])
        return [
            readable_record(*place, fields) if fields else None for place, fields in zip(places, hashes, strict=True)
        ]

"""One job's whole story, or that of all jobs of a trace: from AuditLog, and what is still in the streams."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select

from teknav_ops.audit.trail import ENTRY_COLUMNS, AuditEntry, jobs_of_trace
from teknav_ops.jobs.identifiers import checked_id
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from teknav_ops.topology import Topology

ENTRY_LIMIT: Final = 5_000
#: Entries of each stream that are looked at, newest first. Usually a stream holds half a second's.
_STREAM_LIMIT: Final = 5_000
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_NUMBERS: Final = {"attempt": int, "delivery": int, "duration_ms": float, "waited_ms": float}
_NAMES: Final = {field.name for field in dataclasses.fields(AuditEntry)} - {"id", "at", "queue", "stream_id", "detail"}


@dataclasses.dataclass(frozen=True, slots=True)
class Story:
    """Entries, oldest first. Incomplete when there are more than `ENTRY_LIMIT`, or when so many entries wait to be
    moved to AuditLog that not all could be looked at.
    """

    entries: list[AuditEntry]
    is_complete: bool


def story(database: Database, client: Client, topology: Topology, job_or_trace: str) -> Story:
    """Everything that AuditLog and the streams say about a job id, or about the jobs of a trace id.

    Raises:
        UnknownJob: no job or trace can have that id.
        StorageUnavailable: the database did not answer. An outage of Redis raises redis-py's errors.
    """
    checked_id(job_or_trace)
    # The streams first: what is moved meanwhile is then seen twice, not never.
    waiting, saw_all = _in_streams(client, topology, job_or_trace)
    with database.reading() as session:
        job_ids = {job_or_trace}
        if _TRACE_ID.fullmatch(job_or_trace):
            job_ids |= {*jobs_of_trace(session, job_or_trace), *(entry.job_id for entry in waiting if entry.job_id)}
        moved = select(*ENTRY_COLUMNS).where(AuditLog.job_id.in_(job_ids)).order_by(AuditLog.at, AuditLog.id)
        entries = [AuditEntry(**row._mapping) for row in session.execute(moved.limit(ENTRY_LIMIT))]
    seen = {(entry.queue, entry.stream_id) for entry in entries if entry.stream_id}
    entries += [entry for entry in waiting if (entry.queue, entry.stream_id) not in seen]
    # Of one moment, AuditLog's order and the stream's are that of happening.
    return Story(sorted(entries, key=lambda entry: entry.at), saw_all and len(entries) < ENTRY_LIMIT)


def _in_streams(client: Client, topology: Topology, job_or_trace: str) -> tuple[list[AuditEntry], bool]:
    found: list[AuditEntry] = []
    saw_all = True
    for queue in topology:
        newest = client.execute_command("XREVRANGE", QueueKeys(queue).audit, "+", "-", "COUNT", _STREAM_LIMIT)
        saw_all = saw_all and len(newest) < _STREAM_LIMIT
        found += [
            _entry(queue, stream_id, fields)
            for stream_id, fields in reversed(newest)
            if job_or_trace in (fields.get("job_id"), fields.get("trace_id"))
        ]
    return found, saw_all


def _entry(queue: str, stream_id: str, fields: dict[str, str]) -> AuditEntry:
    facts: dict[str, Any] = {name: fields[name] or None for name in _NAMES if name in fields}
    facts |= {name: read(fields[name]) for name, read in _NUMBERS.items() if fields.get(name)}
    at = datetime.fromtimestamp(int(stream_id.partition("-")[0]) / 1000, UTC)
    detail = {"text": fields["detail"]} if fields.get("detail") else None
    return AuditEntry(**{"action": "unknown", **facts, "id": None, "at": at, "queue": queue,
                         "stream_id": stream_id, "detail": detail})  # fmt: skip

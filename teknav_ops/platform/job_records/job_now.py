"""How jobs stand: by their own records in Redis or, where those are gone, by what AuditLog says of their ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from redis.exceptions import RedisError
from sqlalchemy import func, select

from teknav_ops.jobs.states import JobState
from teknav_ops.payloads.plain import printable
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client, is_cluster
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

_FIELDS: Final = ("state", "delivery", "error_type", "error")
#: AuditLog's entries about a job's end, or that it has none; the newest counts.
_ENDINGS: Final = {
    "job.completed": JobState.COMPLETED,
    "job.failed": JobState.FAILED,
    "job.cancelled": JobState.CANCELLED,
    "job.dropped": JobState.CANCELLED,
    "job.replayed": None,
    "job.enqueued": None,
}
_ERROR_CHARACTERS: Final = 2_000
_NAME_CHARACTERS: Final = 200


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobNow:
    """How a job stands. `state` None: Redis keeps no record of it, and AuditLog does not know its end.

    `by` is who cancelled it.
    """

    state: JobState | None
    delivery: int = 0
    error_type: str = ""
    error: str = ""
    by: str = ""

    def __post_init__(self) -> None:
        """What others wrote is made to fit a column: PostgreSQL keeps no NUL."""
        for name, limit in (("error_type", _NAME_CHARACTERS), ("error", _ERROR_CHARACTERS), ("by", _NAME_CHARACTERS)):
            object.__setattr__(self, name, printable(getattr(self, name)).replace("\0", "\ufffd")[:limit])

    @property
    def reason(self) -> str:
        """Why it has no success to tell of, as a record's `error` says it."""
        if self.state is JobState.CANCELLED:
            return f"JobCancelled: by {self.by or 'an operator'}"
        if self.state is None:
            return "JobGone: neither Redis nor AuditLog knows how its job ended"
        return f"{self.error_type}: {self.error}"


def jobs_now(
    client: Client, database: Database, queues: Sequence[str], job_ids: Collection[str]
) -> Mapping[str, JobNow]:
    """How each of these jobs stands, on whichever of the queues it is; those whose records are damaged are left out.

    Raises:
        redis-py's errors of an outage, StorageUnavailable.
    """
    found: dict[str, JobNow | None] = {}
    places = [(queue, job_id) for queue in queues for job_id in job_ids]
    keys = [QueueKeys(queue).job(job_id) for queue, job_id in places]
    for (_, job_id), fields in zip(places, _read(client, keys), strict=True):
        if fields is None or fields["state"]:
            found[job_id] = _of_record(fields) if fields else None
    gone = {job_id for job_id in job_ids if job_id not in found}
    cancelled = {job_id for job_id, now in found.items() if now is not None and now.state is JobState.CANCELLED}
    ends = _ends(database, gone | cancelled) if gone | cancelled else {}
    for job_id in gone:
        found[job_id] = ends.get(job_id, JobNow(state=None))
    for job_id in cancelled & ends.keys():
        # By whom only AuditLog knows, and perhaps not yet.
        found[job_id] = ends[job_id] if ends[job_id].state is JobState.CANCELLED else found[job_id]
    return {job_id: now for job_id, now in found.items() if now is not None}


def _read(client: Client, keys: Sequence[str]) -> list[dict[str, str] | None]:
    """The fields of each hash, '' for what is not there; None for what is no hash."""
    if is_cluster(client):
        return [_answered(_ask(client, key)) for key in keys]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hmget(key, list(_FIELDS))
    return [_answered(answer) for answer in pipeline.execute(raise_on_error=False)]


def _ask(client: Client, key: str) -> Any:
    try:
        return client.hmget(key, list(_FIELDS))
    except RedisError as error:
        return error


def _answered(answer: Any) -> dict[str, str] | None:
    if isinstance(answer, OUTAGE_ERRORS):
        # A server that does not answer must not look like one that knows of no job.
        raise answer
    return None if isinstance(answer, Exception) else {k: v or "" for k, v in zip(_FIELDS, answer, strict=True)}


def _of_record(fields: Mapping[str, str]) -> JobNow | None:
    delivery = fields["delivery"] or "0"
    if fields["state"] not in set(JobState) or not delivery.isdecimal():
        return None
    return JobNow(
        state=JobState(fields["state"]), delivery=int(delivery), error_type=fields["error_type"], error=fields["error"]
    )


def _ends(database: Database, job_ids: Collection[str]) -> dict[str, JobNow]:
    """What AuditLog's newest entries say of jobs that have ended."""
    newest = select(func.max(AuditLog.id)).where(AuditLog.job_id.in_(job_ids), AuditLog.action.in_(_ENDINGS))
    of_scripts = newest.where(AuditLog.stream_id.is_not(None)).group_by(AuditLog.job_id)
    columns = (
        AuditLog.job_id,
        AuditLog.action,
        AuditLog.actor,
        AuditLog.delivery,
        AuditLog.error_type,
        AuditLog.detail,
    )
    with database.reading() as session:
        rows = session.execute(select(*columns).where(AuditLog.id.in_(of_scripts))).all()
    return {
        row.job_id: JobNow(
            state=_ENDINGS[row.action],
            delivery=row.delivery or 0,
            error_type=row.error_type or "",
            error=(row.detail or {}).get("text", ""),
            by=row.actor or "",
        )
        for row in rows
        if _ENDINGS[row.action] is not None
    }

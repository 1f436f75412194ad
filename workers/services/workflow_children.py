"""The jobs that a workflow's steps enqueue: made once, watched, and taken out again.

A child's id is computed from its run, step and attempt, so a worker that died between enqueueing and writing
it down finds the same job again. What Redis has trimmed is looked up in SQL: the recorded effect, then AuditLog.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from teknav_ops.engine.submission import submit
from teknav_ops.errors import UnknownJob
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads import codec
from teknav_ops.payloads.base import Payload
from teknav_ops.platform.workflow_cancelling import WORKFLOW_ACTOR, cancel_child
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import NewJob, ScriptRunner
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import AuditLog
from teknav_ops.topology import TOPOLOGY

if TYPE_CHECKING:
    from workers.services import Services

_NAMESPACE: Final = uuid.UUID("3f0f3c0e-59f4-4d0e-9a55-5a1a1d1c7b11")
#: AuditLog's last word on a job, where Redis keeps no record of it.
_ENDINGS: Final = {
    "job.completed": JobState.COMPLETED, "job.failed": JobState.FAILED, "job.cancelled": JobState.CANCELLED,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Child:
    """Where a child stands; `state` None means that there is no trace of its end."""

    state: JobState | None
    result: Any = None
    error: str = ""


def _told(state: JobState, result: Any) -> JobState:
    """A workflow that was cancelled ends as a completed job whose result says so."""
    is_run = isinstance(result, Mapping) and "run_id" in result
    is_cancelled = state is JobState.COMPLETED and is_run and result.get("status") == "cancelled"
    return JobState.CANCELLED if is_cancelled else state


class ChildJobs:
    """The children of one run."""

    def __init__(self, services: Services, run_job_id: str, trace_id: str) -> None:
        self._services = services
        self._run_job_id = run_job_id
        self._trace_id = trace_id

    def id_of(self, path: str, attempt: int) -> str:
        """The id of the child of this attempt."""
        return str(uuid.uuid5(_NAMESPACE, f"{self._run_job_id}/{path}/{attempt}"))

    def validated(self, queue: str, job: str, data: Any, *, where: str) -> tuple[Payload, Any]:
        """The payload, and how it may be shown: secrets masked. Raises InvalidPayload, UnknownQueue, UnknownJob."""
        payload = codec.validate(TOPOLOGY[queue].payload_of(job), data, where=where)
        return payload, codec.mask(json.loads(self._sealed(payload, codec.Holder(queue, job, ""))))

    def enqueue(self, queue: str, job: str, payload: Payload, child_id: str, *, may_exist: bool) -> None:
        """Enqueue the child under its id. With `may_exist`, only if it never was. Raises RedisUnavailable."""
        if may_exist and self._was_accepted(queue, child_id):
            return
        trace_id = self._trace_id or secrets.token_hex(16)
        envelope = {"options": {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}}
        new_job = NewJob(
            id=child_id, name=job, payload=self._sealed(payload, codec.Holder(queue, job, child_id)),
            options=json.dumps(envelope, separators=(",", ":")), idempotency_key=f"workflow-{child_id}",
            trace_id=trace_id,
        )  # fmt: skip
        submit(
            ScriptRunner(self._services.redis), TOPOLOGY[queue], [new_job], cipher=self._services.cipher,
            actor=WORKFLOW_ACTOR, timeout_seconds=self._services.settings.producer_timeout_seconds,
        )  # fmt: skip

    def _sealed(self, payload: Payload, holder: codec.Holder) -> str:
        limit_bytes = self._services.settings.payload_limit_bytes
        return codec.seal(payload, self._services.cipher, holder, limit_bytes=limit_bytes)

    def _was_accepted(self, queue: str, child_id: str) -> bool:
        keys = QueueKeys(TOPOLOGY[queue].name)
        redis = self._services.redis
        if redis.exists(keys.job(child_id)) or redis.exists(f"{keys.idempotency_family}workflow-{child_id}"):
            return True
        with self._services.database.reading() as session:
            written = select(AuditLog.id).where(AuditLog.job_id == child_id).limit(1)
            has_effect = SqlEffects(self._services.database).find(child_id) is not None
            return has_effect or session.scalar(written) is not None

    def look(self, queue: str, child_id: str) -> Child:
        """Where the child stands. Raises UnknownQueue, CorruptRecord, StorageUnavailable."""
        try:
            record = JobQueries(self._services.redis, TOPOLOGY).get(queue, child_id)
        except UnknownJob:
            return self._look_in_sql(child_id)
        return Child(_told(record.state, record.result), record.result, f"{record.error_type}: {record.error}")

    def _look_in_sql(self, child_id: str) -> Child:
        effect = SqlEffects(self._services.database).find(child_id)
        if effect is not None:
            return Child(_told(JobState.COMPLETED, effect), dict(effect))
        with self._services.database.reading() as session:
            newest_first = select(AuditLog).where(AuditLog.job_id == child_id).order_by(AuditLog.id.desc()).limit(20)
            for entry in session.scalars(newest_first):
                if entry.action in _ENDINGS:
                    return Child(_ENDINGS[entry.action], None, f"{entry.error_type}: its record was trimmed")
        return Child(None)

    def cancel(self, queue: str, child_id: str) -> None:
        """Take the child out if it has not begun. A workflow that has begun is cancelled as a run."""
        cancel_child(self._services.redis, self._services.database, TOPOLOGY, queue, child_id)

"""DeadLetter: a job that will not be retried by itself, kept until an operator decides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AliasGenerator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from teknav_ops.errors import CorruptRecord
from teknav_ops.jobs.record import moment, moment_or_epoch
from teknav_ops.payloads import plain
from teknav_ops.payloads.codec import mask


class DeadLetter(BaseModel):
    """One dead letter; its JSON names are those the mission fixes (`originalQueue`, …)."""

    model_config = ConfigDict(
        frozen=True, alias_generator=AliasGenerator(serialization_alias=to_camel), populate_by_name=True
    )

    original_queue: str
    original_job_id: str
    job_name: str
    error_type: str
    error: str
    stack: str
    fingerprint: str
    attempts_made: int
    failed_at: datetime
    payload: Any
    trace_id: str

    @property
    def failed_at_ms(self) -> int:
        """The failure's moment as stored: with the id it names this failure and no later one."""
        return round(self.failed_at.timestamp() * 1000)


def read_dead_letter(job_id: str, fields: Mapping[str, str]) -> DeadLetter:
    """Build a dead letter from its hash. A payload that is not JSON is shown as its text.

    Raises:
        CorruptRecord: when the hash cannot be read.
    """
    try:
        return DeadLetter.model_validate(
            {
                "original_queue": fields["originalQueue"],
                "original_job_id": fields["originalJobId"],
                "job_name": fields["jobName"],
                "error_type": fields["errorType"],
                "error": fields["error"],
                "stack": fields["stack"],
                "fingerprint": fields["fingerprint"],
                "attempts_made": fields["attemptsMade"],
                "failed_at": moment(fields["failedAt"]),
                "payload": mask(plain.read_or_raw(fields["payload"])),
                "trace_id": fields["traceId"],
            }
        )
    except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
        raise CorruptRecord(f"dead letter {job_id}: {type(error).__name__}: {error}") from error


def damaged_letter(queue: str, job_id: str, fields: Mapping[str, str], error: CorruptRecord) -> DeadLetter:
    """What can be shown of a dead letter that cannot be read: one row that says so, in place of none."""
    return DeadLetter(
        original_queue=queue,
        original_job_id=job_id,
        job_name=fields.get("jobName") or "unreadable",
        error_type="CorruptRecord",
        error=f"this dead letter cannot be read: {error}"[:1_000],
        stack=fields.get("stack", ""),
        fingerprint=fields.get("fingerprint", ""),
        attempts_made=0,
        failed_at=moment_or_epoch(fields.get("failedAt")),
        payload=plain.raw(fields.get("payload", "")),
        trace_id=fields.get("traceId", ""),
    )

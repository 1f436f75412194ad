"""DeadLetter: a job that will not be retried by itself, kept until an operator decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AliasGenerator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from teknav_ops.errors import CorruptRecord
from teknav_ops.jobs.record import moment
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
    """Build a dead letter from its hash.

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
                "payload": _payload(fields["payload"]),
                "trace_id": fields["traceId"],
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptRecord(f"dead letter {job_id}: {type(error).__name__}: {error}") from error


def _payload(stored: str) -> Any:
    # A dead letter may exist because its payload is not JSON; it must be readable all the same.
    try:
        return mask(json.loads(stored))
    except ValueError:
        return stored

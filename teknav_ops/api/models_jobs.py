"""What the API takes and gives, for jobs, dead letters and replays."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from teknav_ops.api.models import RequestBody
from teknav_ops.api.parameters import window_of
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter import DeadLetter
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.record import JobRecord


class EnqueueRequest(RequestBody):
    """A job to enqueue. Its payload must fit the job's model (see the queue's `jobs`)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"job": "optimize-image", "payload": {"file_id": 7}, "delay_seconds": 60}]},
    )

    job: str = Field(min_length=1, max_length=100)
    payload: dict[str, Any]
    delay_seconds: float | None = Field(None, ge=0, le=366 * 86_400, description="Not before so long.")
    priority: int = Field(0, ge=-9, le=9, description="-9 is first, 9 is last.")
    trace_id: str | None = Field(
        None, pattern="^[0-9a-f]{32}$", description="The trace that this job belongs to (W3C trace context)."
    )


class EnqueueAnswer(BaseModel):
    """What became of the job. With a used `Idempotency-Key`, `job_id` is the key's first job and `is_new` false."""

    job_id: str = Field(examples=["0a4f3c1e-8d7b-4c55-9c39-3f8f2f3a7d11"])
    queue: str
    is_new: bool


class TimelineEntry(BaseModel):
    """One thing that happened to a job, from the audit trail; `is_on_record` False has not reached AuditLog yet."""

    at: datetime
    action: str = Field(examples=["job.completed"])
    actor: str | None
    attempt: int | None
    delivery: int | None
    duration_ms: float | None
    waited_ms: float | None
    error_type: str | None
    fingerprint: str | None
    outcome: str | None
    detail: Any
    is_on_record: bool = True


class Timeline(BaseModel):
    """A job's story, oldest first."""

    job_id: str
    entries: list[TimelineEntry]


class DeliveryAttempt(BaseModel):
    """One attempt to deliver a webhook, and what its receiver answered."""

    at: datetime
    attempt: int
    event_type: str
    outcome: str
    host: str | None
    status_code: int | None
    duration_ms: float | None
    answer: str | None
    error: str | None


class JobExport(BaseModel):
    """Everything on record about one job."""

    job: JobRecord
    dead_letter: DeadLetter | None
    timeline: list[TimelineEntry]
    deliveries: list[DeliveryAttempt] = Field(description="Of a job that delivers webhooks, the newest attempt first.")


class FoundJob(BaseModel):
    """A job that a search found: where it is."""

    queue: str
    job_id: str
    name: str | None
    state: str | None = Field(description="None when the job itself is no longer kept, only its audit trail.")
    trace_id: str | None
    at: datetime | None


class SearchAnswer(BaseModel):
    """What was found under a job id or a trace id."""

    q: str
    items: list[FoundJob]
    is_complete: bool = Field(description="False when a trace has more jobs than are listed.")


class DeadLetterGroupModel(BaseModel):
    """Dead letters with one cause."""

    model_config = ConfigDict(from_attributes=True)

    error_type: str
    fingerprint: str
    count: int
    first_failed_at: datetime
    last_failed_at: datetime
    example_error: str


class DeadLetterGroups(BaseModel):
    """A page of the causes of a queue's dead letters."""

    items: list[DeadLetterGroupModel]
    next_cursor: str | None = Field(examples=["17_0f3a9c2e1b4d5a67", None])
    total_count: int = Field(description="Dead letters in all groups listed.")
    cause_count: int = Field(description="How many causes there are, of this error type if one is asked for.")


class ReplayEdit(BaseModel):
    """How to replay one job. The payload it had stays in the audit trail."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"payload": {"file_id": 8}}]})

    payload: dict[str, Any] | None = Field(None, description="Replaces the job's payload; None keeps it.")


class DeadLetterFilters(BaseModel):
    """Which dead letters. What is left out does not filter."""

    model_config = ConfigDict(extra="forbid")

    error_type: str | None = Field(None, max_length=200)
    fingerprint: str | None = Field(None, max_length=64)
    job_name: str | None = Field(None, max_length=100)
    text: str | None = Field(None, min_length=1, max_length=200, description="In error, payload or job id.")
    replay: str | None = Field(None, pattern=r"^[0-9a-f]{1,32}$", description="What failed again after this replay.")
    since: datetime | None = None
    until: datetime | None = None

    def where(self) -> DeadLetterFilter:
        """The same as what is asked of the queue. Raises InvalidRequest for what cannot be."""
        named = self.model_dump(exclude={"since", "until"})
        return DeadLetterFilter(**named, window=window_of(self.since, self.until))


class ReplayRequest(RequestBody):
    """Dead letters to freeze for a batch replay: all that match the filters, or the ids named."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "payment outage", "filters": {"error_type": "WebhookFailed"}}]},
    )

    name: str = Field("", max_length=120)
    filters: DeadLetterFilters = DeadLetterFilters()
    job_ids: list[str] | None = Field(None, min_length=1, max_length=10_000)
    limit: int | None = Field(None, ge=1, le=100_000, description="Only the oldest so many; None is all that match.")


class ReplayStart(RequestBody):
    """How fast to replay. On a running replay, a new rate takes effect."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rate_per_second": 20}]})

    rate_per_second: float | None = Field(None, ge=0.05, le=10_000, description="None is as fast as it can.")


class ReplayView(Replay):
    """A batch replay. `effects` says what jobs of this queue could repeat when they run once more."""

    skipped: int = Field(description="Dead letters that were gone, or had failed anew, when their turn came.")
    effects: str


class DeletionRequest(RequestBody):
    """Dead letters to freeze for a batch deletion: all that match the filters, or the ids named."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"filters": {"error_type": "UnknownFile"}}]}
    )

    filters: DeadLetterFilters = DeadLetterFilters()
    job_ids: list[str] | None = Field(None, min_length=1, max_length=10_000)
    limit: int | None = Field(None, ge=1, le=100_000, description="Only the oldest so many; None is all that match.")


class DeletionRun(BaseModel):
    """Why the dead letters are deleted. It stands in the audit trail of each job."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the files are gone"}]})

    reason: str = Field(min_length=1, max_length=300)


class PurgeAnswer(BaseModel):
    """How many dead letters were deleted."""

    deleted_count: int


class JobActionAnswer(BaseModel):
    """A job after an operator's action."""

    action: Literal["retried", "promoted", "cancelled", "replayed", "run again"]
    job: JobRecord

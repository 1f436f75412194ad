"""What the API takes and gives, for workers, the audit trail and alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from teknav_ops.metrics.scheduler_state import SchedulerState


class RunningJob(BaseModel):
    """A job that a worker holds now."""

    queue: str
    job_id: str
    name: str
    started_at: datetime | None
    progress: float | None
    progress_note: str | None
    stuck_at: datetime | None = Field(description="Since when it is known to run long past its time limit.")


class WorkerModel(BaseModel):
    """One worker process. `is_alive` False has sent no heartbeat for a minute; its jobs are taken back."""

    id: str = Field(examples=["web-1:4711"])
    host: str
    pid: int | None
    started_at: datetime | None
    last_heartbeat_at: datetime
    is_alive: bool
    thread_count: int | None
    queues: list[str]
    running: list[RunningJob]


class Workers(BaseModel):
    """All worker processes, the liveliest first."""

    items: list[WorkerModel]
    alive_count: int
    running_count: int


class AuditEntryModel(BaseModel):
    """One row of AuditLog."""

    id: int | None
    at: datetime
    action: str = Field(examples=["dlq.replayed"])
    actor: str | None
    queue: str | None
    job_id: str | None
    job_name: str | None
    attempt: int | None
    delivery: int | None
    duration_ms: float | None
    waited_ms: float | None
    error_type: str | None
    fingerprint: str | None
    trace_id: str | None
    outcome: str | None
    detail: Any


class AuditPageModel(BaseModel):
    """Rows of AuditLog, newest first. `next_cursor` is None when nothing older matches; with fewer items than asked
    for, the search went back to `looked_back_to` and may go on.
    """

    items: list[AuditEntryModel]
    next_cursor: str | None
    looked_back_to: datetime | None


class AlertModel(BaseModel):
    """One time that a rule's condition held; `resolved_at` is None while it still does.

    `value` and `message` are how it looks now, as of `measured_at`; `first_value` and `first_message` when it opened.
    """

    id: int
    rule: str
    kind: str
    severity: str
    queue: str
    since_at: datetime
    opened_at: datetime
    resolved_at: datetime | None
    value: float | None
    unit: str
    message: str
    resolution: str | None
    first_value: float | None
    first_message: str
    measured_at: datetime | None
    runbook: str


class Alerts(BaseModel):
    """Open alerts, pages first; then those that are over, the latest first."""

    items: list[AlertModel]
    open_count: int
    scheduler: SchedulerState = Field(
        description="Whether anybody looks at the rules: `missing` means that no alert opens or ends."
    )

"""JobRecord: one job's current facts, as read from its hash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, FiniteFloat

from teknav_ops.errors import CorruptRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads import plain
from teknav_ops.payloads.codec import mask

#: Stands where a damaged record does not say when.
EPOCH = datetime.fromtimestamp(0, UTC)
#: The option under which a job's envelope names the job that it runs again.
RUN_AGAIN_OF: Final = "run_again_of"


class Attempt(BaseModel):
    """One run that did not succeed: when it began, how long it took, why it failed."""

    model_config = ConfigDict(frozen=True)

    attempt: int
    delivery: int
    started_at: datetime
    duration_ms: FiniteFloat
    worker: str
    error_type: str
    error: str
    stack: str


class JobRecord(BaseModel):
    """One job. Times are UTC; the payload's secrets are masked.

    `attempts_made` counts the runs of this life (a replay starts a new one); `attempts` keeps the
    newest twenty runs that failed or were stuck, over all lives. `run_again_of` is the ended job that this one runs
    again. `waited_ms` is how long the newest run had been ready before a worker took it; `stuck_at` is set while it
    goes on long past its time limit.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    queue: str
    name: str
    state: JobState
    payload: Any
    priority: int = 0
    idempotency_key: str | None = None
    trace_id: str = ""
    enqueued_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: FiniteFloat | None = None
    waited_ms: FiniteFloat | None = None
    attempts_made: int = 0
    delivery: int = 0
    lost_count: int = 0
    replay_count: int = 0
    worker: str | None = None
    progress: FiniteFloat | None = None
    progress_note: str | None = None
    stuck_at: datetime | None = None
    result: Any = None
    error_type: str | None = None
    error: str | None = None
    fingerprint: str | None = None
    run_again_of: str | None = None
    attempts: list[Attempt] = []


def moment(ms: str | float | None) -> datetime | None:
    """A stored time in ms as a UTC datetime."""
    return None if ms in (None, "") else datetime.fromtimestamp(float(ms) / 1000, UTC)


#: What `stuck_moment` looks at.
STUCK_FIELDS: Final = ("state", "delivery", "stuck_delivery", "stuck_at_ms")


def stuck_moment(fields: Mapping[str, str]) -> datetime | None:
    """Since when a job is known to be stuck. What was noted of an earlier delivery is over."""
    is_stuck = fields.get("state") == JobState.ACTIVE and fields.get("stuck_delivery") == fields.get("delivery")
    return moment(fields.get("stuck_at_ms")) if is_stuck else None


def read_record(queue: str, job_id: str, fields: Mapping[str, str]) -> JobRecord:
    """Build the record from a job's hash. A payload or result that is not JSON is shown as its text.

    Raises:
        CorruptRecord: when the hash cannot be read as a job.
    """
    try:
        return JobRecord.model_validate({"id": job_id, "queue": queue, **_facts(fields), "attempts": _attempts(fields)})
    except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
        raise CorruptRecord(f"job {job_id} of {queue}: {type(error).__name__}: {error}") from error


def damaged_record(
    queue: str, job_id: str, fields: Mapping[str, str], error: CorruptRecord, state: JobState | None = None
) -> JobRecord:
    """What can be shown of a job that cannot be read: one row that says so, in place of none."""
    known = fields.get("state", "")
    return JobRecord(
        id=job_id,
        queue=queue,
        name=fields.get("name") or "unreadable",
        state=state or (JobState(known) if known in set(JobState) else JobState.FAILED),
        payload=plain.raw(fields.get("payload", "")),
        enqueued_at=moment_or_epoch(fields.get("enqueued_at_ms")),
        error_type="CorruptRecord",
        error=f"this record cannot be read: {error}"[:1_000],
    )


def moment_or_epoch(ms: str | None) -> datetime:
    """A stored time, or 1970 where it makes no sense."""
    try:
        return moment(ms) or EPOCH
    except (ValueError, OverflowError, OSError):
        return EPOCH


def started_at_ms(fields: Mapping[str, str], *, is_active: bool) -> str | None:
    """When the run began that a record shows. While one is under way, that is when it was handed out: what the record
    says of a beginning is of the run before, until this one ends.
    """
    handed_out = fields.get("fetched_at_ms")
    return handed_out if is_active else fields.get("started_at_ms") or handed_out


def _facts(fields: Mapping[str, str]) -> dict[str, Any]:
    state = JobState(fields["state"])
    is_active = state is JobState.ACTIVE
    # What is on record of a run is of the last that ended: it is shown beside how that ended, not of what waits anew.
    has_run = state in (JobState.COMPLETED, JobState.FAILED) or (not is_active and "error_type" in fields)
    return {
        "name": fields["name"],
        "state": state,
        "payload": mask(plain.read_or_raw(fields["payload"])),
        "priority": fields.get("priority", 0),
        "idempotency_key": fields.get("idempotency_key"),
        "trace_id": fields.get("trace", ""),
        "enqueued_at": moment(fields["enqueued_at_ms"]),
        "due_at": moment(fields.get("due_at_ms")) if state is JobState.DELAYED else None,
        "started_at": moment(started_at_ms(fields, is_active=is_active)) if is_active or has_run else None,
        "finished_at": moment(fields.get("finished_at_ms")),
        "duration_ms": fields.get("duration_ms") if has_run else None,
        "waited_ms": fields.get("waited_ms") if is_active or has_run else None,
        "attempts_made": fields.get("attempts", 0),
        "delivery": fields.get("delivery", 0),
        "lost_count": fields.get("lost", 0),
        "replay_count": fields.get("replays", 0),
        "worker": fields.get("worker"),
        "progress": fields.get("progress"),
        "progress_note": fields.get("progress_note"),
        "stuck_at": stuck_moment(fields),
        "result": plain.read_or_raw(fields["result"]) if fields.get("result") else None,
        "error_type": fields.get("error_type"),
        "error": fields.get("error"),
        "fingerprint": fields.get("fingerprint"),
        "run_again_of": envelope_of(fields)["options"].get(RUN_AGAIN_OF),
    }


def envelope_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """What a job carries beside its payload; its `options` are there, empty where they cannot be read."""
    try:
        envelope = plain.read(fields.get("options") or "{}")
        return {**envelope, "options": {**envelope.get("options", {})}}
    except (ValueError, TypeError, AttributeError):
        return {"options": {}}


def _attempts(fields: Mapping[str, str]) -> list[Any]:
    entries = [_attempt(name, value) for name, value in fields.items() if name.startswith("attempt:")]
    return sorted(entries, key=lambda entry: entry.delivery)


def _attempt(name: str, text: str) -> Attempt:
    try:
        return Attempt.model_validate(plain.read(text))
    except ValueError:
        number = name.partition(":")[2]
        delivery = int(number) if number.isascii() and number.isdigit() else 0
        return Attempt(
            attempt=0, delivery=delivery, started_at=EPOCH, duration_ms=0, worker="", error_type="CorruptRecord",
            error=f"this attempt cannot be read: {plain.raw(text)}", stack="",
        )  # fmt: skip

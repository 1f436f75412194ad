"""What a role may see of jobs and dead letters: whole, or with payloads, results and error texts masked."""

from __future__ import annotations

import dataclasses
from typing import Any

from teknav_ops.access.identity import Identity
from teknav_ops.access.masking import masked, masked_text
from teknav_ops.access.policy import Operation
from teknav_ops.audit.trail import AuditEntry
from teknav_ops.jobs.dead_letter import DeadLetter
from teknav_ops.jobs.record import Attempt, JobRecord
from teknav_ops.jobs.worker_queries import HeldJob, WorkerProcess


def shown_job(job: JobRecord, identity: Identity) -> JobRecord:
    """A job as this identity may see it."""
    if identity.may(Operation.READ_PAYLOADS, job.queue):
        return job
    return job.model_copy(
        update={
            "payload": masked(job.payload),
            "result": masked(job.result),
            "error": _text(job.error),
            "progress_note": _text(job.progress_note),
            "idempotency_key": _text(job.idempotency_key),
            "attempts": [_attempt(attempt) for attempt in job.attempts],
        }
    )


def _attempt(attempt: Attempt) -> Attempt:
    return attempt.model_copy(update={"error": masked_text(attempt.error), "stack": masked_text(attempt.stack)})


def _text(text: str | None) -> str | None:
    return None if text is None else masked_text(text)


def shown_letter(letter: DeadLetter, identity: Identity) -> DeadLetter:
    """A dead letter as this identity may see it."""
    if identity.may(Operation.READ_PAYLOADS, letter.original_queue):
        return letter
    hidden = {
        "payload": masked(letter.payload),
        "error": masked_text(letter.error),
        "stack": masked_text(letter.stack),
    }
    return letter.model_copy(update=hidden)


def shown_worker(worker: WorkerProcess, identity: Identity) -> WorkerProcess:
    """A worker process as this identity may see it: notes of running jobs may quote a payload."""
    running = [job if identity.may(Operation.READ_PAYLOADS, job.queue) else _masked_run(job) for job in worker.running]
    return dataclasses.replace(worker, running=running)


def _masked_run(job: HeldJob) -> HeldJob:
    return dataclasses.replace(job, progress_note=_text(job.progress_note))


def shown_text(text: str, identity: Identity, queue: str) -> str:
    """An error's words, of this queue, as this identity may see them."""
    return text if identity.may(Operation.READ_PAYLOADS, queue) else masked_text(text)


def shown_detail(entry: AuditEntry, identity: Identity) -> Any:
    """An audit entry's detail as this identity may see it: it may hold the payload before an edit."""
    return entry.detail if identity.may(Operation.READ_PAYLOADS, entry.queue) else masked(entry.detail)

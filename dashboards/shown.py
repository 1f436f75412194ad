"""How jobs and dead letters are shown: short texts, payloads masked for those who may not see inside."""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from dashboards.page import ROOT, dlq_path, job_path, queue_path
from dashboards.visit import Visit
from teknav_ops.audit.trail import AuditEntry
from teknav_ops.jobs.batch_deletion import Deletion
from teknav_ops.jobs.batch_replay import SKIP_WORDS, Replay
from teknav_ops.jobs.dead_letter import DeadLetter
from teknav_ops.jobs.dead_letter_causes import DeadLetterGroup
from teknav_ops.jobs.paging import Page
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.one_line import with_seen_overrides
from teknav_ops.topology import TOPOLOGY

_PREVIEW_CHARACTERS: Final = 240
#: In a row of jobs, of which a busy list sends ten a second.
_ROW_CHARACTERS: Final = 160
#: Which moment a list shows of a job.
_WHEN: Final = {JobState.WAITING: "enqueued_at", JobState.ACTIVE: "started_at", JobState.DELAYED: "due_at"}
_DETAIL_CHARACTERS: Final = 600
#: Of a replay; and of what is dead.
_CAUSES_SHOWN: Final = 5
_CAUSES_LISTED: Final = 100


def runbook_path(error_type: str) -> str:
    """Where an error type is read about."""
    return f"{ROOT}/runbook/{error_type}"


def payload_text(visit: Visit, payload: Any, *, indent: int | None = None) -> str:
    """A payload as JSON that keeps its letters (Persian stays readable) but for those that would reorder it."""
    return with_seen_overrides(json.dumps(visit.masked(payload), ensure_ascii=False, indent=indent, default=str))


def job_row(visit: Visit, job: JobRecord) -> dict[str, Any]:
    """A job as a row of JobsTable, with what is known of it: a busy list sends ten of them a second."""
    row: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "at": getattr(job, _WHEN.get(job.state, "finished_at")),
        "attempts": job.attempts_made + (job.state is JobState.ACTIVE),
        "waitedMs": job.waited_ms,
        "durationMs": job.duration_ms,
    }
    if job.state is JobState.ACTIVE:
        row |= {"progress": job.progress, "worker": job.worker, "stuckAt": job.stuck_at}
    if job.error is not None:
        row |= {"errorType": job.error_type, "error": str(visit.masked_text(job.error))[:_ROW_CHARACTERS]}
    else:
        row["payload"] = payload_text(visit, job.payload)[:_ROW_CHARACTERS]
    return {name: value for name, value in row.items() if value is not None}


def cause_rows(visit: Visit, *queues: str) -> dict[str, Any]:
    """The most frequent causes of the queues' dead letters, and how many there are beside them: a list of thousands
    would be megabytes, and help nobody.
    """
    found = [
        (
            queue,
            visit.reads.get(
                ("causes", queue),
                functools.partial(visit.sources.dead_letters.causes, queue, limit=_CAUSES_LISTED),
                queue=queue,
            ),
        )
        for queue in queues
    ]
    listed = sorted(
        ((queue, group) for queue, causes in found for group in causes.groups), key=lambda pair: -pair[1].count
    )[:_CAUSES_LISTED]
    total = sum(sum(causes.letters_by_type.values()) for _, causes in found)
    rarer_causes = sum(causes.count for _, causes in found) - len(listed)
    return {
        "rows": [_cause_row(visit, *pair) for pair in listed],
        "types": sorted({name for _, causes in found for name in causes.letters_by_type}),
        "total": total,
        "rarer": {"causes": rarer_causes, "letters": total - sum(group.count for _, group in listed)},
    }


def _cause_row(visit: Visit, queue: str, group: DeadLetterGroup) -> dict[str, Any]:
    return {
        "errorType": group.error_type,
        "fingerprint": group.fingerprint,
        "count": group.count,
        "first": group.first_failed_at,
        "last": group.last_failed_at,
        "runbook": runbook_path(group.error_type),
        "example": visit.masked_text(group.example_error)[:_PREVIEW_CHARACTERS],
        "queue": queue,
        "href": dlq_path(queue),
    }


def letter_row(visit: Visit, letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as a row of DlqTable."""
    return {
        "id": letter.original_job_id, "name": letter.job_name, "errorType": letter.error_type,
        "fingerprint": letter.fingerprint, "failedAt": letter.failed_at, "attempts": letter.attempts_made,
        "error": visit.masked_text(letter.error)[:_PREVIEW_CHARACTERS], "traceId": letter.trace_id,
        "href": job_path(letter.original_queue, letter.original_job_id),
    }  # fmt: skip


def paged(page: Page[Any], cursor: str | None) -> dict[str, Any]:
    """Where a page of a list stands, for `Pager`: its first row's number where all before it were counted."""
    counted = page.looked_at_count - len(page.items) if page.is_counted else None
    first = 0 if cursor is None else counted
    return {"first": first, "total": page.matching_count, "next": page.next_cursor, "isLater": cursor is not None}


def replay_row(replay: Replay) -> dict[str, Any]:
    """A batch replay, with how far it has come."""
    return {
        "id": replay.id, "queue": replay.queue, "name": replay.name, "operator": replay.operator, "state": replay.state,
        "createdAt": replay.created_at, "startedBy": replay.started_by, "startedAt": replay.started_at,
        "endedAt": replay.ended_at, "abortedBy": replay.aborted_by, "rate": replay.rate_per_second,
        "total": replay.total_count, "extent": replay.extent, "missing": replay.missing_count,
        "done": replay.done_count, "replayed": replay.replayed_count, "skipped": replay.skipped_count,
        "hasOutcome": replay.has_outcome, "completed": replay.completed_count, "failedAgain": replay.failed_again_count,
        "unsettled": replay.unsettled_count, "cancelled": replay.cancelled_count, "outcome": replay.outcome,
        "skips": [f"{count:,} {SKIP_WORDS.get(why, why)}" for why, count in replay.skipped_by_reason.items()],
        "againCauses": [cause.model_dump() for cause in replay.failed_again[:_CAUSES_SHOWN]],
        "againHref": f"{dlq_path(replay.queue)}?replay={replay.id}",
        "causes": [cause.model_dump() for cause in replay.causes], "href": queue_path(replay.queue),
        "effects": TOPOLOGY[replay.queue].effects,
    }  # fmt: skip


def deletion_row(deletion: Deletion) -> dict[str, Any]:
    """A batch deletion before it is done."""
    return {
        "id": deletion.id, "queue": deletion.queue, "total": deletion.total_count, "extent": deletion.extent,
        "missing": deletion.missing_count, "causes": [cause.model_dump() for cause in deletion.causes],
    }  # fmt: skip


def detail_text(visit: Visit, entry: AuditEntry) -> str | None:
    """What an audit entry says besides, on one line."""
    if not entry.detail:
        return None
    text = entry.detail.get("text") or ", ".join(f"{name}: {_plain(value)}" for name, value in entry.detail.items())
    return visit.masked_text(str(text))[:_DETAIL_CHARACTERS]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

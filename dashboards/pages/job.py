"""One job: what was asked, what happened, and what can be done?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from dashboards.page import ROOT, Crumb, Page, dlq_path, job_path, queue_path, short
from dashboards.pages.job_actions import JobActions
from dashboards.shown import detail_text, payload_text, runbook_path
from teknav_ops.audit.trail import AuditEntry
from teknav_ops.errors import UnknownJob
from teknav_ops.jobs.record import JobRecord
from teknav_ops.platform.webhook_endpoints import Attempt
from teknav_ops.topology import TOPOLOGY

_MASKED: Final = {"payload", "result", "attempts", "error", "progress_note", "idempotency_key"}


class JobPage(JobActions, Page):
    """JobDetail: record, payload, attempts with stack traces, and the story from the audit trail."""

    name = "job"
    path = "queues/{queue}/jobs/{job_id}"
    place = "queues"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return f"Job {short(self.visit.route['job_id'])}"

    def crumbs(self) -> list[Crumb]:
        """The way here."""
        queue = self.visit.route["queue"]
        return [("Queues", f"{ROOT}/queues"), (queue, queue_path(queue)), (self.title(), None)]

    def concerns(self, event: Any) -> bool:
        """Events of its queue: those that name other jobs only change nothing, but are rare enough to look."""
        return getattr(event, "queue", None) == self.visit.route["queue"]

    def load(self) -> dict[str, Any]:
        """The record while it is kept, and the story, which is kept longer."""
        queue, job_id = TOPOLOGY[self.visit.route["queue"]].name, self.visit.route["job_id"]
        story = self.visit.sources.story(job_id)
        try:
            record = self.visit.sources.jobs.get(queue, job_id)
        except UnknownJob:
            if not story.entries:
                raise
            record = None
        return {
            "deliveries": [self._delivery(attempt) for attempt in self.visit.sources.deliveries(job_id)],
            "job": record and self._shown(record),
            "story": [self._entry(entry) for entry in story.entries], "isWhole": story.is_complete,
            "id": job_id, "queue": {"name": queue, "href": queue_path(queue)},
            "again": self._other_runs(queue, record, story.entries), "effects": TOPOLOGY[queue].effects,
        }  # fmt: skip

    def _shown(self, job: JobRecord) -> dict[str, Any]:
        visit = self.visit
        return job.model_dump(mode="json", exclude=_MASKED) | {
            "payload": payload_text(visit, job.payload, indent=2),
            "result": None if job.result is None else payload_text(visit, job.result, indent=2),
            **{name: self._text(getattr(job, name)) for name in ("error", "progress_note", "idempotency_key")},
            "runbook": job.error_type and runbook_path(job.error_type), "dlqHref": dlq_path(job.queue),
            "attempts": [
                attempt.model_dump(mode="json")
                | {"error": visit.masked_text(attempt.error), "stack": visit.masked_text(attempt.stack)}
                for attempt in reversed(job.attempts)
            ],
        }  # fmt: skip

    def _other_runs(
        self, queue: str, record: JobRecord | None, entries: Sequence[AuditEntry]
    ) -> dict[str, list[dict[str, str]]]:
        """The job that this one runs again, and those that ran it again."""
        first = [record.run_again_of] if record and record.run_again_of else []
        noted = [entry.detail for entry in entries if entry.action == "job.run_again" and entry.outcome == "done"]
        later = [str(detail["new_job_id"]) for detail in noted if isinstance(detail, dict) and "new_job_id" in detail]
        return {
            name: [{"id": job_id, "href": job_path(queue, job_id)} for job_id in dict.fromkeys(ids)]
            for name, ids in (("of", first), ("as", later))
        }

    def _delivery(self, attempt: Attempt) -> dict[str, Any]:
        # A receiver may quote what it was sent.
        return dataclasses.asdict(attempt) | {"answer": self._text(attempt.answer), "error": self._text(attempt.error)}

    def _text(self, text: str | None) -> str | None:
        return None if text is None else self.visit.masked_text(text)

    def _entry(self, entry: AuditEntry) -> dict[str, Any]:
        return {
            "at": entry.at, "action": entry.action, "actor": entry.actor, "attempt": entry.attempt,
            "durationMs": entry.duration_ms, "waitedMs": entry.waited_ms, "errorType": entry.error_type,
            "detail": detail_text(self.visit, entry), "outcome": entry.outcome,
        }  # fmt: skip

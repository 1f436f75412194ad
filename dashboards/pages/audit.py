"""Audit: who did what, and what became of it?"""

from __future__ import annotations

from typing import Any, Final

from dashboards.page import Page, job_path, queue_path
from dashboards.shown import detail_text
from dashboards.visit import PAGE_SIZE
from teknav_ops.audit.trail import AuditEntry, AuditFilter
from teknav_ops.jobs.paging import Window
from teknav_ops.spans import parse_moment
from teknav_ops.topology import TOPOLOGY

#: What people do comes first: entries of ordinary jobs are many and seldom asked for.
_KINDS: Final = ("people", "dlq.", "queue.", "job.", "user.", "all")
_FIELDS: Final = ("queue", "actor", "job", "trace", "error_type", "fingerprint", "text", "since", "until")


class AuditPage(Page):
    """The audit trail, newest first, filtered; each entry with its name."""

    name = "audit"
    path = "audit"
    place = "audit"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Audit"

    def load(self) -> dict[str, Any]:
        """A page of entries."""
        visit = self.visit
        kind = visit.choice("kind", _KINDS if self._is_unfiltered() else ("all", *_KINDS))
        page = visit.sources.trail.page(self._filter(kind), cursor=visit.filter("cursor"), limit=PAGE_SIZE)
        shown = {name: visit.filter(name) for name in _FIELDS}
        return {
            "entries": [self._row(entry) for entry in page.items], "next": page.next_cursor,
            "isLater": visit.filter("cursor") is not None, "lookedBackTo": page.looked_back_to,
            "filters": shown | {"kind": kind}, "queues": list(TOPOLOGY),
        }  # fmt: skip

    def _is_unfiltered(self) -> bool:
        return not any(self.visit.filter(name) for name in ("job", "trace", "fingerprint", "error_type"))

    def _filter(self, kind: str) -> AuditFilter:
        visit = self.visit
        return AuditFilter(
            queue=visit.filter("queue"), actor=visit.filter("actor"), job_id=visit.filter("job"),
            trace_id=visit.filter("trace"), error_type=visit.filter("error_type"), text=visit.searched_text(),
            fingerprint=visit.filter("fingerprint"), action=None if kind in ("all", "people") else kind,
            is_by_operator=kind == "people",
            window=Window(parse_moment(visit.filter("since"), name="since"),
                          parse_moment(visit.filter("until"), name="until")),
        )  # fmt: skip

    def _row(self, entry: AuditEntry) -> dict[str, Any]:
        queue = entry.queue if entry.queue in TOPOLOGY else None
        return {
            "key": entry.id, "at": entry.at, "action": entry.action, "actor": entry.actor, "queue": entry.queue,
            "jobId": entry.job_id, "jobName": entry.job_name, "errorType": entry.error_type,
            "outcome": entry.outcome, "detail": detail_text(self.visit, entry), "durationMs": entry.duration_ms,
            "queueHref": queue and queue_path(queue),
            "jobHref": queue and entry.job_id and job_path(queue, entry.job_id),
        }  # fmt: skip

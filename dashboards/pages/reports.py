"""Reports: which notebooks were run, how did it end, and what did they say?"""

from __future__ import annotations

from typing import Any

from dashboards.page import Page
from dashboards.visit import PAGE_SIZE
from teknav_ops.access.policy import Operation
from teknav_ops.reports.page import WORDS, number_words
from teknav_ops.reports.runs import RunMeta
from teknav_ops.reports.store import ReportStore


class ReportsPage(Page):
    """The newest run of each report; all runs of one when it is chosen."""

    name = "reports"
    path = "reports"
    place = "reports"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Reports"

    def load(self) -> dict[str, Any]:
        """Runs, with their numbers."""
        store = ReportStore(self.visit.sources.services.settings.report_root)
        report, cursor = self.visit.filter("report"), self.visit.cursor()
        names = store.names()
        if report is None:
            runs, total, before = store.newest(), len(names), None
        else:
            runs, total, before = store.page(report, before=cursor, limit=PAGE_SIZE)
        return {
            "runs": [self._row(run) for run in runs], "names": names, "report": report, "total": total,
            "next": before, "isLater": cursor is not None,
        }  # fmt: skip

    def concerns(self, event: Any) -> bool:
        """No event tells of reports."""
        return False

    def _row(self, run: RunMeta) -> dict[str, Any]:
        may_open = self.visit.identity.may(Operation.READ_PAYLOADS)
        return {
            "name": run.name, "run": run.run, "title": run.title, "status": run.status, "words": WORDS[run.status],
            "startedAt": run.started_at, "seconds": run.seconds, "who": run.who, "schedule": run.schedule,
            "error": self.visit.masked_text(run.error) if run.error else "",
            "numbers": [
                {"name": number.name, "text": number_words(number), "isBreached": number.is_breached}
                for number in run.numbers
            ],
            "told": [
                {"channel": to.channel, "status": to.status, "words": to.words} for to in run.deliveries if may_open
            ],
            "href": f"/reports/{run.name}/{run.run}/" if may_open else None,
        }  # fmt: skip

"""Workers: which processes run, where, and what does each do now?"""

from __future__ import annotations

import dataclasses
from typing import Any

from dashboards.page import Page, job_path


class WorkersPage(Page):
    """Every process that gave a sign of life lately, with the jobs that it holds, and the leading scheduler."""

    name = "workers"
    path = "workers"
    place = "workers"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Workers"

    def load(self) -> dict[str, Any]:
        """All processes; one reading for everybody who looks."""
        sources = self.visit.sources
        processes = self.visit.reads.get("workers", sources.workers.all)
        leader = self.visit.reads.get("leader", sources.leader, seconds=2.0, outlives_events=True)
        return {"workers": [self._row(process) for process in processes], "leader": leader}

    def _row(self, process: Any) -> dict[str, Any]:
        row = dataclasses.asdict(process)
        row["running"] = [
            {**dataclasses.asdict(job), "href": job_path(job.queue, job.job_id),
             "progress_note": job.progress_note and self.visit.masked_text(job.progress_note)}
            for job in process.running
        ]  # fmt: skip
        return row

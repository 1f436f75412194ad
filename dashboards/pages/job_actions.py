"""What can be done to one job, wherever it is shown."""

from __future__ import annotations

from dashboards.page import Outcome, action, short
from dashboards.visit import Visit
from teknav_ops.access.policy import Operation


class JobActions:
    """Actions of pages that show jobs."""

    visit: Visit

    @action(Operation.ACT)
    def promote(self, queue: str, job_id: str) -> Outcome:
        """Run a delayed job now."""
        self.visit.control.promote(queue, job_id)
        return Outcome(f"{short(job_id)} runs as soon as a worker is free.")

    @action(Operation.ACT)
    def cancel(self, queue: str, job_id: str) -> Outcome:
        """Take a job out that has not begun."""
        self.visit.control.cancel(queue, job_id)
        return Outcome(f"{short(job_id)} is taken out.")

    @action(Operation.ACT)
    def retry(self, queue: str, job_id: str) -> Outcome:
        """Run a failed job again."""
        self.visit.control.retry(queue, job_id)
        return Outcome(f"{short(job_id)} waits again, with fresh attempts.")
